import type { World } from '../world.ts';
import { NodeClock } from './clock.ts';
import { NodeDisk } from './disk.ts';
import { NodeNames } from './names.ts';
import { nodeNetwork } from './network.ts';
import { NodeRandom } from './random.ts';
import { NodeTimers } from './timers.ts';
import { NodeWorkers } from './workers.ts';

/** The real world, for one process. */
export function nodeWorld(): World {
  return {
    clock: new NodeClock(),
    timers: new NodeTimers(),
    random: new NodeRandom(),
    disk: new NodeDisk(),
    network: nodeNetwork(),
    names: new NodeNames(),
    workers: new NodeWorkers(),
  };
}
