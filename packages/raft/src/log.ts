import { assert } from '@etsd/base';
import type { Entry, RaftSnapshot } from '@etsd/proto';

/** What an entry costs in memory and on the wire beside its data, in bytes; an estimate for limits. */
export const ENTRY_OVERHEAD_BYTES = 24;

/** The size an entry counts with in every limit, in bytes. */
export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

/** One batch handed to storage and not yet reported durable. */
export class PendingWrite {
  /** Last index of the batch that is still part of the log; a truncation lowers it. 0: none. */
  lastIndex: number;
  /** Index of the snapshot in the batch, 0 for none. */
  snapshotIndex: number;
  /** Messages that promise what the batch contains, hence may leave only when it is durable. Null: none. */
  messages: import('@etsd/proto').Message[] | null = null;

  constructor(lastIndex: number, snapshotIndex: number) {
    this.lastIndex = lastIndex;
    this.snapshotIndex = snapshotIndex;
  }
}

/**
 * The log as raft sees it: everything behind the last compaction, held in memory, with marks for how far each stage is.
 *
 *     base          applied   applying    stable    handed       last
 *      │  ... in memory │ being │ durable  │ being   │ not yet     │
 *      │  (compacted    │ applied          │ written │ given to    │
 *      │   before here) │                  │         │ storage     │
 *
 * applied ≤ applying ≤ min(committed, stable) and base ≤ stable ≤ handed ≤ last. `committed` may run ahead of `stable`
 * on a follower whose disk is slower than the others'; entries are applied only when they are durable here as well, so
 * that the applied state never gets ahead of this member's own log.
 */
export class RaftLog {
  /** Entries base+1 … last. Handed out as (array, from, to) views; only valid until raft is called again. */
  readonly entries: Entry[] = [];
  /** Index and term of the entry before the first one held. */
  base = 0;
  baseTerm = 0;
  /** Highest index known durable on this member. */
  stable = 0;
  /** Highest index given to storage. */
  handed = 0;
  /** Highest index known to be on a majority. Never lowered. */
  committed = 0;
  /** Highest index given out for application. */
  applying = 0;
  /** Highest index reported applied. */
  applied = 0;
  /** Received and not yet installed; while it is set nothing is applied and no election is started. */
  pendingSnapshot: RaftSnapshot | null = null;
  /** Writes in flight, oldest first. */
  readonly writes: PendingWrite[] = [];

  get lastIndex(): number {
    return this.base + this.entries.length;
  }

  get lastTerm(): number {
    const count = this.entries.length;
    return count === 0 ? this.baseTerm : (this.entries[count - 1] as Entry).term;
  }

  /** Term of the entry at `index`; −1 where it is compacted away or does not exist. */
  termAt(index: number): number {
    const place = index - this.base;
    if (place === 0) return this.baseTerm;
    if (place < 0 || place > this.entries.length) return -1;
    return (this.entries[place - 1] as Entry).term;
  }

  /** The entry at `index`, which must be held. */
  at(index: number): Entry {
    const entry = this.entries[index - this.base - 1];
    assert(entry !== undefined, 'raft log: entry is not held');
    return entry;
  }

  matches(index: number, term: number): boolean {
    return this.termAt(index) === term;
  }

  /** Whether a log ending in (index, term) is at least as complete as this one (Raft paper §5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    const lastTerm = this.lastTerm;
    return term > lastTerm || (term === lastTerm && index >= this.lastIndex);
  }

  /** Appends behind the last entry. */
  push(entry: Entry): void {
    this.entries.push(entry);
  }

  /**
   * Takes entries of a leader which follow (prevIndex, its matching term). What is already there stays; from the first
   * entry of another term on the old ones are dropped (Raft paper §5.3). Returns the last index the message covered.
   */
  merge(prevIndex: number, entries: readonly Entry[]): number {
    const count = entries.length;
    let start = 0;
    while (start < count && this.matches(prevIndex + 1 + start, (entries[start] as Entry).term)) start++;
    if (start < count) {
      const first = prevIndex + 1 + start;
      if (first <= this.lastIndex) this.truncateFrom(first);
      assert(first === this.lastIndex + 1, 'raft log: merged entries must be adjacent');
      for (let place = start; place < count; place++) this.entries.push(entries[place] as Entry);
    }
    return prevIndex + count;
  }

  /** Drops `index` and everything behind it. Writes in flight no longer vouch for what was dropped. */
  private truncateFrom(index: number): void {
    assert(index > this.committed, 'raft log: a committed entry must not be replaced');
    this.entries.length = index - this.base - 1;
    const last = index - 1;
    if (this.stable > last) this.stable = last;
    if (this.handed > last) this.handed = last;
    for (const write of this.writes) if (write.lastIndex > last) write.lastIndex = last;
  }

  /** Raises the commit index. Returns whether it moved. */
  commitTo(index: number): boolean {
    if (index <= this.committed) return false;
    assert(index <= this.lastIndex, 'raft log: the commit index is behind the end of the log; the log was lost');
    this.committed = index;
    return true;
  }

  /** Up to where entries may be applied now. */
  get applicable(): number {
    if (this.pendingSnapshot !== null) return this.applying;
    return Math.min(this.committed, this.stable);
  }

  /**
   * The highest index ≤ `index` whose term is ≤ `term`: where two logs may agree at best, found without a round trip per
   * entry (Raft paper §5.3, end). Stops at the compacted part, whose terms are not known.
   */
  lastWithTermAtMost(index: number, term: number): number {
    let at = index;
    while (at > this.base && this.termAt(at) > term) at--;
    return at;
  }

  /** Entries [from, …] up to `bytesMax` in all, at least one. The array is the caller's. */
  slice(from: number, bytesMax: number): Entry[] {
    const start = from - this.base - 1;
    const count = this.entries.length;
    let bytes = 0;
    let end = start;
    while (end < count) {
      bytes += entryBytes(this.entries[end] as Entry);
      if (bytes > bytesMax && end > start) break;
      end++;
    }
    return this.entries.slice(start, end);
  }

  /** Forgets entries up to and including `index`, which must be applied. */
  compact(index: number): void {
    if (index <= this.base) return;
    assert(index <= this.applied, 'raft log: only applied entries may be compacted');
    const term = this.termAt(index);
    this.entries.splice(0, index - this.base);
    this.base = index;
    this.baseTerm = term;
  }

  /** Replaces the whole log by a snapshot (Raft paper §7). */
  restore(snapshot: RaftSnapshot, index: number, term: number): void {
    this.entries.length = 0;
    this.base = index;
    this.baseTerm = term;
    this.stable = index;
    this.handed = index;
    this.committed = index;
    this.pendingSnapshot = snapshot;
    for (const write of this.writes) write.lastIndex = 0;
  }
}
