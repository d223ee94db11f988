import { assert, type Key, OPEN_END } from '@etsd/base';
import { KeyPool } from './key-pool.ts';
import { KeyTree, type Leaf, type SlotKeys } from './key-tree.ts';
import { NO_LIST, RevisionLists } from './revision-lists.ts';

/**
 * What is known of every key without reading its record: its newest revision, when it was created, its version, and the
 * list of its former revisions. All of it lies in typed arrays indexed by the key's slot; a key with one revision costs
 * its bytes, its place in the tree and 48 bytes, and nothing of that is on the heap.
 *
 * ```
 *   point cache ─┐
 *   key tree ────┴▶ slot ─▶ main · sub · created · version · size ─▶ list of former revisions
 *                        └▶ key pool
 * ```
 * The size is that of the newest record, so that what lies below a prefix can be counted as it changes.
 * A version of 0 says that the newest revision is a deletion.
 */
const CHUNK_BITS = 12;
const CHUNK_SLOTS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_SLOTS - 1;

/**
 * One slot is 48 bytes side by side, so that using it costs one or two cache lines: three doubles (main, created,
 * version), then as 32-bit integers sub, handle and length of the list, the address of the key, and the size; the last four
 * bytes are there for the next slot's doubles.
 */
class SlotChunk {
  readonly doubles: Float64Array;
  readonly ints: Int32Array;

  constructor() {
    this.doubles = new Float64Array(CHUNK_SLOTS * DOUBLES);
    this.ints = new Int32Array(this.doubles.buffer);
  }
}

const DOUBLES = 6;
const MAIN = 0;
const CREATED = 1;
/** 0 where the newest revision is a deletion. */
const VERSION = 2;
const INTS = 12;
/** In a free slot: the next free one, −1 at the end. */
const SUB = 6;
const LIST = 7;
const LIST_LENGTH = 8;
const KEY = 9;
const SIZE = 10;

/** `main` of a slot that belongs to no key. */
const FREE = -1;

export class KeyIndex implements SlotKeys {
  readonly tree: KeyTree;
  readonly lists = new RevisionLists();
  private readonly chunks: SlotChunk[] = [];
  /** Slots ever used; those below are taken or in the list of free ones. */
  slotsEnd = 0;
  private firstFree = -1;
  private readonly pool = new KeyPool();
  private readonly points = new PointCache(this);

  /** What `at` found: the revision of the record to read. */
  foundMain = 0;
  foundSub = 0;

  /** For walks along the tree; bound once. */
  readonly isLive: (slot: number) => boolean = (slot) => this.version(slot) > 0;

  constructor() {
    this.tree = new KeyTree(this);
  }

  // ---- Keys of slots -------------------------------------------------------------------------------------------

  private address(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + KEY] as number;
  }

  keyOf(slot: number): Key {
    return this.pool.get(this.address(slot));
  }

  isKeyOf(slot: number, key: Key): boolean {
    return this.pool.equals(this.address(slot), key);
  }

  compareKey(slot: number, key: Key, skip: number): number {
    return this.pool.compare(this.address(slot), key, skip);
  }

  headOf(slot: number, skip: number): number {
    return this.pool.head(this.address(slot), skip);
  }

  countLive(slots: Int32Array, start: number, end: number): number {
    let live = 0;
    for (let i = start; i < end; i++) if (this.version(slots[i] as number) > 0) live++;
    return live;
  }

  // ---- Slots ---------------------------------------------------------------------------------------------------

  /** The slot of a key that exists or has history, else −1. */
  find(key: Key): number {
    const known = this.points.get(key);
    if (known >= 0) return known;
    const slot = this.tree.locate(key);
    if (slot >= 0) this.points.set(key, slot, this.tree.size);
    return slot;
  }

  main(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).doubles[(slot & CHUNK_MASK) * DOUBLES + MAIN] as number;
  }

  sub(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + SUB] as number;
  }

  created(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).doubles[(slot & CHUNK_MASK) * DOUBLES + CREATED] as number;
  }

  /** 0 where the key is deleted. */
  version(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).doubles[(slot & CHUNK_MASK) * DOUBLES + VERSION] as number;
  }

  /** Bytes of the newest record; 0 where that is a deletion. */
  size(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + SIZE] as number;
  }

  setSize(slot: number, bytes: number): void {
    (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + SIZE] = bytes;
  }

  listLength(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + LIST_LENGTH] as number;
  }

  private list(slot: number): number {
    return (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + LIST] as number;
  }

  isTaken(slot: number): boolean {
    return this.main(slot) !== FREE;
  }

  /** Adds a key that `find` did not find. */
  add(key: Key, main: number, sub: number, created: number, version: number): number {
    const slot = this.takeSlot();
    const { doubles, ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    const at = (slot & CHUNK_MASK) * DOUBLES;
    const int = (slot & CHUNK_MASK) * INTS;
    doubles[at + MAIN] = main;
    ints[int + SUB] = sub;
    doubles[at + CREATED] = created;
    doubles[at + VERSION] = version;
    ints[int + LIST] = NO_LIST;
    ints[int + LIST_LENGTH] = 0;
    ints[int + KEY] = this.pool.add(key);
    this.tree.insert(key, slot, version > 0);
    return slot;
  }

  /** The next revision of a key as it comes from disk: keys come in no order and are not likely to be used soon. */
  restore(key: Key, main: number, sub: number, created: number, version: number, size: number): void {
    let slot = this.tree.locate(key);
    if (slot >= 0) this.update(key, slot, main, sub, created, version);
    else slot = this.add(key, main, sub, created, version);
    this.setSize(slot, size);
  }

  /** A new revision of a key that is in the index; version 0 is a deletion. */
  update(key: Key, slot: number, main: number, sub: number, created: number, version: number): void {
    const before = this.version(slot);
    this.renew(slot, main, sub, created, version);
    if (before > 0 === version > 0) return;
    this.tree.locate(key);
    this.tree.addLive(version > 0 ? 1 : -1);
  }

  /** The same; where a key came into being or was deleted the caller tells the tree, once for many keys of a leaf. */
  renew(slot: number, main: number, sub: number, created: number, version: number): void {
    const { doubles, ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    const at = (slot & CHUNK_MASK) * DOUBLES;
    const int = (slot & CHUNK_MASK) * INTS;
    const length = ints[int + LIST_LENGTH] as number;
    const before = doubles[at + VERSION] as number;
    ints[int + LIST] = this.lists.append(
      ints[int + LIST] as number,
      length,
      doubles[at + MAIN] as number,
      ints[int + SUB] as number,
      before === 0,
    );
    ints[int + LIST_LENGTH] = length + 1;
    doubles[at + MAIN] = main;
    ints[int + SUB] = sub;
    doubles[at + CREATED] = created;
    doubles[at + VERSION] = version;
  }

  /** Finds the revision of a key that a reader at `revision` sees; false where there is none. */
  at(slot: number, revision: number): boolean {
    const { doubles, ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    const at = (slot & CHUNK_MASK) * DOUBLES;
    const int = (slot & CHUNK_MASK) * INTS;
    const main = doubles[at + MAIN] as number;
    if (main <= revision) {
      this.foundMain = main;
      this.foundSub = ints[int + SUB] as number;
      return (doubles[at + VERSION] as number) > 0;
    }
    const length = ints[int + LIST_LENGTH] as number;
    const list = ints[int + LIST] as number;
    const index = this.lists.newestUpTo(list, length, revision);
    if (index < 0) return false;
    this.foundMain = this.lists.main(list, index);
    this.foundSub = this.lists.sub(list, index);
    return !this.lists.isTombstone(list, index);
  }

  /** Whether any key of the slots [from, to) exists at a revision, or, if wanted, was deleted by it. */
  hasKeysAt(revision: number, orDeleted: boolean, from: number, to: number): boolean {
    const end = Math.min(to, this.slotsEnd);
    for (let slot = from; slot < end; slot++) {
      if (!this.isTaken(slot)) continue;
      this.foundMain = 0;
      if (this.at(slot, revision) || (orDeleted && this.foundMain === revision)) return true;
    }
    return false;
  }

  /**
   * How many of the oldest former revisions of a slot no reader at or above `revision` sees: all before the newest one
   * up to it, and that one too if it is a deletion from before `revision`.
   */
  obsolete(slot: number, revision: number): number {
    const { doubles, ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    const at = (slot & CHUNK_MASK) * DOUBLES;
    const int = (slot & CHUNK_MASK) * INTS;
    const length = ints[int + LIST_LENGTH] as number;
    if (length === 0) return 0;
    if ((doubles[at + MAIN] as number) <= revision) return length;
    const list = ints[int + LIST] as number;
    const index = this.lists.newestUpTo(list, length, revision);
    if (index < 0) return 0;
    return this.lists.isTombstone(list, index) && this.lists.main(list, index) < revision ? index + 1 : index;
  }

  formerMain(slot: number, index: number): number {
    return this.lists.main(
      (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + LIST] as number,
      index,
    );
  }

  formerSub(slot: number, index: number): number {
    return this.lists.sub(
      (this.chunks[slot >> CHUNK_BITS] as SlotChunk).ints[(slot & CHUNK_MASK) * INTS + LIST] as number,
      index,
    );
  }

  formerIsTombstone(slot: number, index: number): boolean {
    return this.lists.isTombstone(this.list(slot), index);
  }

  /** Forgets the oldest former revisions of a slot. */
  dropFormer(slot: number, dropped: number): void {
    const { ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    const int = (slot & CHUNK_MASK) * INTS;
    const length = ints[int + LIST_LENGTH] as number;
    ints[int + LIST] = this.lists.dropFirst(ints[int + LIST] as number, length, dropped);
    ints[int + LIST_LENGTH] = length - dropped;
  }

  /** Forgets a deleted key that has no history left. */
  remove(key: Key, slot: number): void {
    assert(this.version(slot) === 0 && this.listLength(slot) === 0, 'only a key without records is removed');
    const there = this.tree.locate(key);
    assert(there === slot, 'a key lies where its slot says');
    this.tree.remove();
    this.points.forget(key, slot);
    this.pool.remove(this.address(slot));
    const { doubles, ints } = this.chunks[slot >> CHUNK_BITS] as SlotChunk;
    doubles[(slot & CHUNK_MASK) * DOUBLES + MAIN] = FREE;
    ints[(slot & CHUNK_MASK) * INTS + SUB] = this.firstFree;
    this.firstFree = slot;
  }

  /** Goes to the first key ≥ `key`: from there the caller walks along `tree.leaf` and its followers. */
  seek(key: Key): Leaf {
    this.tree.locate(key);
    return this.tree.leaf;
  }

  /** Goes behind the last key < `key`, or behind the last of all: from there the caller walks back, leaf by leaf. */
  seekBack(key: Key): void {
    if (key === OPEN_END) this.tree.locateEnd();
    else this.tree.locate(key);
  }

  private takeSlot(): number {
    const free = this.firstFree;
    if (free >= 0) {
      this.firstFree = this.sub(free);
      return free;
    }
    const slot = this.slotsEnd++;
    if (slot >> CHUNK_BITS === this.chunks.length) this.chunks.push(new SlotChunk());
    return slot;
  }
}

/**
 * Recently used keys and their slots, in a table without chains: two keys for one place evict each other. It spares
 * most lookups the walk through the tree (0.3 µs instead of 0.6 to 1.8), needs no rehashing and cannot be made slow by
 * chosen keys.
 */
class PointCache {
  private readonly index: KeyIndex;
  private mask = POINTS_MIN - 1;
  private places = emptyPlaces(POINTS_MIN);

  constructor(index: KeyIndex) {
    this.index = index;
  }

  get(key: Key): number {
    const hash = hashKey(key);
    const at = (hash & this.mask) * PLACE;
    if (this.places[at] !== hash) return -1;
    const slot = this.places[at + PLACE_SLOT] as number;
    return slot >= 0 && this.index.isKeyOf(slot, key) ? slot : -1;
  }

  set(key: Key, slot: number, total: number): void {
    if (total > this.mask && this.mask < POINTS_MAX - 1) this.enlarge();
    const hash = hashKey(key);
    const at = (hash & this.mask) * PLACE;
    this.places[at] = hash;
    this.places[at + PLACE_SLOT] = slot;
  }

  forget(key: Key, slot: number): void {
    const at = (hashKey(key) & this.mask) * PLACE + PLACE_SLOT;
    if (this.places[at] === slot) this.places[at] = -1;
  }

  /** A larger table starts empty; what is used comes back. */
  private enlarge(): void {
    const size = (this.mask + 1) * 4;
    this.mask = size - 1;
    this.places = emptyPlaces(size);
  }
}

function emptyPlaces(count: number): Int32Array {
  return new Int32Array(count * PLACE).fill(-1);
}

/** A place of the point cache, in integers side by side: the hash of a key, and its slot, −1 where there is none. */
const PLACE = 2;
const PLACE_SLOT = 1;
const POINTS_MIN = 1024;
const POINTS_MAX = 1 << 18;

/** FNV-1a over the key, or over the two ends of a long one: a poor hash costs speed, nothing else. */
function hashKey(key: Key): number {
  const length = key.length;
  let hash = length;
  const head = length > 64 ? 16 : length;
  for (let i = 0; i < head; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  if (length > 64) for (let i = length - 48; i < length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 15);
}
