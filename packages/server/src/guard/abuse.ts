/**
 * What others do that no client should: each kind is counted, and told to the log with whoever did it, though not more
 * often than every few seconds, so that an attack does not fill the disk with its own traces.
 */
import type { LogFields, Logger } from '@etsd/base';

/** Between two lines about the same kind, in milliseconds. */
const QUIET_MS = 5000;
/** Kinds are words of ours; should one ever be made of what comes from outside, memory stays bounded. */
const KINDS_MAX = 100;

class Kind {
  total = 0;
  /** Since the last line. */
  untold = 0;
  toldMs = Number.NEGATIVE_INFINITY;
}

export class Abuse {
  private readonly logger: Logger;
  private readonly clock: { nowMs(): number };
  private readonly kinds = new Map<string, Kind>();

  constructor(logger: Logger, clock: { nowMs(): number }) {
    this.logger = logger;
    this.clock = clock;
  }

  /** `kind` is a label of the metric and must be one of few; `peer` is an address, or empty where it is not known. */
  note(kind: string, peer: string, fields: LogFields = {}): void {
    let entry = this.kinds.get(kind);
    if (entry === undefined) {
      if (this.kinds.size >= KINDS_MAX) return;
      entry = new Kind();
      this.kinds.set(kind, entry);
    }
    entry.total++;
    const nowMs = this.clock.nowMs();
    if (nowMs - entry.toldMs < QUIET_MS) {
      entry.untold++;
      return;
    }
    this.logger.log('warn', 'refused what no client should do', { kind, peer, ...fields, unlogged: entry.untold });
    entry.toldMs = nowMs;
    entry.untold = 0;
  }

  /** How often each kind happened, by the labels of the metric. */
  totals(): Map<string, number> {
    return new Map([...this.kinds].map(([kind, { total }]) => [`kind="${kind}"`, total]));
  }
}
