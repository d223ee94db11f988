import { FAULT_POINTS } from '@etsd/base';
import { FaultCounts } from '@etsd/runtime/sim';

/** What runs have tried, added up: faults by name, and named places of the program that were reached, or were the end of a process. */
export class Coverage {
  private readonly counts = new FaultCounts();

  add(coverage: Readonly<Record<string, number>>): void {
    for (const [name, times] of Object.entries(coverage)) this.counts.add(name, times);
  }

  /** Places that no run came to. */
  get missed(): string[] {
    return FAULT_POINTS.filter((point) => this.counts.get(`at ${point}`) === 0);
  }

  /** A few lines for people. */
  describe(): string {
    const faults = this.counts
      .entries()
      .filter(([name]) => /^(disk|network|process|clock|damage|release)\./.test(name));
    const stops = FAULT_POINTS.filter((point) => this.counts.get(`stopped at ${point}`) > 0);
    const { missed } = this;
    return [
      `faults: ${faults.map(([name, times]) => `${name} ${times}`).join(', ')}`,
      `places: ${FAULT_POINTS.length - missed.length} of ${FAULT_POINTS.length} reached, processes ended at ${stops.length}` +
        (missed.length === 0 ? '' : `; never reached: ${missed.join(', ')}`),
    ].join('\n');
  }
}
