import { assert, type Key } from '@etsd/base';
import { KeyTree, type Leaf } from './key-tree.ts';
import { NO_LIST, RevisionLists } from './revision-lists.ts';

/**
 * What is known of every key without reading its record: its newest revision, when it was created, its version, and the
 * list of its former revisions. All of it lies in columns indexed by the key's slot; a key with one revision costs its
 * string, its place in the tree and 36 bytes.
 *
 * ```
 *   point cache ─┐
 *   key tree ────┴▶ slot ─▶ main · sub · created · version ─▶ list of former revisions
 * ```
 * A version of 0 says that the newest revision is a deletion.
 */
const CHUNK_BITS = 12;
const CHUNK_SLOTS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_SLOTS - 1;

class Columns {
  readonly main = new Float64Array(CHUNK_SLOTS);
  readonly created = new Float64Array(CHUNK_SLOTS);
  readonly version = new Float64Array(CHUNK_SLOTS);
  /** In a free slot: the next free one, −1 at the end. */
  readonly sub = new Int32Array(CHUNK_SLOTS);
  readonly list = new Int32Array(CHUNK_SLOTS);
  readonly listLength = new Int32Array(CHUNK_SLOTS);
}

/** `main` of a slot that belongs to no key. */
const FREE = -1;

export class KeyIndex {
  readonly tree = new KeyTree();
  readonly lists = new RevisionLists();
  private readonly columns: Columns[] = [];
  /** Slots ever used; those below are taken or in the list of free ones. */
  slotsEnd = 0;
  private firstFree = -1;
  private readonly points = new PointCache();

  /** What `at` found: the revision of the record to read. */
  foundMain = 0;
  foundSub = 0;

  /** For walks along the tree; bound once. */
  readonly isLive: (slot: number) => boolean = (slot) => this.version(slot) > 0;

  constructor() {
    this.tree.countLive = (slots) => {
      let live = 0;
      for (const slot of slots) if (this.version(slot) > 0) live++;
      return live;
    };
  }

  /** The slot of a key that exists or has history, else −1. */
  find(key: Key): number {
    const known = this.points.get(key);
    if (known >= 0) return known;
    const slot = this.tree.locate(key);
    if (slot >= 0) this.points.set(key, slot, this.tree.size);
    return slot;
  }

  main(slot: number): number {
    return (this.columns[slot >> CHUNK_BITS] as Columns).main[slot & CHUNK_MASK] as number;
  }

  sub(slot: number): number {
    return (this.columns[slot >> CHUNK_BITS] as Columns).sub[slot & CHUNK_MASK] as number;
  }

  created(slot: number): number {
    return (this.columns[slot >> CHUNK_BITS] as Columns).created[slot & CHUNK_MASK] as number;
  }

  /** 0 where the key is deleted. */
  version(slot: number): number {
    return (this.columns[slot >> CHUNK_BITS] as Columns).version[slot & CHUNK_MASK] as number;
  }

  listLength(slot: number): number {
    return (this.columns[slot >> CHUNK_BITS] as Columns).listLength[slot & CHUNK_MASK] as number;
  }

  isTaken(slot: number): boolean {
    return this.main(slot) !== FREE;
  }

  /** Adds a key that `find` did not find. */
  add(key: Key, main: number, sub: number, created: number, version: number): number {
    const slot = this.takeSlot();
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    const at = slot & CHUNK_MASK;
    columns.main[at] = main;
    columns.sub[at] = sub;
    columns.created[at] = created;
    columns.version[at] = version;
    columns.list[at] = NO_LIST;
    columns.listLength[at] = 0;
    this.tree.insert(key, slot, version > 0);
    this.points.set(key, slot, this.tree.size);
    return slot;
  }

  /** A new revision of a key that is in the index; version 0 is a deletion. */
  update(key: Key, slot: number, main: number, sub: number, created: number, version: number): void {
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    const at = slot & CHUNK_MASK;
    const length = columns.listLength[at] as number;
    const before = columns.version[at] as number;
    columns.list[at] = this.lists.append(
      columns.list[at] as number,
      length,
      columns.main[at] as number,
      columns.sub[at] as number,
      before === 0,
    );
    columns.listLength[at] = length + 1;
    columns.main[at] = main;
    columns.sub[at] = sub;
    columns.created[at] = created;
    columns.version[at] = version;
    if (before > 0 === version > 0) return;
    this.tree.locate(key);
    this.tree.addLive(version > 0 ? 1 : -1);
  }

  /** Finds the revision of a key that a reader at `revision` sees; false where there is none. */
  at(slot: number, revision: number): boolean {
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    const at = slot & CHUNK_MASK;
    const main = columns.main[at] as number;
    if (main <= revision) {
      this.foundMain = main;
      this.foundSub = columns.sub[at] as number;
      return (columns.version[at] as number) > 0;
    }
    const length = columns.listLength[at] as number;
    const list = columns.list[at] as number;
    const index = this.lists.newestUpTo(list, length, revision);
    if (index < 0) return false;
    this.foundMain = this.lists.main(list, index);
    this.foundSub = this.lists.sub(list, index);
    return !this.lists.isTombstone(list, index);
  }

  /** Whether any key exists at a revision, or, if wanted, was deleted by it. */
  hasKeysAt(revision: number, orDeleted: boolean): boolean {
    for (let slot = 0; slot < this.slotsEnd; slot++) {
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
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    const at = slot & CHUNK_MASK;
    const length = columns.listLength[at] as number;
    if (length === 0) return 0;
    if ((columns.main[at] as number) <= revision) return length;
    const list = columns.list[at] as number;
    const index = this.lists.newestUpTo(list, length, revision);
    if (index < 0) return 0;
    return this.lists.isTombstone(list, index) && this.lists.main(list, index) < revision ? index + 1 : index;
  }

  formerMain(slot: number, index: number): number {
    return this.lists.main((this.columns[slot >> CHUNK_BITS] as Columns).list[slot & CHUNK_MASK] as number, index);
  }

  formerSub(slot: number, index: number): number {
    return this.lists.sub((this.columns[slot >> CHUNK_BITS] as Columns).list[slot & CHUNK_MASK] as number, index);
  }

  formerIsTombstone(slot: number, index: number): boolean {
    return this.lists.isTombstone(
      (this.columns[slot >> CHUNK_BITS] as Columns).list[slot & CHUNK_MASK] as number,
      index,
    );
  }

  /** Forgets the oldest former revisions of a slot. */
  dropFormer(slot: number, dropped: number): void {
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    const at = slot & CHUNK_MASK;
    const length = columns.listLength[at] as number;
    columns.list[at] = this.lists.dropFirst(columns.list[at] as number, length, dropped);
    columns.listLength[at] = length - dropped;
  }

  /** Forgets a deleted key that has no history left. */
  remove(key: Key, slot: number): void {
    assert(this.version(slot) === 0 && this.listLength(slot) === 0, 'only a key without records is removed');
    const there = this.tree.locate(key);
    assert(there === slot, 'a key lies where its slot says');
    this.tree.remove();
    this.points.forget(key);
    const columns = this.columns[slot >> CHUNK_BITS] as Columns;
    columns.main[slot & CHUNK_MASK] = FREE;
    columns.sub[slot & CHUNK_MASK] = this.firstFree;
    this.firstFree = slot;
  }

  /** Goes to the first key ≥ `key`: from there the caller walks along `tree.leaf` and its followers. */
  seek(key: Key): Leaf {
    this.tree.locate(key);
    return this.tree.leaf;
  }

  private takeSlot(): number {
    const free = this.firstFree;
    if (free >= 0) {
      this.firstFree = this.sub(free);
      return free;
    }
    const slot = this.slotsEnd++;
    if (slot >> CHUNK_BITS === this.columns.length) this.columns.push(new Columns());
    return slot;
  }
}

/**
 * Recently used keys and their slots, in a table without chains: two keys for one place evict each other. It spares
 * most lookups the walk through the tree (0.3 µs instead of 0.6 to 1.8), needs no rehashing and cannot be made slow by
 * chosen keys.
 */
class PointCache {
  private mask = 1023;
  private keys: Key[] = new Array<Key>(1024).fill('');
  private slots = new Int32Array(1024).fill(-1);

  get(key: Key): number {
    const at = hashKey(key) & this.mask;
    return this.keys[at] === key ? (this.slots[at] as number) : -1;
  }

  set(key: Key, slot: number, total: number): void {
    if (total > this.mask && this.mask < POINTS_MAX - 1) this.enlarge();
    const at = hashKey(key) & this.mask;
    this.keys[at] = key;
    this.slots[at] = slot;
  }

  forget(key: Key): void {
    const at = hashKey(key) & this.mask;
    if (this.keys[at] !== key) return;
    this.keys[at] = '';
    this.slots[at] = -1;
  }

  /** A larger table starts empty; what is used comes back. */
  private enlarge(): void {
    const size = (this.mask + 1) * 4;
    this.mask = size - 1;
    this.keys = new Array<Key>(size).fill('');
    this.slots = new Int32Array(size).fill(-1);
  }
}

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
