import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Names } from './names.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { Timers } from './timers.ts';
import type { Workers } from './workers.ts';

/**
 * Everything a member can learn from or do to the outside. `nodeWorld()` of `@etsd/runtime/node` is the real one;
 * `@etsd/runtime/sim` has one in which every outcome follows from a seed.
 */
export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly names: Names;
  readonly workers: Workers;
}
