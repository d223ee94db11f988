/**
 * Fills the tables of a new file of LMDB (data version 2, see `lmdb-reader.ts`) without LMDB: records that come in order
 * become pages that are written one behind the other, each once, where the engine takes every record through its tree, its
 * memory and a thread of its own. The file is made and closed by the engine before, and nobody may open it until this is
 * done: its first pages are changed in place.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { assert } from '@etsd/base';
import { STORED_BUCKETS } from './buckets.ts';
import { recordChecksum, StoreDigest } from './lmdb-digest.ts';
import {
  BRANCH,
  DIGEST_KEY,
  HEAD_BYTES,
  LEAF,
  META_LAST_PAGE,
  NODE_BIG,
  NODE_HEAD_BYTES,
  OVERFLOW,
  PLACE_BYTES,
  SYSTEM_TABLE,
  TABLE_BYTES,
} from './lmdb-layout.ts';
import { PieceWriter } from './lmdb-pieces.ts';
import { LmdbReader } from './lmdb-reader.ts';

const TWO_32 = 0x1_0000_0000;
const NO_KEY = Buffer.alloc(0);

/** A page that is being filled: its offsets grow from the front, its nodes from the end. */
class OpenPage {
  readonly bytes: Buffer;
  readonly kind: number;
  count = 0;
  private upper: number;

  constructor(pageBytes: number, kind: number) {
    this.bytes = Buffer.alloc(pageBytes);
    this.kind = kind;
    this.upper = pageBytes;
  }

  holds(nodeBytes: number): boolean {
    return HEAD_BYTES + 2 * (this.count + 1) + even(nodeBytes) <= this.upper;
  }

  /** Makes room for a node with this key and returns where the rest of it belongs. */
  add(key: Buffer, low: number, flags: number, rest: number): number {
    const { bytes } = this;
    const start = this.upper - even(NODE_HEAD_BYTES + key.length + rest);
    this.upper = start;
    bytes.writeUInt16LE(start - HEAD_BYTES, HEAD_BYTES + 2 * this.count);
    this.count++;
    bytes.writeUInt32LE(low, start);
    bytes.writeUInt16LE(flags, start + 4);
    bytes.writeUInt16LE(key.length, start + 6);
    bytes.set(key, start + NODE_HEAD_BYTES);
    return start + NODE_HEAD_BYTES + key.length;
  }

  removeLast(): void {
    this.count--;
    const before = HEAD_BYTES + 2 * (this.count - 1);
    this.upper = this.count === 0 ? this.bytes.length : HEAD_BYTES + this.bytes.readUInt16LE(before);
  }

  /** The page as it is written; it can be filled anew then. */
  finish(target: Buffer, number: number, transaction: number): void {
    const { bytes } = this;
    writeU64(bytes, number, 0);
    writeU64(bytes, transaction, 8);
    bytes.writeUInt16LE(0, 16);
    bytes.writeUInt16LE(this.kind, 18);
    bytes.writeUInt16LE(2 * this.count, 20);
    bytes.writeUInt16LE(this.upper - HEAD_BYTES, 22);
    target.set(bytes);
    // What an earlier page left between offsets and nodes says nothing, and packs badly.
    target.fill(0, HEAD_BYTES + 2 * this.count, this.upper);
    this.count = 0;
    this.upper = bytes.length;
  }
}

/** The branches of one height of a table, of which only the last is still being filled. */
interface Level {
  readonly page: OpenPage;
  /** The first key below the page; what is above it is told of this one. */
  first: Buffer;
  /** Of the node that was added last, which moves to the next page where this one is full. */
  lastKey: Buffer;
  lastChild: number;
}

/** The pages of one table. */
class TableTree {
  readonly leaf: OpenPage;
  readonly levels: Level[] = [];
  firstKey: Buffer = NO_KEY;
  branches = 0;
  leaves = 0;
  overflow = 0;
  records = 0;
  root = -1;

  constructor(pageBytes: number) {
    this.leaf = new OpenPage(pageBytes, LEAF);
  }
}

export class LmdbBuilder {
  readonly path: string;
  private readonly fd: number;
  private readonly pageBytes: number;
  private readonly transaction: number;
  /** Values from which on the record does not fit into half a page lie in pages of their own. */
  private readonly nodeBytesMax: number;
  private readonly digest = new StoreDigest();
  /** Where in the file the tables are described, by bucket; -1 once it was filled. */
  private readonly tableStarts: number[] = [];
  private readonly digestStart: number;
  private readonly metaStarts: readonly number[];
  private readonly pages: PieceWriter;
  private bucket = -1;
  private tree: TableTree | null = null;

  /** `path` is a store without records, closed. */
  constructor(path: string) {
    this.path = path;
    const reader = new LmdbReader(path);
    let pageCount = 0;
    try {
      const { pageBytes, transaction, lastPage, metaStarts } = reader.layout();
      this.pageBytes = pageBytes;
      this.transaction = transaction;
      pageCount = lastPage + 1;
      this.metaStarts = metaStarts;
      for (const name of STORED_BUCKETS) this.tableStarts.push(reader.placeOf('', Buffer.from(`${name}\0`)));
      this.digestStart = reader.placeOf(SYSTEM_TABLE, Buffer.from(DIGEST_KEY));
    } finally {
      reader.close();
    }
    this.nodeBytesMax = ((this.pageBytes - HEAD_BYTES) >> 2) * 2 - 2;
    this.pages = new PieceWriter(path, pageCount * this.pageBytes);
    this.fd = openSync(path, 'r+');
  }

  /** Whether it is time to `drain`. */
  get isFull(): boolean {
    return this.pages.isFull;
  }

  /** Adds a record behind all others of its bucket; both are copied. A bucket that was left is not come back to. */
  add(bucket: number, key: Buffer, value: Buffer): void {
    if (bucket !== this.bucket) {
      this.endTable();
      assert(this.tableStarts[bucket] !== -1, 'the records of a bucket come one after the other');
      this.bucket = bucket;
      this.tree = new TableTree(this.pageBytes);
    }
    const tree = this.tree as TableTree;
    const inPage = NODE_HEAD_BYTES + key.length + value.length;
    const isBig = inPage > this.nodeBytesMax;
    if (!tree.leaf.holds(isBig ? NODE_HEAD_BYTES + key.length + PLACE_BYTES : inPage)) this.endLeaf(tree);
    if (tree.leaf.count === 0) tree.firstKey = Buffer.from(key);
    const rest = isBig ? PLACE_BYTES : value.length;
    const at = tree.leaf.add(key, value.length, isBig ? NODE_BIG : 0, rest);
    if (isBig) this.addLarge(tree, value, tree.leaf.bytes, at);
    else tree.leaf.bytes.set(value, at);
    tree.records++;
    this.digest.add(recordChecksum(bucket, key, key.length, value, 0, value.length));
  }

  /** Resolves when there is room for more. */
  drain(): Promise<void> {
    return this.pages.drain();
  }

  /** Writes what is left and where it is, and resolves when all is on disk. Closes the file in any case. */
  async finish(): Promise<void> {
    try {
      try {
        this.endTable();
      } finally {
        await this.pages.finish();
      }
      writeSync(this.fd, this.digest.encode(), 0, undefined, this.digestStart);
      const lastPage = Buffer.alloc(8);
      writeU64(lastPage, this.nextPage() - 1, 0);
      for (const start of this.metaStarts) writeSync(this.fd, lastPage, 0, 8, start + META_LAST_PAGE);
      fsyncSync(this.fd);
    } finally {
      closeSync(this.fd);
    }
  }

  // ── trees ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private addLarge(tree: TableTree, value: Buffer, leaf: Buffer, at: number): void {
    const pages = Math.floor((HEAD_BYTES - 1 + value.length) / this.pageBytes) + 1;
    const first = this.nextPage();
    tree.overflow += pages;
    const head = Buffer.alloc(HEAD_BYTES);
    writeU64(head, first, 0);
    writeU64(head, this.transaction, 8);
    head.writeUInt16LE(OVERFLOW, 18);
    head.writeUInt32LE(pages, 20);
    this.pages.append(head);
    this.pages.append(value);
    this.pages.append(Buffer.alloc(pages * this.pageBytes - HEAD_BYTES - value.length));
    writeU64(leaf, first, at);
    writeU64(leaf, this.transaction, at + 8);
    writeU64(leaf, pages, at + 16);
  }

  private endLeaf(tree: TableTree): void {
    const number = this.writePage(tree.leaf);
    tree.leaves++;
    tree.root = number;
    this.addChild(tree, 0, tree.firstKey, number);
  }

  /** Tells the branches above of a page. */
  private addChild(tree: TableTree, height: number, key: Buffer, child: number): void {
    let level = tree.levels[height];
    if (level === undefined) {
      level = { page: new OpenPage(this.pageBytes, BRANCH), first: key, lastKey: key, lastChild: child };
      tree.levels[height] = level;
    }
    const { page } = level;
    if (page.count > 0 && !page.holds(NODE_HEAD_BYTES + key.length)) {
      // No branch may have a single page below it, and this child may be the last one.
      const { first, lastKey, lastChild } = level;
      page.removeLast();
      const number = this.writePage(page);
      tree.branches++;
      this.addChild(tree, height + 1, first, number);
      level.first = lastKey;
      addBranch(page, NO_KEY, lastChild);
    }
    if (page.count === 0) level.first = key;
    // Everything before the second key is below the first page.
    addBranch(page, page.count === 0 ? NO_KEY : key, child);
    level.lastKey = key;
    level.lastChild = child;
  }

  private endTable(): void {
    const { tree, bucket } = this;
    if (tree === null) return;
    this.tree = null;
    if (tree.leaf.count > 0) this.endLeaf(tree);
    let depth = 1;
    for (let height = 0; height < tree.levels.length; height++) {
      const level = tree.levels[height] as Level;
      // The page below is the only one: it is the root.
      if (level.page.count === 1 && height === tree.levels.length - 1) break;
      const number = this.writePage(level.page);
      tree.branches++;
      tree.root = number;
      depth++;
      this.addChild(tree, height + 1, level.first, number);
    }
    const table = Buffer.alloc(TABLE_BYTES - 6);
    table.writeUInt16LE(depth, 0);
    writeU64(table, tree.branches, 2);
    writeU64(table, tree.leaves, 10);
    writeU64(table, tree.overflow, 18);
    writeU64(table, tree.records, 26);
    writeU64(table, tree.root, 34);
    writeSync(this.fd, table, 0, table.length, (this.tableStarts[bucket] as number) + 6);
    this.tableStarts[bucket] = -1;
  }

  private nextPage(): number {
    return this.pages.position / this.pageBytes;
  }

  private writePage(page: OpenPage): number {
    const number = this.nextPage();
    page.finish(this.pages.page(this.pageBytes), number, this.transaction);
    return number;
  }
}

function addBranch(page: OpenPage, key: Buffer, child: number): void {
  page.add(key, child % TWO_32, Math.floor(child / TWO_32), 0);
}

/** Nodes begin at even bytes. */
function even(bytes: number): number {
  return (bytes + 1) & ~1;
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % TWO_32, at);
  bytes.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}
