import type { World } from '@etsd/runtime';
import { PIECE_BYTES } from '../api/snapshot.ts';

/** While others are busy: bytes of a piece, and the time it is given in milliseconds. A tenth of what can be sent. */
const BUSY_PIECE_BYTES = 64 * 1024;
const BUSY_PIECE_MS = 2;

/** Resolves when it is time for a piece, with its bytes at most. */
export type Pace = () => Promise<number>;

/** As fast as the receiver takes it while nobody is busy, and no faster than others can bear while somebody is. */
export function pacer({ clock, timers }: Pick<World, 'clock' | 'timers'>, isBusy: () => boolean): Pace {
  let lastMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (!isBusy()) return PIECE_BYTES;
    const waitMs = lastMs + BUSY_PIECE_MS - clock.nowMs();
    if (waitMs > 0) await new Promise<void>((resolve) => void timers.after(waitMs, resolve));
    lastMs = clock.nowMs();
    return BUSY_PIECE_BYTES;
  };
}
