export { NodeNames } from './names.ts';
export * from './network.ts';
export { readSecretFile, runSecretCommand } from './secrets.ts';
export { nodeWorld } from './world.ts';
