export { describe, type FieldDescriptor } from './descriptor.ts';
export * from './errors.ts';
export * from './gen/index.ts';
export * from './hot/index.ts';
export * from './methods.ts';
export * from './wire.ts';
