import { type Logger, RingQueue } from '@etsd/base';

/** A revision seen at a time, for looking back by a period. */
interface Sample {
  readonly atMs: number;
  readonly revision: number;
}

/** What the duty needs of its member. */
export interface AutoCompactionMember {
  readonly nowMs: () => number;
  readonly every: (ms: number, callback: () => void) => { cancel(): void };
  /** Only the leader compacts. */
  readonly isLeader: () => boolean;
  readonly revision: () => number;
  /** Proposes the compaction; `done` hears whether it took place. */
  readonly compact: (revision: number, done: (failure: string | undefined) => void) => void;
}

const REVISION_CHECK_MS = 300_000;
const SAMPLES_PER_PERIOD = 10;
const HOUR_MS = 3_600_000;
/** Compactions are no closer than this, or the period where that is shorter: each reads the whole store for its hash. */
const PAUSE_MIN_MS = 60_000;

/**
 * Keeps history as long as the operator asked and hardly longer. Periodic: the revision is sampled ten times a period (an
 * hour at most), as etcd does; once a period has passed, each look compacts what was current a period ago. (etcd does that
 * once a period, so that it keeps up to two.) Revision: every five minutes everything but the newest so many revisions
 * goes, by etcd's rules.
 */
export class AutoCompaction {
  private readonly member: AutoCompactionMember;
  private readonly logger: Logger;
  private readonly mode: 'periodic' | 'revision';
  private readonly retention: number;
  private readonly samples = new RingQueue<Sample>();
  private lastCompactedMs: number;
  private lastRevision = 0;
  private inFlight = false;
  private readonly pauseMs: number;
  private readonly timer: { cancel(): void };

  constructor(member: AutoCompactionMember, logger: Logger, mode: 'periodic' | 'revision', retention: number) {
    this.member = member;
    this.logger = logger;
    this.mode = mode;
    this.retention = retention;
    this.lastCompactedMs = member.nowMs();
    const interval = mode === 'revision' ? REVISION_CHECK_MS : Math.min(retention, HOUR_MS) / SAMPLES_PER_PERIOD;
    // A little less than a multiple of the interval: a look comes a moment sooner or later.
    this.pauseMs = Math.max(interval, Math.min(retention, PAUSE_MIN_MS)) - interval / 2;
    this.timer = member.every(interval, () => this.check());
  }

  stop(): void {
    this.timer.cancel();
  }

  private check(): void {
    if (this.mode === 'revision') this.checkRevision();
    else this.checkPeriod();
  }

  private checkRevision(): void {
    if (!this.member.isLeader()) return;
    const target = this.member.revision() - this.retention;
    if (target > this.lastRevision && target > 0) this.compact(target);
  }

  private checkPeriod(): void {
    const now = this.member.nowMs();
    this.samples.push({ atMs: now, revision: this.member.revision() });
    // The newest sample that is a whole period old is what may go; older ones say nothing more.
    let due: Sample | undefined;
    while (this.samples.length > 0 && (this.samples.peek() as Sample).atMs <= now - this.retention) {
      due = this.samples.take();
    }
    if (due === undefined) return;
    const waited = now - this.lastCompactedMs >= this.pauseMs;
    if (!this.member.isLeader() || !waited || due.revision <= this.lastRevision) {
      this.keep(due);
      return;
    }
    this.compact(due.revision, due);
  }

  /** Puts a sample that could not be used yet back in front, so that the next look finds it. */
  private keep(sample: Sample): void {
    const rest: Sample[] = [];
    for (let next = this.samples.take(); next !== undefined; next = this.samples.take()) rest.push(next);
    this.samples.push(sample);
    for (const next of rest) this.samples.push(next);
  }

  private compact(revision: number, sample?: Sample): void {
    if (this.inFlight) return;
    this.inFlight = true;
    const fields = { revision, mode: this.mode };
    this.logger.log('info', 'starting auto compaction', fields);
    this.member.compact(revision, (failure) => {
      this.inFlight = false;
      // "Already compacted" by somebody else is as good as done by us.
      if (failure === undefined || failure.includes('has been compacted')) {
        this.lastRevision = revision;
        this.lastCompactedMs = this.member.nowMs();
        this.logger.log('info', 'completed auto compaction', fields);
        return;
      }
      if (sample !== undefined) this.keep(sample);
      this.logger.log('warn', 'failed auto compaction', { ...fields, error: failure });
    });
  }
}
