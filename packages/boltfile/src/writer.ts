import { assert, type RecordPlace } from '@etsd/base';
import { type Disk, type DiskFile, parentPath } from '@etsd/runtime';
import { BranchLevel } from './branch-level.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { LeafBuilder } from './leaf-builder.ts';
import { PAGE_SIZE } from './limits.ts';
import {
  BRANCH,
  BUCKET_FLAG,
  BUCKET_HEADER,
  ELEMENT,
  FREELIST,
  Meta,
  PAGE_HEADER,
  writeMeta,
  writePageHeader,
  writeU64,
} from './page.ts';

/** The first page behind the two metas holds the list of free pages, which is empty: opening the file need not search. */
const FREELIST_PAGE = 2;
/** Both metas are valid and say the same, as in the copies that bbolt makes of a file. */
const TRANSACTION = 2;

/** Where a file is written: a disk, or whatever takes its bytes in order. */
export type BoltPlace = Pick<Disk, 'open' | 'remove' | 'syncDirectory'>;

export interface BoltWriterOptions {
  /** Bytes; a power of two. */
  readonly pageSize?: number;
  /** Whether the file is encrypted where the disk encrypts. */
  readonly isSealed?: boolean;
  /** What is written has the right size and the right first two pages, and nothing else of records. */
  readonly onlyMeasures?: boolean;
}

/**
 * Writes a bbolt file in one go: buckets in the order of their names, keys in their order. Pages are written from front
 * to back, each once, and the two metas last, so that the size is known before anything is sent; memory is a few chunks
 * and one branch for each level of the tree.
 *
 * ```
 *   add ─▶ leaf ─full─▶ chunk ─┐         meta meta free leaf leaf leaf leaf branch leaf … root
 *           └─▶ branch ─full─▶ ┴─drain─▶ └─ last ─┘└──────── in this order ────────────────────┘
 * ```
 * `add` never waits. Its caller looks at `isBacklogged` now and then and then awaits `drain`.
 */
export class BoltWriter {
  readonly path: string;
  private readonly disk: BoltPlace;
  private readonly file: DiskFile;
  private readonly pageSize: number;
  private readonly chunks: ChunkQueue;
  private readonly leaf: LeafBuilder;
  private readonly levels: BranchLevel[] = [];
  private readonly buckets: LeafBuilder;
  private nextPage = FREELIST_PAGE;
  /** Of the bucket under way; null between buckets. */
  private bucket: Buffer | null = null;
  private isFinished = false;

  private constructor(disk: BoltPlace, file: DiskFile, pageSize: number, onlyMeasures: boolean) {
    this.disk = disk;
    this.file = file;
    this.path = file.path;
    this.pageSize = pageSize;
    this.chunks = new ChunkQueue(file, FREELIST_PAGE * pageSize, pageSize);
    this.leaf = new LeafBuilder(pageSize, onlyMeasures);
    this.buckets = new LeafBuilder(pageSize);
    const offset = this.chunks.reserve(pageSize);
    writePageHeader(this.chunks.buffer, offset, this.takePages(1), FREELIST, 0, 0);
  }

  /** Makes the file, which must not exist. */
  static async create(disk: BoltPlace, path: string, options: BoltWriterOptions = {}): Promise<BoltWriter> {
    return new BoltWriter(
      disk,
      await disk.open(path, 'create', { sealed: options.isSealed ?? false }),
      options.pageSize ?? PAGE_SIZE,
      options.onlyMeasures ?? false,
    );
  }

  /** Begins a bucket, behind all those before it. */
  beginBucket(name: string): void {
    assert(this.bucket === null && !this.isFinished, 'boltfile: one bucket at a time');
    this.bucket = Buffer.from(name, 'latin1');
  }

  /** Adds a key behind all those before it. Both are copied. */
  add(key: Buffer, value: Buffer): void {
    assert(this.bucket !== null, 'boltfile: keys lie in a bucket');
    if (!this.leaf.fits(key.length + value.length)) this.closeLeaf(this.leaf);
    this.leaf.add(key, value, 0);
  }

  /** The same without a view of either. */
  addPlace(record: RecordPlace): void {
    assert(this.bucket !== null, 'boltfile: keys lie in a bucket');
    const bytes = record.keyEnd - record.keyStart + record.valueEnd - record.valueStart;
    if (!this.leaf.fits(bytes)) this.closeLeaf(this.leaf);
    this.leaf.addPlace(record);
  }

  /** What waits to be written is enough for a pause. */
  get isBacklogged(): boolean {
    return this.chunks.full > 0;
  }

  /** Writes what is finished. Rejects where the disk refuses it; the file is of no use then. */
  drain(): Promise<void> {
    return this.chunks.drain();
  }

  endBucket(): void {
    const name = this.bucket;
    assert(name !== null, 'boltfile: no bucket is under way');
    const value = this.hasPages || this.leaf.size > this.pageSize / 4 ? this.bucketOnPages() : this.bucketInline();
    if (!this.buckets.fits(name.length + value.length))
      throw new RangeError('boltfile: more buckets than fit on a page');
    this.buckets.add(name, value, BUCKET_FLAG);
    this.leaf.clear();
    this.levels.length = 0;
    this.bucket = null;
  }

  private get hasPages(): boolean {
    return this.levels.length > 0;
  }

  private bucketInline(): Buffer {
    const value = Buffer.alloc(BUCKET_HEADER + this.leaf.size);
    this.leaf.writeTo(value, BUCKET_HEADER, 0, 0);
    return value;
  }

  private bucketOnPages(): Buffer {
    this.closeLeaf(this.leaf);
    const value = Buffer.alloc(BUCKET_HEADER);
    writeU64(value, 0, this.closeLevels());
    return value;
  }

  /** Writes the remaining branches, from the lowest to the root, and returns the root's page. */
  private closeLevels(): number {
    for (let height = 0; ; height++) {
      const level = this.levels[height] as BranchLevel;
      const single = level.singleChild();
      if (single >= 0) return single;
      while (level.length > 0) this.writeBranch(height, level.takeLast());
    }
  }

  private closeLeaf(leaf: LeafBuilder): void {
    if (leaf.count === 0) return;
    const pages = Math.ceil(leaf.size / this.pageSize);
    const id = this.takePages(pages);
    const offset = this.chunks.reserve(pages * this.pageSize);
    leaf.writeTo(this.chunks.buffer, offset, id, pages - 1);
    const first = leaf.firstKey();
    leaf.clear();
    this.addChild(0, first, id);
  }

  private addChild(height: number, key: Buffer, page: number): void {
    let level = this.levels[height];
    if (level === undefined) {
      level = new BranchLevel(this.pageSize);
      this.levels.push(level);
    }
    level.add(key, page);
    const full = level.takeFull();
    if (full > 0) this.writeBranch(height, full);
  }

  /** Writes the first `count` children of a level as a page, which becomes a child of the level above. */
  private writeBranch(height: number, count: number): void {
    const level = this.levels[height] as BranchLevel;
    const pages = Math.ceil(level.size(count) / this.pageSize);
    const id = this.takePages(pages);
    const offset = this.chunks.reserve(pages * this.pageSize);
    const target = this.chunks.buffer;
    writePageHeader(target, offset, id, BRANCH, count, pages - 1);
    let data = offset + PAGE_HEADER + count * ELEMENT;
    for (let index = 0; index < count; index++) {
      const key = level.key(index);
      const element = offset + PAGE_HEADER + index * ELEMENT;
      target.writeUInt32LE(data - element, element);
      target.writeUInt32LE(key.length, element + 4);
      writeU64(target, element + 8, level.page(index));
      data += key.copy(target, data);
    }
    const first = level.key(0);
    level.drop(count);
    this.addChild(height + 1, first, id);
  }

  private takePages(count: number): number {
    const id = this.nextPage;
    this.nextPage += count;
    return id;
  }

  /**
   * Writes the root and the metas and closes the file. Its size, in bytes. `isDurable`: the file and its name would
   * survive a crash of the machine.
   */
  async finish(isDurable: boolean): Promise<number> {
    assert(this.bucket === null && !this.isFinished, 'boltfile: finished once, between buckets');
    this.isFinished = true;
    const pages = Math.ceil(this.buckets.size / this.pageSize);
    const root = this.takePages(pages);
    const offset = this.chunks.reserve(pages * this.pageSize);
    this.buckets.writeTo(this.chunks.buffer, offset, root, pages - 1);
    this.chunks.closeChunk();
    try {
      await this.chunks.drain();
      await this.writeMetas(root);
      if (isDurable) await synced(this.file);
    } finally {
      await this.file.close();
    }
    if (isDurable) await this.disk.syncDirectory(parentPath(this.path));
    return this.nextPage * this.pageSize;
  }

  private async writeMetas(root: number): Promise<void> {
    const { pageSize } = this;
    const metas = Buffer.alloc(2 * pageSize);
    const meta = new Meta();
    meta.pageSize = pageSize;
    meta.rootPage = root;
    meta.freelistPage = FREELIST_PAGE;
    meta.pageCount = this.nextPage;
    for (const page of [0, 1]) {
      meta.transaction = TRANSACTION - page;
      writeMeta(metas, page * pageSize, page, meta);
    }
    await written(this.file, metas, 0);
  }

  /** Gives the file up, and removes it. */
  async abandon(): Promise<void> {
    if (!this.isFinished) {
      this.isFinished = true;
      await this.file.close();
    }
    await this.disk.remove(this.path);
  }
}

function written(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}

function synced(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))));
}
