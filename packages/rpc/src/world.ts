import type { World } from '@etsd/runtime';

/** The parts of the world the transport needs. */
export type RpcWorld = Pick<World, 'clock' | 'timers' | 'network' | 'random'>;
