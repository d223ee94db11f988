import type { World } from '@etsd/runtime';
import type { Pause } from './store-file.ts';

/** Longest that work on a snapshot goes on in one turn of the event loop, in milliseconds. */
const SLICE_MS = 1;

const AT_ONCE = Promise.resolve();
const GOES_ON = (): boolean => false;

/**
 * A pause for one piece of work: ends the turn once a slice of it has passed, and costs next to nothing before. Rejects
 * where the work is not to go on.
 */
export function pauser({ clock, timers }: Pick<World, 'clock' | 'timers'>, isStopped: () => boolean = GOES_ON): Pause {
  let startMs = clock.nowMs();
  const resume = (resolve: () => void): void => {
    startMs = clock.nowMs();
    resolve();
  };
  return () => {
    if (isStopped()) return Promise.reject(new Error('the member is being stopped'));
    if (clock.nowMs() - startMs < SLICE_MS) return AT_ONCE;
    return new Promise((resolve) => timers.endOfTurn(() => resume(resolve)));
  };
}
