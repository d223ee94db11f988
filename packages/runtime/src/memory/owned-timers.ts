import type { Timer, TimerOptions, Timers } from '../timers.ts';

/** Timers that end with their owner, whoever forgot to cancel one. */
export class OwnedTimers implements Timers {
  private readonly timers: Timers;
  private readonly live = new Set<Timer>();
  private isClosed = false;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  after(ms: number, callback: () => void, options?: TimerOptions): Timer {
    const timer = this.timers.after(
      ms,
      () => {
        this.live.delete(timer);
        callback();
      },
      options,
    );
    return this.own(timer);
  }

  every(ms: number, callback: () => void, options?: TimerOptions): Timer {
    return this.own(this.timers.every(ms, callback, options));
  }

  endOfTurn(callback: () => void): void {
    this.timers.endOfTurn(callback);
  }

  soon(callback: () => void): void {
    this.timers.soon(callback);
  }

  /** Nothing that was asked for by time happens from now on. */
  close(): void {
    this.isClosed = true;
    for (const timer of this.live) timer.cancel();
    this.live.clear();
  }

  private own(timer: Timer): Timer {
    if (this.isClosed) timer.cancel();
    else this.live.add(timer);
    return {
      cancel: () => {
        this.live.delete(timer);
        timer.cancel();
      },
    };
  }
}
