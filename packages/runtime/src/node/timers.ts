import type { Timer, TimerOptions, Timers } from '../timers.ts';

class Once implements Timer {
  private readonly handle: NodeJS.Timeout;

  constructor(ms: number, callback: () => void, ref: boolean) {
    // What was due while the loop stood still is due now; Node.js warns of times that are over.
    this.handle = setTimeout(callback, Math.max(0, ms));
    if (!ref) this.handle.unref();
  }

  cancel(): void {
    clearTimeout(this.handle);
  }
}

class Repeated implements Timer {
  private readonly handle: NodeJS.Timeout;

  constructor(ms: number, callback: () => void, ref: boolean) {
    this.handle = setInterval(callback, ms);
    if (!ref) this.handle.unref();
  }

  cancel(): void {
    clearInterval(this.handle);
  }
}

export class NodeTimers implements Timers {
  after(ms: number, callback: () => void, options?: TimerOptions): Timer {
    return new Once(ms, callback, options?.ref ?? true);
  }

  every(ms: number, callback: () => void, options?: TimerOptions): Timer {
    return new Repeated(ms, callback, options?.ref ?? true);
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }

  soon(callback: () => void): void {
    queueMicrotask(callback);
  }
}
