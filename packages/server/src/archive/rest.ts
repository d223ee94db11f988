import type { Timer, Timers } from '@etsd/runtime';

/** A wait that somebody may end before its time. One at a time. */
export class Rest {
  private readonly timers: Timers;
  private wakeUp: (() => void) | null = null;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  /** Resolves after so many milliseconds, or when woken. */
  take(ms: number): Promise<void> {
    return new Promise((resolve) => {
      let timer: Timer | null = null;
      this.wakeUp = () => {
        timer?.cancel();
        this.wakeUp = null;
        resolve();
      };
      timer = this.timers.after(ms, this.wakeUp, { ref: false });
    });
  }

  /** Ends the wait, if there is one. */
  wake(): void {
    this.wakeUp?.();
  }
}
