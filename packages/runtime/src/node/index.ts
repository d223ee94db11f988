export * from './network.ts';
export { nodeWorld } from './world.ts';
