/** What the duty needs of the store. */
export interface CompactingStore {
  /** Whether something compacted still takes up space. */
  readonly compacting: boolean;
  /** Removes a slice of it; true once nothing is left. */
  compactSlice(budgetKeys: number): boolean;
}

export interface CompactionParts {
  readonly store: CompactingStore;
  /** Hands what was removed to the file. */
  readonly commit: () => void;
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  /** Between two slices. Flag `experimental-compaction-sleep-interval`. */
  readonly pauseMs: number;
  /** Keys looked at in a slice. */
  readonly sliceKeys: number;
}

/** Frees the space of what was compacted, slice by slice, so that nobody notices; reads stopped seeing it at once. */
export class CompactionDuty {
  private readonly parts: CompactionParts;
  private readonly waiting: (() => void)[] = [];
  private timer: { cancel(): void } | null = null;
  private isStopped = false;

  constructor(parts: CompactionParts) {
    this.parts = parts;
  }

  /** To be called when entries were applied, and once at the start. */
  applied(): void {
    if (this.timer !== null || this.isStopped || !this.parts.store.compacting) return;
    this.timer = this.parts.after(0, this.slice);
  }

  /** Calls back once everything compacted so far is purged and in the file's next batch; at once where it is. */
  whenPurged(_revision: number, done: () => void): void {
    if (!this.parts.store.compacting) {
      done();
      return;
    }
    // A later compaction swallows an earlier one, so waiting for "nothing left" is never too short.
    this.waiting.push(done);
    this.applied();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.cancel();
    this.timer = null;
  }

  private readonly slice = (): void => {
    this.timer = null;
    const { store, commit, after, pauseMs, sliceKeys } = this.parts;
    if (!store.compactSlice(sliceKeys)) {
      this.timer = after(pauseMs, this.slice);
      return;
    }
    commit();
    for (const done of this.waiting.splice(0)) done();
  };
}
