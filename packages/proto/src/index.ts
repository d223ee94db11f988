export { describe, type FieldDescriptor, messageClass } from './descriptor.ts';
export * from './errors.ts';
export * from './gen/index.ts';
export * from './hot/index.ts';
export { jsonToMessage, messageToJson } from './json.ts';
export * from './methods.ts';
export * from './transcode/index.ts';
export * from './wire.ts';
