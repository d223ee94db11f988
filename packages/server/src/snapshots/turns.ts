import type { World } from '@etsd/runtime';
import type { Pause } from './store-file.ts';

/** Longest that work on a snapshot goes on in one turn of the event loop, in milliseconds. */
const SLICE_MS = 1;
/** How many times as long as it works such work rests while it must not be felt, and at most at once, in milliseconds. */
const REST_SHARE = 4;
const REST_MAX_MS = 50;

const AT_ONCE = Promise.resolve();

export interface Manners {
  /** Whether the work is not to go on; it is then rejected. */
  readonly isStopped?: () => boolean;
  /** Whether somebody is served meanwhile who shares a processor or a disk with this work. */
  readonly isBusy?: () => boolean;
}

/** A member that is sent a snapshot is not told whether anybody writes, and nobody waits for it: it takes its time. */
export const OTHERS_ARE_BUSY = (): boolean => true;

type Hands = Pick<World, 'clock' | 'timers'>;

/**
 * A pause for one piece of work: ends the turn once a slice of it has passed, and costs next to nothing before. While
 * others are busy it then rests too.
 */
export function pauser(world: Hands, { isStopped, isBusy }: Manners = {}): Pause {
  const { clock, timers } = world;
  let startMs = clock.nowMs();
  const resume = (): void => {
    startMs = clock.nowMs();
  };
  return () => {
    if (isStopped?.() === true) return Promise.reject(new Error('the member is being stopped'));
    const tookMs = clock.nowMs() - startMs;
    if (tookMs < SLICE_MS) return AT_ONCE;
    if (isBusy?.() === true) return rest(world, tookMs).then(resume);
    return new Promise<void>((resolve) => timers.endOfTurn(resolve)).then(resume);
  };
}

/** Resolves after a rest that befits what took so many milliseconds. */
export function rest({ timers }: Hands, tookMs: number): Promise<void> {
  const restMs = Math.min(REST_MAX_MS, tookMs * REST_SHARE);
  return restMs <= 0 ? AT_ONCE : new Promise((resolve) => timers.after(restMs, resolve));
}
