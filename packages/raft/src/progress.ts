import { assert, type U64 } from '@etsd/base';
import { Inflights } from './inflights.ts';

/** One append at a time until the follower's log end is known. */
export const PROBE = 0;
/** Appends are pipelined: `next` runs ahead of what is acknowledged. */
export const REPLICATE = 1;
/** A snapshot is on its way: nothing else is sent. */
export const SNAPSHOT = 2;
export type ProgressState = typeof PROBE | typeof REPLICATE | typeof SNAPSHOT;

/**
 * What the leader believes of one follower.
 *
 *     state      | acknowledged      | rejected     | send fails        | needs compacted entries
 *     PROBE      | REPLICATE         | PROBE        | PROBE             | SNAPSHOT
 *     REPLICATE  | REPLICATE         | PROBE        | PROBE             | SNAPSHOT
 *     SNAPSHOT   | if it reaches the | SNAPSHOT     | PROBE, next after | SNAPSHOT
 *                | log: REPLICATE    |              | match             |
 */
export class Progress {
  readonly id: U64;
  /** Highest index known to be the same in both logs and durable there. 0 ≤ match < next. */
  match = 0;
  /** First index of the next append. */
  next: number;
  state: ProgressState = PROBE;
  /** Index of the snapshot being sent, 0 for none. */
  pendingSnapshot = 0;
  /** Heard of within the current election timeout. Cleared by each quorum check. */
  recentActive = false;
  /** An append was sent in PROBE (or a heartbeat is awaited through a full window); wait for a sign of life. */
  paused = false;
  /** Does not vote and does not count. */
  isLearner: boolean;
  /** Highest commit index told to the follower. */
  sentCommit = 0;
  /** Somebody on the follower waits for the commit index to come to here: it proposed, or reads. */
  awaitedCommit = 0;
  /** Has answered nothing of what is under way for a heartbeat; see `tick`. */
  isSilent = false;
  private matchAtTick = 0;
  /** Lacks so much that it is served piece by piece; see `Raft.paces`. Only in REPLICATE. */
  isBehind = false;
  /** Largest sum of entries in its next piece, in bytes; 0: as the options say. */
  pieceBytes = 0;
  /** Has what it was sent; the next piece waits for `RawNode.goOn`. */
  isResting = false;
  readonly inflights: Inflights;

  constructor(id: U64, next: number, isLearner: boolean, inflightMax: number, inflightBytesMax: number) {
    this.id = id;
    this.next = next;
    this.isLearner = isLearner;
    this.inflights = new Inflights(inflightMax, inflightBytesMax);
  }

  /** Back to the beginning of a leader's term: nothing known, try behind `lastIndex`. */
  reset(match: number, lastIndex: number): void {
    this.enter(PROBE);
    this.match = match;
    this.next = lastIndex + 1;
    this.recentActive = false;
    this.sentCommit = 0;
    this.awaitedCommit = 0;
  }

  becomeProbe(): void {
    // A snapshot that arrived tells more than the last acknowledgement does.
    const reached = this.state === SNAPSHOT ? Math.max(this.match, this.pendingSnapshot) : this.match;
    this.enter(PROBE);
    this.next = reached + 1;
    this.sentCommit = Math.min(this.sentCommit, reached);
  }

  becomeReplicate(): void {
    this.enter(REPLICATE);
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.enter(SNAPSHOT);
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  private enter(state: ProgressState): void {
    this.state = state;
    this.paused = false;
    this.pendingSnapshot = 0;
    this.isSilent = false;
    this.catchUpFreely();
    this.inflights.reset();
  }

  /** Is served like everybody else again. */
  catchUpFreely(): void {
    this.isBehind = false;
    this.isResting = false;
    this.pieceBytes = 0;
  }

  /** Once a heartbeat: whether anything was answered since the last. */
  tick(): void {
    this.isSilent = this.state === REPLICATE && this.inflights.count > 0 && this.match === this.matchAtTick;
    this.matchAtTick = this.match;
  }

  /** Whether nothing may be sent before the follower answers. */
  get isPaused(): boolean {
    return this.state === SNAPSHOT || this.paused || (this.state === REPLICATE && this.inflights.full);
  }

  /** Accounts for an append just sent. */
  sent(count: number, bytes: number, commit: number): void {
    if (this.state === REPLICATE) {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, bytes);
      }
    } else {
      assert(this.state === PROBE, 'raft: no append is sent while a snapshot is');
      this.paused = true;
    }
    if (commit > this.sentCommit) this.sentCommit = commit;
  }

  /** An acknowledgement up to `index`. Returns whether it is news. */
  acknowledged(index: number): boolean {
    if (index >= this.next) this.next = index + 1;
    if (index <= this.match) return false;
    this.match = index;
    this.paused = false;
    this.isSilent = false;
    return true;
  }

  /**
   * A rejection of the append behind `rejected`; `hint` is where to try next. Returns false for a stale one, which says
   * nothing about what was sent since.
   */
  rejected(rejected: number, hint: number): boolean {
    if (this.state === REPLICATE) {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.sentCommit = Math.min(this.sentCommit, this.match);
      return true;
    }
    if (this.state === SNAPSHOT || this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.paused = false;
    return true;
  }
}
