import type { World } from '@etsd/runtime';
import { PIECE_BYTES } from '../api/snapshot.ts';

/**
 * While others are busy: bytes of a piece, and the time it is given in milliseconds. A twentieth of what can be sent: at a
 * tenth the slowest puts waited up to half as long again, at this a fifth (docs/performance.md).
 */
const BUSY_PIECE_BYTES = 64 * 1024;
const BUSY_PIECE_MS = 4;
/** What was missed, in milliseconds, is made up for as far as this. */
const BEHIND_MAX_MS = 20;

/** Resolves when it is time for a piece, with its bytes at most. */
export type Pace = () => Promise<number>;

/** As fast as the receiver takes it while nobody is busy, and no faster than others can bear while somebody is. */
export function pacer({ clock, timers }: Pick<World, 'clock' | 'timers'>, isBusy: () => boolean): Pace {
  let dueMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (!isBusy()) return PIECE_BYTES;
    // Timers count from the beginning of the turn in which they are set, in whole milliseconds: they may be early.
    for (let waitMs = dueMs - clock.nowMs(); waitMs > 0; waitMs = dueMs - clock.nowMs()) {
      await new Promise<void>((resolve) => void timers.after(Math.ceil(waitMs), resolve));
    }
    dueMs = Math.max(dueMs, clock.nowMs() - BEHIND_MAX_MS) + BUSY_PIECE_MS;
    return BUSY_PIECE_BYTES;
  };
}
