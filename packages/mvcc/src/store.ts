import { type Backend, META_SCHEDULED_COMPACT_REV } from '@etsd/backend';
import {
  assert,
  CorruptionError,
  EMPTY,
  faultPoint,
  isEmptyRange,
  type Key,
  keyFromBytes,
  OPEN_END,
  type U64,
} from '@etsd/base';
import {
  ErrCompacted,
  ErrFutureRev,
  type EtcdError,
  KeyValueView,
  keyValueSize,
  lengthDelimitedSize,
  writeKeyValue,
  writeLatin1,
  writeVarint,
} from '@etsd/proto';
import { ChangeDigest } from './change-digest.ts';
import { ChangeList, type ChangeListener } from './changes.ts';
import { Compaction } from './compact.ts';
import { Copies } from './copies.ts';
import { RangeCursor } from './cursor.ts';
import { CompactionHashes, KvHash, type KvHashJob, StoreHash } from './hash.ts';
import { KeyIndex } from './key-index.ts';
import type { Leaf } from './key-tree.ts';
import { RECORD_CACHE_BYTES, RESTORE_SLICE_RECORDS } from './limits.ts';
import { checkRevision, count, type RangeOptions, type RangeResult, range } from './range.ts';
import { RecordCache } from './record-cache.ts';
import { Restore } from './restore.ts';
import { isTombstoneKey, revisionKey, revisionMain, revisionSub, sharedRevisionKey } from './revision.ts';
import { StoreFigures } from './store-figures.ts';

/** Where the last `lookup` found a key. */
export class FoundKey {
  mainRevision = 0;
  subRevision = 0;
  createRevision = 0;
  version = 0;
}

/** Hears what becomes of the size of a key's newest record, in bytes; 0 where the key is not there. */
export interface SizeListener {
  /** `slot` is the key's place in the index. */
  resized(key: Key, slot: number, before: number, after: number): void;
}

export interface StoreOptions {
  /** Bytes of hot records kept in memory. */
  cacheBytes?: number;
}

/**
 * All keys with their history, as etcd defines it: every change has a revision, and any revision not yet compacted can
 * be read. The keys' index is in memory (`KeyIndex`), the records in the backend.
 *
 * Pure and synchronous. One write transaction at a time; what it has done so far is seen by every read made meanwhile.
 * Long work (restoring, compacting, hashing, large ranges) comes as objects with slices, driven by whoever owns a clock.
 */
export class Store {
  readonly backend: Backend;
  index = new KeyIndex();
  /** Grows when another state is adopted: what was read before may not fit what is read now. */
  generation = 0;
  /** The revision of the last change; 1 in an empty store. */
  revision = 1;
  /** Reads below this revision fail; −1 where nothing was ever compacted. */
  compactRevision = -1;
  /** Changes made by the open transaction. */
  changes = 0;
  /** Hears of every revision; null costs nothing. */
  listener: ChangeListener | null = null;
  /** Hears of every key that is written or deleted; null costs nothing. */
  sizes: SizeListener | null = null;
  /** Filled in by `lookup`; reused. */
  readonly found = new FoundKey();
  /** Of all changes since somebody cleared it. */
  readonly digest = new ChangeDigest();
  /** The lease each key hung on when the store was opened. Whoever has taken it over may set it to null. */
  restoredLeases: Map<Key, U64> | null = null;

  readonly figures = new StoreFigures();
  /** What the store had done when the open transaction began. */
  private operationsBefore = 0;
  private inTransaction = false;
  private readonly published = new ChangeList();
  private readonly cache: RecordCache;
  private readonly copies = new Copies();
  private readonly view = new KeyValueView();
  private compaction: Compaction | null = null;
  /** Of the last compactions since the store was opened. */
  readonly compactionHashes = new CompactionHashes();
  private restore: Restore | null = null;
  /** Another state is being put in place of this one: nothing may be written. */
  private isBeingReplaced = false;
  /** Revisions that open cursors and hashes read at. */
  private readonly pins: number[] = [];

  constructor(backend: Backend, options: StoreOptions = {}) {
    this.backend = backend;
    this.cache = new RecordCache(options.cacheBytes ?? RECORD_CACHE_BYTES);
  }

  // ---- Opening -------------------------------------------------------------------------------------------------

  /** Reads the index from the backend in one go; see `beginRestore` for the same in slices. */
  open(): void {
    this.beginRestore();
    while (!this.restoreSlice(RESTORE_SLICE_RECORDS));
  }

  /** Starts reading the index from the backend. Nothing else may be called until `restoreSlice` returned true. */
  beginRestore(): void {
    assert(this.index.tree.size === 0 && this.restore === null, 'a store is restored once');
    this.restore = new Restore(this.index, this.backend.snapshot());
  }

  /** Reads this many records more; true once the store is ready. A compaction that was interrupted goes on by itself. */
  restoreSlice(records: number): boolean {
    const restore = this.restore;
    assert(restore !== null, 'a restore was begun');
    if (!restore.slice(records)) return false;
    this.restore = null;
    this.take(restore);
    return true;
  }

  private take(restore: Restore): void {
    this.revision = restore.revision;
    this.compactRevision = restore.compactRevision;
    this.restoredLeases = restore.leases;
    if (restore.scheduledCompactRevision > 0) this.startCompaction(restore.scheduledCompactRevision, false);
  }

  /**
   * Says that the backend is about to be given another content: until `adopt` nothing is written, compactions pause, and
   * reads go on.
   */
  beginReplacement(): void {
    assert(!this.inTransaction && this.changes === 0, 'no transaction is open while the store is replaced');
    this.isBeingReplaced = true;
  }

  /**
   * Takes a state that was read, to its end, from what the backend holds from now on. Reads under way at revisions that it
   * no longer has fail; the listener is not told: what happened in between is in the history.
   */
  adopt(restore: Restore): void {
    assert(this.isBeingReplaced, 'a replacement was begun');
    this.isBeingReplaced = false;
    this.index = restore.index;
    this.generation++;
    this.cache.clear();
    this.compaction = null;
    this.compactionHashes.clear();
    this.take(restore);
  }

  // ---- Writing -------------------------------------------------------------------------------------------------

  /** The revision that reads see now: within a transaction that has changed something, the one it is making. */
  get readRevision(): number {
    return this.changes > 0 ? this.revision + 1 : this.revision;
  }

  begin(): void {
    assert(!this.inTransaction && !this.isBeingReplaced, 'one transaction at a time');
    this.inTransaction = true;
    this.operationsBefore = this.figures.operations;
  }

  /** Puts a key with the value `value[valueStart, valueEnd)`, which is copied. */
  put(key: Key, value: Buffer, valueStart: number, valueEnd: number, lease: U64): void {
    this.figures.puts++;
    this.figures.putBytes += key.length + valueEnd - valueStart;
    const index = this.index;
    const main = this.revision + 1;
    const sub = this.changes;
    let slot = index.find(key);
    let created = main;
    let version = 1;
    let previousMain = 0;
    let previousSub = 0;
    if (slot >= 0) {
      const before = index.version(slot);
      if (before > 0) {
        created = index.created(slot);
        version = before + 1;
        previousMain = index.main(slot);
        previousSub = index.sub(slot);
      }
    }
    const size = keyValueSize(key.length, created, main, version, valueEnd - valueStart, lease);
    const cache = this.cache;
    cache.reserve(main, sub, size);
    const { slab, offset } = cache;
    writeKeyValue(slab.bytes, offset, key, created, main, version, value, valueStart, valueEnd, lease);
    this.backend.putRecord(main, sub, slab, offset, offset + size);
    this.digest.add(main, sub, created, version, slab.bytes, offset, size);
    const sizeBefore = slot >= 0 ? index.size(slot) : 0;
    if (slot >= 0) index.update(key, slot, main, sub, created, version);
    else slot = index.add(key, main, sub, created, version);
    index.setSize(slot, size);
    if (this.sizes !== null) this.sizes.resized(key, slot, sizeBefore, size);
    this.changes = sub + 1;
    if (this.listener === null || this.listener.watcherCount === 0) return;
    this.published.add(key, slab.bytes.subarray(offset, offset + size), false, previousMain, previousSub);
  }

  /** Deletes the keys of a range and returns how many there were. */
  deleteRange(key: Key, rangeEnd: Key): number {
    this.figures.deletes++;
    const index = this.index;
    if (rangeEnd === '') {
      const slot = index.find(key);
      if (slot < 0 || index.version(slot) === 0) return 0;
      this.deleteSlot(key, slot);
      index.tree.locate(key);
      index.tree.addLive(-1);
      return 1;
    }
    if (isEmptyRange(key, rangeEnd)) return 0;
    const { tree } = index;
    let deleted = 0;
    let leaf: Leaf | null = index.seek(key);
    let at = tree.index;
    while (leaf !== null) {
      const behind = rangeEnd === OPEN_END ? leaf.length : tree.countBelow(leaf, rangeEnd);
      if (leaf.live > 0) deleted += this.deleteInLeaf(leaf, at, behind);
      if (behind < leaf.length) break;
      leaf = leaf.next;
      at = 0;
    }
    return deleted;
  }

  /** Deletes the live keys in [from, to) of a leaf. */
  private deleteInLeaf(leaf: Leaf, from: number, to: number): number {
    const { index } = this;
    let last: Key = '';
    let deleted = 0;
    for (let at = from; at < to; at++) {
      const slot = leaf.slot(at);
      if (index.version(slot) === 0) continue;
      last = index.keyOf(slot);
      this.deleteSlot(last, slot);
      deleted++;
    }
    if (deleted > 0) {
      index.tree.locate(last);
      index.tree.addLive(-deleted);
    }
    return deleted;
  }

  /** Deletes a live key; the caller tells the tree that it is dead. */
  private deleteSlot(key: Key, slot: number): void {
    const index = this.index;
    const main = this.revision + 1;
    const sub = this.changes;
    const size = 1 + lengthDelimitedSize(key.length);
    const cache = this.cache;
    cache.reserve(main, sub, size);
    const { slab, offset } = cache;
    slab.bytes[offset] = KEY_TAG;
    writeLatin1(slab.bytes, writeVarint(slab.bytes, offset + 1, key.length), key);
    this.backend.putRecord(main, sub, slab, offset, offset + size, true);
    this.digest.add(main, sub, 0, 0, slab.bytes, offset, size);
    const previousMain = index.main(slot);
    const previousSub = index.sub(slot);
    index.renew(slot, main, sub, 0, 0);
    const sizeBefore = index.size(slot);
    index.setSize(slot, 0);
    if (this.sizes !== null) this.sizes.resized(key, slot, sizeBefore, 0);
    this.changes = sub + 1;
    if (this.listener !== null && this.listener.watcherCount > 0)
      this.published.add(key, EMPTY, true, previousMain, previousSub);
  }

  /** Ends the transaction; returns the store's revision, which is a new one if anything was changed. */
  end(): number {
    assert(this.inTransaction, 'a transaction is open');
    this.inTransaction = false;
    if (this.figures.operations - this.operationsBefore > 1) this.figures.transactions++;
    if (this.changes === 0) return this.revision;
    this.changes = 0;
    this.revision++;
    if (this.listener !== null) {
      this.listener.changed(this.revision, this.published);
      if (this.published.count > 0) this.published.clear();
    }
    return this.revision;
  }

  // ---- Reading -------------------------------------------------------------------------------------------------

  /**
   * Finds a key at a revision that can be read (0: now) and fills in `found`; false where it does not exist then.
   * `found` is valid until the next call.
   */
  lookup(key: Key, atRevision: number): boolean {
    this.figures.ranges++;
    const index = this.index;
    const slot = index.find(key);
    if (slot < 0) return false;
    if (!index.at(slot, atRevision === 0 ? this.readRevision : atRevision)) return false;
    const found = this.found;
    found.mainRevision = index.foundMain;
    found.subRevision = index.foundSub;
    if (index.foundMain === index.main(slot) && index.foundSub === index.sub(slot)) {
      found.createRevision = index.created(slot);
      found.version = index.version(slot);
    } else {
      const record = this.record(index.foundMain, index.foundSub);
      this.view.parse(record, 0, record.length);
      found.createRevision = this.view.createRevision;
      found.version = this.view.version;
    }
    return true;
  }

  /** The stored bytes of a record that exists; a view, valid until the next call of the store. */
  record(main: number, sub: number): Buffer {
    return this.cache.get(main, sub) ?? this.cache.add(main, sub, this.stored(main, sub));
  }

  /** The same, to keep: the bytes stay as they are. */
  recordToKeep(main: number, sub: number): Buffer {
    return this.record(main, sub);
  }

  /** A record to keep that does not take the place of hotter ones in the cache. */
  recordCopy(main: number, sub: number): Buffer {
    return this.cache.get(main, sub) ?? this.copies.keep(this.stored(main, sub));
  }

  /** A view of a record that is not kept in the cache, valid until the next call of the store. */
  recordView(main: number, sub: number): Buffer {
    return this.cache.get(main, sub) ?? this.stored(main, sub);
  }

  private stored(main: number, sub: number): Buffer {
    const record = this.backend.getRecord(main, sub);
    if (record === null) throw missingRecord(main, sub);
    return record;
  }

  /** Answers a range by all of etcd's rules; on an error the result is empty. */
  range(key: Key, rangeEnd: Key, options: RangeOptions, result: RangeResult): EtcdError | null {
    this.figures.ranges++;
    return range(this, key, rangeEnd, options, result);
  }

  /** Keys in a range at a revision that can be read (0: now). */
  count(key: Key, rangeEnd: Key, revision: number): number {
    return count(this, key, rangeEnd, revision <= 0 ? this.readRevision : revision);
  }

  /**
   * At most this many keys have to be looked at to answer a range. Above `RANGE_AT_ONCE_KEYS` a cursor is the better
   * way.
   */
  rangeCost(key: Key, rangeEnd: Key, options: RangeOptions): number {
    const { tree } = this.index;
    if (rangeEnd === '') return 1;
    const live = count(this, key, rangeEnd, this.readRevision);
    const dead = tree.size - tree.live;
    const past = options.revision > 0 && options.revision < this.readRevision;
    if (past) return live + dead;
    if (options.countOnly) return 1;
    return options.limit > 0 && options.sortOrder === 0 ? Math.min(live, options.limit) : live;
  }

  /**
   * Opens a cursor over a range in the order of keys, descending where the options say so; sort targets are not looked at.
   * The revision (0: now) is the one of the options.
   */
  openCursor(key: Key, rangeEnd: Key, options: RangeOptions): RangeCursor | EtcdError {
    this.figures.ranges++;
    const error = checkRevision(this, options.revision);
    if (error !== null) return error;
    const revision = options.revision <= 0 ? this.readRevision : options.revision;
    return new RangeCursor(this, key, rangeEnd, revision, options, this.pin(revision));
  }

  /**
   * Shows all records of the revisions [from, to], in order, until `visit` says false. A record is valid during its
   * visit, which must not call the store; a deletion's holds the key alone.
   */
  history(
    fromRevision: number,
    toRevision: number,
    visit: (main: number, sub: number, isTombstone: boolean, record: Buffer) => boolean,
  ): void {
    const from = revisionKey(Math.max(0, fromRevision), 0);
    const to = revisionKey(toRevision + 1, 0);
    this.backend.scan('key', from, to, (key, record) =>
      visit(revisionMain(key), revisionSub(key), isTombstoneKey(key), record),
    );
  }

  /** The record of a key as it was before a revision; null where there was none, or it is compacted away. */
  recordBefore(key: Key, revision: number): Buffer | null {
    const slot = this.index.find(key);
    if (slot < 0 || !this.index.at(slot, revision - 1)) return null;
    const { foundMain, foundSub } = this.index;
    const cached = this.cache.get(foundMain, foundSub);
    if (cached !== null) return cached;
    const record = this.backend.getRecord(foundMain, foundSub);
    return record === null ? null : Buffer.from(record);
  }

  keyOfRecord(main: number, sub: number, isTombstone: boolean): Key {
    const record = this.backend.get('key', sharedRevisionKey(main, sub, isTombstone));
    if (record === null) throw missingRecord(main, sub);
    this.view.parse(record, 0, record.length);
    return keyFromBytes(record, this.view.keyStart, this.view.keyEnd);
  }

  // ---- Compacting and hashing ----------------------------------------------------------------------------------

  /** From here on reads below this revision fail; what they needed is removed by `compactSlice`. */
  compact(revision: number): EtcdError | null {
    if (revision <= this.compactRevision) return ErrCompacted;
    if (revision > this.revision) return ErrFutureRev;
    this.startCompaction(revision, this.compaction === null);
    this.backend.put('meta', META_SCHEDULED_COMPACT_REV, revisionKey(revision, 0));
    faultPoint('compaction.scheduled');
    return null;
  }

  /** Only a compaction whose predecessor was finished sees all there was, so that its hash means something. */
  private startCompaction(revision: number, withHash: boolean): void {
    const hash = withHash ? new KvHash(this.index, this.backend, revision, this.compactRevision, true, NOTHING) : null;
    this.compactRevision = revision;
    // One that is still running is swallowed: what it would have removed this one removes too.
    this.compaction = new Compaction(this, revision, hash, this.compactionHashes);
  }

  /** Whether `compactSlice` has something to do. */
  get compacting(): boolean {
    return this.compaction !== null;
  }

  /** Removes a slice of what was compacted; true once nothing is left. Must not run inside a transaction. */
  compactSlice(budget: number): boolean {
    assert(!this.inTransaction, 'transactions are not interleaved with compaction');
    if (this.isBeingReplaced) return false;
    if (this.compaction === null) return true;
    const { compaction, figures } = this;
    const before = compaction.removedRecords;
    const isDone = compaction.slice(budget);
    figures.compactedRecords += compaction.removedRecords - before;
    if (isDone) this.compaction = null;
    return isDone;
  }

  /**
   * Begins HashKV at a revision (0: now), to be driven by its `slice`. For the revision of a compaction it
   * is what that compaction computed.
   */
  hashKv(revision: number): KvHashJob | EtcdError {
    const known = this.compactionHashes.find(revision);
    if (known !== null) return known;
    if (revision > 0 && revision < this.compactRevision) return ErrCompacted;
    if (revision > this.revision) return ErrFutureRev;
    // As in etcd, nothing lies at or below a negative revision.
    const at = revision === 0 ? this.revision : revision;
    // Index and records stay what they are, also where the store is given another state meanwhile.
    const frozen = this.backend.snapshot();
    const unpin = this.pin(this.compactRevision);
    return new KvHash(this.index, frozen, at, this.compactRevision, false, () => {
      unpin();
      frozen.close();
    });
  }

  /** Begins the hash over all buckets. */
  hashAll(): StoreHash {
    return new StoreHash(this.backend.snapshot());
  }

  /** Cursors and hashes that are open. */
  get openReads(): number {
    return this.pins.length;
  }

  /** The oldest revision that a cursor or a hash under way reads at; infinite where there is none. */
  get pinnedRevision(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const pin of this.pins) if (pin < oldest) oldest = pin;
    return oldest;
  }

  private pin(revision: number): () => void {
    this.pins.push(revision);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.pins.splice(this.pins.indexOf(revision), 1);
    };
  }
}

/** Field 1 of a KeyValue, the only one a deletion has. */
const KEY_TAG = 0x0a;

const NOTHING = (): void => {};

function missingRecord(main: number, sub: number): CorruptionError {
  return new CorruptionError(
    'a record that the index knows is not in the store',
    `bucket key, revision ${main}/${sub}`,
    'Restore this member from a snapshot, or remove it and add it anew.',
  );
}
