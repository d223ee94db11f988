import { nodeWorld } from '@etsd/runtime/node';

/** The machine this program runs on; shared, since it holds threads that must be ended once. */
export const world = nodeWorld();
