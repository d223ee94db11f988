/**
 * How often each kind of fault happened and each named place of the program was reached: what a run has really tried.
 * Faults are called `disk.torn`, `network.lost` and so on, places as in `FAULT_POINTS` with `at ` before them.
 */
export class FaultCounts {
  private readonly counters = new Map<string, Counter>();

  /** What counts under this name, for whoever counts often. */
  counter(name: string): Counter {
    let counter = this.counters.get(name);
    if (counter === undefined) {
      counter = new Counter();
      this.counters.set(name, counter);
    }
    return counter;
  }

  add(name: string, times = 1): void {
    this.counter(name).times += times;
  }

  get(name: string): number {
    return this.counters.get(name)?.times ?? 0;
  }

  /** What happened at all, by name, in the order of names. */
  entries(): [name: string, count: number][] {
    const met: [string, number][] = [];
    for (const [name, { times }] of this.counters) if (times > 0) met.push([name, times]);
    return met.sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

export class Counter {
  times = 0;
}
