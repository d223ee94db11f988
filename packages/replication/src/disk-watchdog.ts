/** What the watchdog looks at: the writes given to the log, by how many are done and how many are not. */
export interface WatchedWrites {
  readonly unfinished: number;
  readonly finished: number;
}

/**
 * Notices a disk that hangs: the oldest write has not become durable for an election time-out.
 *
 * Time is counted in ticks that were run, not read from a clock. When the whole process was stopped for a minute, the
 * clock says that the write took a minute, although its answer only waits for us to come and take it; ticks, however, do
 * not pass while nobody runs them, and between two of them the event loop has taken what the disk has answered.
 */
export class DiskWatchdog {
  /** Whether the disk hangs, as of the last tick. */
  isStalled = false;
  private readonly stallTicks: number;
  /** Writes that were finished when the oldest unfinished one was first seen. */
  private seen = 0;
  /** Ticks for which it has been the oldest. */
  private ticks = 0;

  constructor(stallTicks: number) {
    this.stallTicks = stallTicks;
  }

  /** Looks once a tick. Returns whether `isStalled` changed. */
  look(writes: WatchedWrites): boolean {
    if (writes.unfinished === 0 || writes.finished !== this.seen) {
      this.seen = writes.finished;
      this.ticks = 0;
    } else {
      this.ticks++;
    }
    const isStalled = this.ticks >= this.stallTicks;
    if (isStalled === this.isStalled) return false;
    this.isStalled = isStalled;
    return true;
  }
}
