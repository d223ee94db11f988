/**
 * Reads a file of LMDB (data version 2, as lmdb 3 writes it) page by page, without LMDB: that one maps the file and
 * follows whatever page numbers it finds, so that a damaged file ends the process with a signal, and it changes the file
 * when it opens it. Here every page is looked at before it is believed, nothing is written, and what is wrong is told
 * with file, page and byte.
 *
 * ```
 * page   id u64 · transaction u64 · – u16 · flags u16 · lower u16 · upper u16 │ u16 offsets … free … nodes │
 * node   low u16 · high u16 · flags u16 · key length u16 · key · value, or a table, or where its own pages are
 * meta   magic u32 · version u32 · – u64 · map u64 · table of free pages · table of tables · last page u64 ·
 *        transaction u64 · boot i64                       (pages 0 and 1; the last synced one half a page behind 0)
 * table  page size u32 · flags u16 · depth u16 · branches u64 · leaves u64 · overflow u64 · records u64 · root u64
 * ```
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { CorruptionError } from '@etsd/base';
import type { BackendReader, RecordCursor, Visit } from './backend.ts';
import { type Bucket, STORED_BUCKETS } from './buckets.ts';
import { type CursorPages, LmdbCursor } from './lmdb-cursor.ts';
import { recordChecksum, StoreDigest } from './lmdb-digest.ts';
import {
  BRANCH,
  DIGEST_KEY,
  HEAD_BYTES,
  i64,
  LEAF,
  NODE_BIG,
  NODE_HEAD_BYTES,
  NODE_TABLE,
  OVERFLOW,
  PLACE_BYTES,
  SYSTEM_TABLE,
  TABLE_BYTES,
  u64,
} from './lmdb-layout.ts';
import { FirstPages, INTEGER_KEYS, type Meta, storeDamage, type Table, tableAt } from './lmdb-meta.ts';

const DEPTH_MAX = 32;
const FIRST_PAGE = 2;

/** Read at once where pages follow each other. */
const WINDOW_BYTES = 64 * 1024;
/** Pages looked at between two pauses: about two milliseconds. */
const SLICE_PAGES = 400;
const TWO_32 = 0x1_0000_0000;

/** What looking at a whole file found. */
export interface StoreCheck {
  /** Number of the transaction that was looked at: the one with which the file would be opened. */
  readonly transaction: number;
  /** Records in all buckets. */
  readonly records: number;
  /** Pages that hold something. */
  readonly pages: number;
  /** False for a file of an older version of this program, which kept no checksum: only its structure was checked. */
  readonly hasChecksum: boolean;
}

/** What is needed to go on where a file ends. */
export interface FileLayout {
  readonly pageBytes: number;
  readonly transaction: number;
  readonly lastPage: number;
  /** Where the descriptions of this transaction begin, each with the number of the last page. */
  readonly metaStarts: readonly number[];
}

/** The records of a leaf, in order. */
interface Leaf {
  readonly page: Buffer;
  readonly number: number;
  readonly count: number;
}

export class LmdbReader implements BackendReader, CursorPages {
  readonly path: string;
  readonly pageBytes: number;
  window: Buffer = Buffer.alloc(0);
  private readonly fd: number;
  private readonly isFrozen: boolean;
  /** For windows and for large values, of a reader that only scans. */
  private readonly memory: Buffer | null;
  private largeMemory: Buffer = Buffer.alloc(0);
  private readonly fileBytes: number;
  private readonly meta: Meta;
  private readonly tables: ReadonlyMap<string, Table>;
  private windowStart = 0;
  /** Of the page on which `find` found what it looked for. */
  private foundTransaction = 0;
  /** The page read before this one. */
  private lastRead = -2;
  /** While the whole file is checked: the pages seen, and of the present table. */
  private used: Uint8Array | null = null;
  private branches = 0;
  private leaves = 0;
  private overflow = 0;
  private seen = 0;

  /**
   * Throws a `CorruptionError` where the beginning of the file is damaged. `frozenFd` is a file that is in use meanwhile
   * (`Backend.freezeFile`), and stays open.
   */
  constructor(path: string, frozenFd = -1) {
    this.path = path;
    this.isFrozen = frozenFd >= 0;
    this.memory = this.isFrozen ? Buffer.allocUnsafeSlow(WINDOW_BYTES) : null;
    this.fd = this.isFrozen ? frozenFd : openSync(path, 'r');
    try {
      const first = new FirstPages(path, this.fd);
      this.pageBytes = first.pageBytes;
      this.meta = this.isFrozen ? first.lastOfLive() : first.last();
      // Behind the metas: a file that is in use grows.
      this.fileBytes = fstatSync(this.fd).size;
      this.tables = this.readTables();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    if (!this.isFrozen) closeSync(this.fd);
  }

  /** What the engine noted about the file under this key, or null. */
  note(key: string): Buffer | null {
    return this.find(SYSTEM_TABLE, Buffer.from(key));
  }

  get(bucket: Bucket, key: Buffer): Buffer | null {
    return this.find(bucket, key);
  }

  scan(bucket: Bucket, from: Buffer | null, to: Buffer | null, visit: Visit): void {
    const table = this.tables.get(bucket);
    if (table === undefined) return;
    for (const leaf of this.leavesOf(table, from)) {
      for (let index = 0; index < leaf.count; index++) {
        const key = this.key(leaf, index);
        if (from !== null && key.compare(from) < 0) continue;
        if (to !== null && key.compare(to) >= 0) return;
        if (!visit(key, this.value(leaf, index))) return;
      }
    }
  }

  /** One at a time, and nothing else is read before its end. */
  cursor(bucket: Bucket): RecordCursor {
    const table = this.tables.get(bucket);
    if (table === undefined || table.root === -1) return new LmdbCursor(this, -1, 0);
    this.checkDepth(table);
    return new LmdbCursor(this, table.root, table.depth);
  }

  private find(name: string, wanted: Buffer): Buffer | null {
    const table = this.tables.get(name);
    if (table === undefined) return null;
    for (const leaf of this.leavesOf(table, wanted)) {
      for (let index = 0; index < leaf.count; index++) {
        const order = this.key(leaf, index).compare(wanted);
        if (order === 0) {
          this.foundTransaction = u64(leaf.page, 8);
          return Buffer.from(this.value(leaf, index));
        }
        if (order > 0) return null;
      }
    }
    return null;
  }

  layout(): FileLayout {
    const { transaction, lastPage } = this.meta;
    const first = new FirstPages(this.path, this.fd);
    return { pageBytes: first.pageBytes, transaction, lastPage, metaStarts: first.startsOf(transaction) };
  }

  /** Where in the file the value of a record begins. The table '' describes all others, by their names and a zero byte. */
  placeOf(name: string, wanted: Buffer): number {
    const { pageBytes } = this;
    const table = name === '' ? this.meta.main : this.tables.get(name);
    if (table !== undefined) {
      for (const leaf of this.leavesOf(table, wanted)) {
        for (let index = 0; index < leaf.count; index++) {
          const { valueStart } = this.node(leaf.page, leaf.number, index);
          if (this.key(leaf, index).equals(wanted)) return leaf.number * pageBytes + valueStart;
        }
      }
    }
    throw this.damage(`the record "${wanted.toString('latin1')}" is missing`, 0);
  }

  /**
   * Looks at every page of every table, at the list of free pages, and at every record, and compares the records with
   * the checksum kept beside them. Throws a `CorruptionError` at the first thing that is wrong.
   */
  async check(pause: () => Promise<void>): Promise<StoreCheck> {
    // The number of the last page is only as good as the file; what lies behind its end is never read.
    const used = new Uint8Array(
      Math.max(2, Math.min(this.meta.lastPage + 1, Math.ceil(this.fileBytes / this.pageBytes))),
    );
    used[0] = 1;
    used[1] = 1;
    this.used = used;
    this.seen = 0;
    const digest = new StoreDigest();
    let sincePause = 0;
    try {
      for (const table of [this.meta.main, ...this.tables.values()]) {
        const bucket = (STORED_BUCKETS as readonly string[]).indexOf(table.name);
        let records = 0;
        this.beginCount();
        for (const leaf of this.leavesOf(table, null)) {
          records += leaf.count;
          for (let index = 0; index < leaf.count; index++) {
            const key = this.key(leaf, index);
            const value = this.value(leaf, index);
            if (bucket >= 0) digest.add(recordChecksum(bucket, key, key.length, value, 0, value.length));
          }
          if (++sincePause < SLICE_PAGES) continue;
          sincePause = 0;
          await pause();
        }
        this.compareCount(table, records);
      }
      const free = await this.freePages(pause);
      this.compareFree(used, free);
      return this.compareDigest(digest, this.seen);
    } finally {
      this.used = null;
    }
  }

  private beginCount(): void {
    this.branches = 0;
    this.leaves = 0;
    this.overflow = 0;
  }

  private compareCount(table: Table, records: number): void {
    const { name, branches, leaves, overflow } = table;
    const found = [this.branches, this.leaves, this.overflow, records].join(', ');
    const expected = [branches, leaves, overflow, table.records].join(', ');
    if (found === expected) return;
    throw this.damage(
      `the table "${name}" has ${found} branch pages, leaf pages, large pages and records, and should have ${expected}`,
      Math.max(table.root, 0),
    );
  }

  private compareDigest(found: StoreDigest, pages: number): StoreCheck {
    const { transaction } = this.meta;
    this.used = null;
    const bytes = this.note(DIGEST_KEY);
    // Written by every transaction; an older program leaves that of the last one of ours.
    if (bytes === null || this.foundTransaction !== transaction) {
      return { transaction, records: found.records, pages, hasChecksum: false };
    }
    const kept = StoreDigest.decode(bytes);
    if (kept?.equals(found) === true) return { transaction, records: found.records, pages, hasChecksum: true };
    const told = kept === null ? 'that cannot be read' : `${hex(kept.sum)} over ${kept.records} records`;
    throw storeDamage(
      this.path,
      `records were changed: the checksum of all is ${hex(found.sum)} over ${found.records} records, the file was written with one ${told}`,
      ', somewhere in its records',
    );
  }

  // ── free pages ────────────────────────────────────────────────────────────────────────────────────────────────────

  private async freePages(pause: () => Promise<void>): Promise<number[]> {
    const free: number[] = [];
    let records = 0;
    this.beginCount();
    for (const leaf of this.leavesOf(this.meta.free, null)) {
      records += leaf.count;
      for (let index = 0; index < leaf.count; index++) this.addFree(leaf, this.value(leaf, index), free);
      await pause();
    }
    this.compareCount(this.meta.free, records);
    return free;
  }

  /** A list of u64: how many follow, then page numbers; a negative one says how many pages the next one stands for. */
  private addFree(leaf: Leaf, list: Buffer, free: number[]): void {
    const count = list.length < 8 ? -1 : u64(list, 0);
    if (count < 0 || 8 * (count + 1) > list.length) throw this.damage('a list of free pages ends early', leaf.number);
    for (let at = 1, run = 1; at <= count; at++) {
      const entry = i64(list, 8 * at);
      if (entry === 0) continue;
      if (entry < 0) {
        run = -entry;
        continue;
      }
      if (entry < FIRST_PAGE || entry + run - 1 > this.meta.lastPage) {
        throw this.damage(`page ${entry} is listed as free, the last one is ${this.meta.lastPage}`, leaf.number);
      }
      if (free.length + run > this.meta.lastPage) throw this.damage('pages are listed as free twice', leaf.number);
      for (let page = entry; page < entry + run; page++) free.push(page);
      run = 1;
    }
  }

  private compareFree(used: Uint8Array, free: readonly number[]): void {
    for (const page of free) {
      if (used[page] === 1) throw this.damage(`page ${page} holds data and is listed as free`, page);
    }
  }

  // ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private readTables(): Map<string, Table> {
    const tables = new Map<string, Table>();
    for (const leaf of this.leavesOf(this.meta.main, null)) {
      for (let index = 0; index < leaf.count; index++) {
        const name = this.key(leaf, index).toString('latin1').replace(/\0$/, '');
        const node = this.node(leaf.page, leaf.number, index);
        if (node.flags !== NODE_TABLE || node.size !== TABLE_BYTES) {
          throw this.damage(`"${name}" is no table`, leaf.number);
        }
        tables.set(name, tableAt(leaf.page, node.valueStart, name));
      }
    }
    return tables;
  }

  // ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private leavesOf(table: Table, from: Buffer | null): Generator<Leaf> {
    this.checkDepth(table);
    return this.walk(table, { page: table.root, level: 1, low: null, high: null }, from);
  }

  private checkDepth({ name, depth, root }: Table): void {
    if (depth > DEPTH_MAX || (root !== -1 && depth < 1))
      throw this.damage(`the table "${name}" has ${depth} levels`, 0);
  }

  /** The leaves below a page, each key of which must lie in [low, high). */
  private *walk(table: Table, place: Place, from: Buffer | null): Generator<Leaf> {
    if (place.page === -1) return;
    const isLeaf = place.level === table.depth;
    const number = place.page;
    const read = this.page(number, isLeaf ? LEAF : BRANCH);
    const page = this.isFrozen && !isLeaf ? Buffer.from(read) : read;
    const count = this.countOf(page, number);
    if (isLeaf) {
      this.leaves++;
      this.checkOrder(table, page, count, place);
      yield { page, number, count };
      return;
    }
    this.branches++;
    if (place.level >= table.depth || count < 2) throw this.damage('a branch without branches', number);
    for (let index = 0; index < count; index++) {
      const low = index === 0 ? place.low : this.key({ page, number }, index);
      const high = index + 1 < count ? this.key({ page, number }, index + 1) : place.high;
      if (from !== null && high !== null && compareKeys(table, high, from) <= 0) continue;
      const child = this.branchPage(page, number, index);
      yield* this.walk(table, { page: child, level: place.level + 1, low, high }, from);
    }
  }

  private checkOrder(table: Table, page: Buffer, count: number, { page: number, low, high }: Place): void {
    // What members are served from is checked when it is opened, and now and then.
    if (this.isFrozen) return;
    const leaf = { page, number };
    let before: Buffer | null = null;
    for (let index = 0; index < count; index++) {
      const key = this.key(leaf, index);
      const isInOrder =
        before === null ? low === null || compareKeys(table, key, low) >= 0 : compareKeys(table, key, before) > 0;
      if (!isInOrder) throw this.damage(`record ${index} of the page is out of order`, number);
      before = key;
    }
    if (before !== null && high !== null && compareKeys(table, before, high) >= 0) {
      throw this.damage('the last record of the page is out of order', number);
    }
  }

  private page(number: number, kind: number): Buffer {
    const start = this.load(number, kind);
    return this.window.subarray(start, start + this.pageBytes);
  }

  load(number: number, kind: number): number {
    const { pageBytes } = this;
    const start = this.read(number, pageBytes);
    const { window } = this;
    if (u64(window, start) !== number) throw this.damage(`the page says that it is page ${u64(window, start)}`, number);
    if (u64(window, start + 8) > this.meta.transaction)
      throw this.damage('the page is of a transaction that is yet to come', number);
    const flags = window.readUInt16LE(start + 18);
    if (flags !== kind) throw this.damage(`a page of kind ${flags} where one of kind ${kind} should be`, number);
    this.use(number);
    return start;
  }

  private use(number: number): void {
    if (this.used === null) return;
    if (this.used[number] === 1) throw this.damage('the page is used twice', number);
    this.used[number] = 1;
    this.seen++;
  }

  /** Where in `window` these pages begin. */
  private read(number: number, bytes: number): number {
    const { pageBytes } = this;
    const { lastPage } = this.meta;
    const position = number * pageBytes;
    if (number < FIRST_PAGE || number > lastPage)
      throw this.damage(`page ${number} is asked for, the last one is ${lastPage}`, number);
    if (position + bytes > this.fileBytes)
      throw this.damage(`the file ends at byte ${this.fileBytes}, before the end of the page`, number);
    const isNext = number === this.lastRead + 1;
    this.lastRead = number + bytes / pageBytes - 1;
    if (position < this.windowStart || position + bytes > this.windowStart + this.window.length) {
      const wanted = Math.min(Math.max(bytes, isNext ? WINDOW_BYTES : bytes), this.fileBytes - position);
      // Not used again, unless each page is done with before the next one is read: others are views of it.
      const { memory } = this;
      this.window = memory === null ? Buffer.allocUnsafeSlow(wanted) : memory.subarray(0, wanted);
      this.windowStart = position;
      const got = readSync(this.fd, this.window, 0, wanted, position);
      if (got < bytes) throw this.damage('the file became shorter while it was read', number);
    }
    return position - this.windowStart;
  }

  /** Beside the window, in which the page of the record lies. */
  private readLarge(number: number, bytes: number): Buffer {
    const { pageBytes } = this;
    const { lastPage } = this.meta;
    if (number < FIRST_PAGE || number + bytes / pageBytes - 1 > lastPage)
      throw this.damage(`page ${number} is asked for, the last one is ${lastPage}`, number);
    if (this.largeMemory.length < bytes) this.largeMemory = Buffer.allocUnsafeSlow(bytes);
    const large = this.largeMemory.subarray(0, bytes);
    if (readSync(this.fd, large, 0, bytes, number * pageBytes) < bytes)
      throw this.damage('the file became shorter while it was read', number);
    this.lastRead = number + bytes / pageBytes - 1;
    return large;
  }

  private countOf(page: Buffer, number: number): number {
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    if (lower % 2 !== 0 || lower > upper || upper > this.pageBytes - HEAD_BYTES) {
      throw this.damage(`bounds of ${lower} and ${upper} bytes in a page`, number);
    }
    return lower / 2;
  }

  /** Where a node of a page lies, with all of it inside of the page. */
  private node(page: Buffer, number: number, index: number): Node {
    const offset = page.readUInt16LE(HEAD_BYTES + 2 * index);
    const start = HEAD_BYTES + offset;
    if (offset < page.readUInt16LE(22) || start + NODE_HEAD_BYTES > page.length) {
      throw this.damage(`record ${index} of the page begins at byte ${start} of it`, number);
    }
    const flags = page.readUInt16LE(start + 4);
    const keyEnd = start + NODE_HEAD_BYTES + page.readUInt16LE(start + 6);
    const size = page.readUInt16LE(start) + 0x1_0000 * page.readUInt16LE(start + 2);
    const inPage = page.readUInt16LE(18) === BRANCH ? 0 : flags === NODE_BIG ? PLACE_BYTES : size;
    if (keyEnd + inPage > page.length) throw this.damage(`record ${index} of the page reaches beyond it`, number);
    return { flags, keyStart: start + NODE_HEAD_BYTES, valueStart: keyEnd, size };
  }

  private key({ page, number }: Pick<Leaf, 'page' | 'number'>, index: number): Buffer {
    const { keyStart, valueStart } = this.node(page, number, index);
    return page.subarray(keyStart, valueStart);
  }

  private branchPage(page: Buffer, number: number, index: number): number {
    const { flags, size } = this.node(page, number, index);
    return size + flags * TWO_32;
  }

  private value({ page, number }: Leaf, index: number): Buffer {
    const { flags, valueStart, size } = this.node(page, number, index);
    if (flags === 0 || flags === NODE_TABLE) return page.subarray(valueStart, valueStart + size);
    if (flags !== NODE_BIG) throw this.damage(`record ${index} of the page is of kind ${flags}`, number);
    return this.bigValue({ page, number }, index, valueStart, size, this.isFrozen);
  }

  large(page: Buffer, at: number, size: number, number: number, index: number): Buffer {
    return this.bigValue({ page, number }, index, at, size, true);
  }

  /** What passes is in the way of the next one. */
  private bigValue(
    { page, number }: Pick<Leaf, 'page' | 'number'>,
    index: number,
    valueStart: number,
    size: number,
    passes: boolean,
  ): Buffer {
    const first = u64(page, valueStart);
    const pages = u64(page, valueStart + 16);
    const { pageBytes } = this;
    if (pages !== Math.floor((HEAD_BYTES - 1 + size) / pageBytes) + 1) {
      throw this.damage(`record ${index} of the page, of ${size} bytes, is said to fill ${pages} pages`, number);
    }
    const length = pages * pageBytes;
    const start = passes ? 0 : this.read(first, length);
    const bytes = passes ? this.readLarge(first, length) : this.window.subarray(start, start + length);
    const isSound = u64(bytes, 0) === first && bytes.readUInt16LE(18) === OVERFLOW && bytes.readUInt32LE(20) === pages;
    if (!isSound) throw this.damage('the page is not the first one of a large value', first);
    if (this.used !== null) {
      for (let at = 0; at < pages; at++) this.use(first + at);
      this.overflow += pages;
    }
    return bytes.subarray(HEAD_BYTES, HEAD_BYTES + size);
  }

  damage(what: string, page: number): CorruptionError {
    return storeDamage(this.path, what, `, page ${page} at byte ${page * this.pageBytes}`);
  }
}

interface Place {
  readonly page: number;
  readonly level: number;
  readonly low: Buffer | null;
  readonly high: Buffer | null;
}

interface Node {
  readonly flags: number;
  readonly keyStart: number;
  readonly valueStart: number;
  /** Of the value; of a branch, the lower half of its page's number. */
  readonly size: number;
}

function compareKeys(table: Table, a: Buffer, b: Buffer): number {
  if ((table.flags & INTEGER_KEYS) === 0) return a.compare(b);
  return a.length === 8 && b.length === 8 ? u64(a, 0) - u64(b, 0) : a.length - b.length;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
