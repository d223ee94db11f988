/**
 * How often each kind of fault happened and each named place of the program was reached: what a run has really tried.
 * Faults are called `disk.torn`, `network.lost` and so on, places as in `FAULT_POINTS` with `at ` before them.
 */
export class FaultCounts {
  private readonly counts = new Map<string, number>();

  add(name: string, times = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times);
  }

  get(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  /** By name, in the order of names. */
  entries(): [name: string, count: number][] {
    return [...this.counts].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
