import { assert, isEmptyRange, type Key, OPEN_END, successor } from '@etsd/base';
import { ErrCompacted, type EtcdError } from '@etsd/proto';
import type { Leaf } from './key-tree.ts';
import { count, hasFilters, passesFilters, type RangeOptions, type RangeSource, SORT_DESCEND } from './range.ts';

/** Where a cursor brings the records it reads. */
export interface RecordSink {
  /** One record, in order; it is valid during the call only, which must not call the store. */
  record(record: Buffer): void;
}

/** What `read` found: nothing that is wanted, or that nothing more is. */
const NOTHING = 0;
const ENOUGH = -1;

/**
 * A large range in the order of its keys, or in the opposite one where the options say SORT_DESCEND, read piece by piece
 * over many turns of the event loop, all at the revision at which it was opened. While it is open the store keeps what that
 * revision sees; it must be closed.
 */
export class RangeCursor {
  /** The records of the last piece; a new array each time. */
  records: Buffer[] = [];
  /** Keys in the range, whatever limit and filters leave. Final once `next` has returned true. */
  count = 0;
  /** Whether the limit left records out. Final once `next` has returned true. */
  more = false;
  readonly revision: number;
  /** Why nothing more comes, where the store was given a state that this revision is not in any more. */
  error: EtcdError | null = null;

  private readonly source: RangeSource;
  private readonly key: Key;
  private readonly rangeEnd: Key;
  private readonly options: RangeOptions;
  private readonly filtered: boolean;
  private readonly release: () => void;
  private readonly isDescending: boolean;
  /** Where to go on: with this key, or with the one before where it is descending; null once all was seen. */
  private from: Key | null;
  private limitLeft: number;
  /** Whether the count is known without walking to the end. */
  private readonly counted: boolean;
  private generation: number;
  private isOpen = true;
  private isKept = false;

  constructor(
    source: RangeSource,
    key: Key,
    rangeEnd: Key,
    revision: number,
    options: RangeOptions,
    release: () => void,
  ) {
    this.source = source;
    this.key = key;
    this.rangeEnd = rangeEnd === '' ? successor(key) : rangeEnd;
    this.revision = revision;
    this.options = options;
    this.filtered = hasFilters(options);
    this.release = release;
    this.generation = source.generation;
    this.isDescending = options.sortOrder === SORT_DESCEND;
    this.from = this.beginning();
    this.limitLeft = options.limit > 0 ? options.limit : Number.POSITIVE_INFINITY;
    // In the present the tree knows; a past revision has to be counted key by key.
    this.counted = revision === source.readRevision;
    if (this.counted) this.count = count(source, key, rangeEnd, revision);
  }

  /**
   * Reads on until the records reach `bytes` or `keys` keys were looked at; true once the range is finished, with
   * `records` holding the last piece. With a sink the records go there, uncopied, and `records` stays empty.
   */
  next(bytes: number, keys: number, sink: RecordSink | null = null): boolean {
    this.records = [];
    if (this.from === null) return this.finish();
    if (this.generation !== this.source.generation && this.isLost()) return this.finish();
    const { countOnly } = this.options;
    if (this.counted && (countOnly || (this.limitLeft === 0 && !this.filtered))) return this.finish();
    return this.isDescending ? this.walkBack(this.from, bytes, keys, sink) : this.walk(this.from, bytes, keys, sink);
  }

  private walk(from: Key, bytes: number, keys: number, sink: RecordSink | null): boolean {
    const { index } = this.source;
    let leaf: Leaf | null = index.seek(from);
    let at = index.tree.index;
    let bytesLeft = bytes;
    let keysLeft = keys;
    while (leaf !== null) {
      const end = this.rangeEnd === OPEN_END ? leaf.length : index.tree.countBelow(leaf, this.rangeEnd);
      for (; at < end; at++) {
        if (bytesLeft <= 0 || keysLeft-- <= 0) {
          this.from = index.keyOf(leaf.slot(at));
          return false;
        }
        const taken = this.read(leaf.slot(at), sink);
        if (taken === ENOUGH) return this.finish();
        bytesLeft -= taken;
      }
      if (end < leaf.length) break;
      leaf = leaf.next;
      at = 0;
    }
    return this.finish();
  }

  private walkBack(below: Key, bytes: number, keys: number, sink: RecordSink | null): boolean {
    const { index } = this.source;
    const { tree } = index;
    index.seekBack(below);
    let bytesLeft = bytes;
    let keysLeft = keys;
    do {
      const { leaf } = tree;
      const first = tree.countBelow(leaf, this.key);
      for (let at = tree.index - 1; at >= first; at--) {
        if (bytesLeft <= 0 || keysLeft-- <= 0) {
          this.from = successor(index.keyOf(leaf.slot(at)));
          return false;
        }
        const taken = this.read(leaf.slot(at), sink);
        if (taken === ENOUGH) return this.finish();
        bytesLeft -= taken;
      }
      if (first > 0) break;
    } while (tree.previousLeaf());
    return this.finish();
  }

  /** Looks at one key, counts it and takes its record: its length, or that there was `NOTHING`, or `ENOUGH`. */
  private read(slot: number, sink: RecordSink | null): number {
    const { options, source } = this;
    const { index } = source;
    if (!index.at(slot, this.revision)) return NOTHING;
    if (!this.counted) this.count++;
    if (options.countOnly) return NOTHING;
    if (this.limitLeft === 0 && !this.filtered) {
      this.more = true;
      return NOTHING;
    }
    const { foundMain, foundSub } = index;
    const record = sink === null ? source.recordCopy(foundMain, foundSub) : source.recordView(foundMain, foundSub);
    if (this.filtered && !passesFilters(record, options)) return NOTHING;
    if (this.limitLeft === 0) {
      this.more = true;
      return this.counted ? ENOUGH : NOTHING;
    }
    this.limitLeft--;
    if (sink === null) this.records.push(record);
    else sink.record(record);
    return record.length;
  }

  /** Where the walk begins; null where there is nothing to see. */
  private beginning(): Key | null {
    if (isEmptyRange(this.key, this.rangeEnd)) return null;
    return this.isDescending ? this.rangeEnd : this.key;
  }

  /** Whether the state that the store has now was compacted beyond this revision. */
  private isLost(): boolean {
    this.generation = this.source.generation;
    if (this.revision >= this.source.compactRevision) return false;
    this.error = ErrCompacted;
    return true;
  }

  /** The end of the range will not close the cursor, so that it can be read again. It must be closed in any case. */
  keep(): void {
    this.isKept = true;
  }

  /** Begins again. Only for a cursor that is kept; the next end will close it. */
  rewind(): void {
    assert(this.isOpen && this.isKept, 'only a kept cursor begins again');
    this.from = this.beginning();
    this.limitLeft = this.options.limit > 0 ? this.options.limit : Number.POSITIVE_INFINITY;
    if (!this.counted) this.count = 0;
    this.isKept = false;
  }

  private finish(): true {
    this.from = null;
    if (this.counted && !this.filtered && !this.options.countOnly && this.options.limit > 0) {
      this.more = this.count > this.options.limit;
    }
    if (!this.isKept) this.close();
    return true;
  }

  /** Gives the revision free again. Closing twice is allowed. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.release();
  }
}
