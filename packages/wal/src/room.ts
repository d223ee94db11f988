import { hasCode, type Timers } from '@etsd/runtime';
import { FULL_RETRY_MS } from './limits.ts';

/**
 * Room for the log on its disk. What finds none is done again, as it was, until it does: nothing of it was promised to
 * anybody, and nobody is told of it meanwhile, good or bad. The member is one whose disk hangs.
 */
export class Room {
  private readonly timers: Timers;
  private readonly outOfSpace: () => void;
  private isClosed = false;

  constructor(timers: Timers, outOfSpace: () => void) {
    this.timers = timers;
    this.outOfSpace = outOfSpace;
  }

  /** Has `again` called in a while if the error says no more than that there is no room; else, or once closed, false. */
  retry(error: unknown, again: () => void): boolean {
    if (this.isClosed || !hasCode(error, 'ENOSPC')) return false;
    this.outOfSpace();
    this.timers.after(FULL_RETRY_MS, again);
    return true;
  }

  /** Does it as often as it takes. */
  async insist<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await new Promise<void>((resolve, reject) => {
          if (!this.retry(error, resolve)) reject(error);
        });
      }
    }
  }

  /** Nobody waits any more: a log that is being closed fails instead. */
  close(): void {
    this.isClosed = true;
  }
}
