export { NodeNames } from './names.ts';
export * from './network.ts';
export { nodeWorld } from './world.ts';
