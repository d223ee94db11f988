import { COMPACT_SLICE_RECORDS } from '@etsd/mvcc';

/** What the duty needs of the store. */
export interface CompactingStore {
  readonly compactRevision: number;
  readonly compacting: boolean;
  compactSlice(budget: number): boolean;
}

export interface SliceSchedule {
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  readonly nowMs: () => number;
  /** Longest that the event loop is held at a time, in milliseconds. */
  readonly sliceMs: number;
  /** Records removed between two pauses. Flag `compaction-batch-limit`. */
  readonly batch: number;
  /** Flag `compaction-sleep-interval`. */
  readonly pauseMs: number;
  /** Hears of each slice: what it deleted waits in the backend's open batch. */
  readonly sliced: () => void;
  /** Hears how long a slice held the event loop, in milliseconds. */
  readonly held: (ms: number) => void;
  /** Hears of a compaction that is through, with its revision, and how long it took. */
  readonly finished: (revision: number, tookMs: number) => void;
}

/** Removes what was compacted, a slice at a time with pauses between, so that nobody notices. */
export class CompactionSlices {
  private readonly store: CompactingStore;
  private readonly schedule: SliceSchedule;
  private waiters: (() => void)[] = [];
  private timer: { cancel(): void } | null = null;
  private stopped = false;
  /** Records still to be removed before the next pause. */
  private left = 0;
  /** When the first slice of this compaction began; below 0 where none is under way. */
  private sinceMs = -1;

  constructor(store: CompactingStore, schedule: SliceSchedule) {
    this.store = store;
    this.schedule = schedule;
  }

  /**
   * To be called when entries have been applied: one of them may have been a compaction. The first slice comes at once,
   * as in etcd, so that a small store is compacted, and the hash of its compaction known, by the next request.
   */
  applied(): void {
    if (this.store.compacting && this.timer === null && !this.stopped) this.slice();
  }

  /** Calls back once everything below `revision` is purged, or at once where it is. */
  whenPurged(_revision: number, done: () => void): void {
    if (!this.store.compacting) {
      done();
      return;
    }
    this.waiters.push(done);
    this.applied();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
    this.timer = null;
  }

  private readonly slice = (): void => {
    this.timer = null;
    if (this.stopped) return;
    const { after, batch, nowMs, pauseMs, sliceMs, sliced, held } = this.schedule;
    if (this.left <= 0) this.left = batch;
    const startMs = nowMs();
    const until = startMs + sliceMs;
    if (this.sinceMs < 0) this.sinceMs = startMs;
    let done = false;
    do {
      const records = Math.min(this.left, COMPACT_SLICE_RECORDS);
      this.left -= records;
      done = this.store.compactSlice(records);
    } while (!done && this.left > 0 && nowMs() < until);
    sliced();
    held(nowMs() - startMs);
    if (!done) {
      this.timer = after(this.left > 0 ? 0 : pauseMs, this.slice);
      return;
    }
    this.left = 0;
    this.schedule.finished(this.store.compactRevision, nowMs() - this.sinceMs);
    this.sinceMs = -1;
    const waiters = this.waiters;
    this.waiters = [];
    for (const done of waiters) done();
  };
}
