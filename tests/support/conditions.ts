/** Waiting on conditions instead of on time. A deadline is only ever the moment at which a test gives up. */

/** Thrown when a condition did not come true in time; the message says which. */
export class DeadlineError extends Error {}

/** The promise's outcome, or a `DeadlineError` naming `what` after `ms` milliseconds. */
export function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new DeadlineError(`${what}: not within ${ms} ms`)), ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Asks `probe` until it answers something other than `null`, with a short pause between two questions. */
export async function eventually<T>(
  ms: number,
  what: string,
  probe: () => T | null | Promise<T | null>,
  pauseMs = 10,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await probe();
    if (answer !== null) return answer;
    if (Date.now() > end) throw new DeadlineError(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** A condition that others signal: `wait` resolves once `test` holds, which is checked again at every `signal`. */
export class Signal {
  private waiting: { test: () => boolean; wake: () => void }[] = [];

  signal(): void {
    const still: { test: () => boolean; wake: () => void }[] = [];
    for (const entry of this.waiting) {
      if (entry.test()) entry.wake();
      else still.push(entry);
    }
    this.waiting = still;
  }

  wait(ms: number, what: string, test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve();
    return within(ms, what, new Promise<void>((wake) => this.waiting.push({ test, wake })));
  }
}
