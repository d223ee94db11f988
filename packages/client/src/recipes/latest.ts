import { NEVER, unlessAborted, type WaitOptions } from './persist.ts';

/** A value of which only the latest counts: who reads slowly misses what was replaced before it came to look. */
export class Latest<T> {
  private value: T;
  private version = 0;
  private isOver = false;
  private wake: () => void = () => {};
  private changed: Promise<void> = Promise.resolve();

  constructor(value: T) {
    this.value = value;
    this.renew();
  }

  get current(): T {
    return this.value;
  }

  set(value: T): void {
    this.value = value;
    this.version++;
    this.stir();
  }

  /** Nothing more will come. */
  end(): void {
    this.isOver = true;
    this.stir();
  }

  /** What comes from now on. Ends when the signal is aborted, or with `end`. */
  changes(options: WaitOptions = {}): AsyncGenerator<T, void, undefined> {
    return this.since(this.version, options);
  }

  private async *since(version: number, { signal = NEVER }: WaitOptions): AsyncGenerator<T, void, undefined> {
    let seen = version;
    while (!signal.aborted) {
      if (this.version !== seen) {
        seen = this.version;
        yield this.value;
        continue;
      }
      if (this.isOver) return;
      try {
        await unlessAborted(this.changed, signal);
      } catch {
        return;
      }
    }
  }

  private stir(): void {
    const wake = this.wake;
    this.renew();
    wake();
  }

  private renew(): void {
    this.changed = new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}
