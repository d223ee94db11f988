import { CorruptionError } from '@etsd/base';
import type { Disk, DiskFile } from '@etsd/runtime';
import { DEPTH_MAX } from './limits.ts';
import {
  ADVICE_DAMAGED,
  BRANCH,
  BUCKET_HEADER,
  compared,
  type Meta,
  order,
  Page,
  readMeta,
  readU64,
  type Span,
} from './page.ts';
import { PageSource, readAt } from './page-source.ts';

/** The smallest and the largest distance between the two metas. */
const META_SPAN = 2 * 65_536;

/** Marks pages as seen: a tree that reaches a page twice is no tree, and may be endless. */
export class PageSet {
  /** One for each page, the lowest bit of a byte first. */
  readonly bits: Uint8Array;
  count = 0;

  constructor(pageCount: number) {
    this.bits = new Uint8Array((pageCount >> 3) + 1);
  }

  has(page: number): boolean {
    return ((this.bits[page >> 3] as number) & (1 << (page & 7))) !== 0;
  }

  /** False where it was there before. */
  add(page: number): boolean {
    if (this.has(page)) return false;
    this.bits[page >> 3] = (this.bits[page >> 3] as number) | (1 << (page & 7));
    this.count++;
    return true;
  }
}

/** A bucket as its parent describes it. */
export class BoltBucket {
  readonly name: Buffer;
  /** 0 where the bucket lies inside its parent's page. */
  readonly rootPage: number;
  readonly sequence: number;
  /** How many buckets this one lies in. */
  readonly depth: number;
  /** The one leaf of a bucket without pages of its own. */
  readonly inline: Page | null;

  constructor(name: Buffer, rootPage: number, sequence: number, depth: number, inline: Page | null) {
    this.name = name;
    this.rootPage = rootPage;
    this.sequence = sequence;
    this.depth = depth;
    this.inline = inline;
  }
}

/** A branch on the way to the present leaf. */
class Step {
  readonly page: Page;
  next = 0;
  /** Every key below lies before it; null where nothing bounds it. */
  readonly to: Span | null;

  constructor(page: Page, to: Span | null) {
    this.page = page;
    this.to = to;
  }
}

/** At first, of the memory for a key; records of etcd have 17 or 18. */
const KEY_BYTES = 64;

/**
 * Goes over the leaves of a bucket in the order of their keys. Memory is one window of the file and the branches above
 * the present leaf. Everything is checked on the way: the order of keys, within and between pages, and that no page is
 * reached twice.
 */
export class LeafCursor {
  private readonly source: PageSource;
  private readonly bucket: BoltBucket;
  private readonly seen: PageSet;
  private readonly steps: Step[] = [];
  private hasStarted = false;
  /** The page that comes next, and between which keys it lies; -1 where the steps say so. */
  private wanted = -1;
  private from: Span | null = null;
  private to: Span | null = null;
  /** Its bytes, where it had to be read. */
  private arrived: Buffer | null = null;
  private lastKey: Buffer = Buffer.allocUnsafeSlow(KEY_BYTES);
  private lastKeyBytes = -1;

  constructor(source: PageSource, bucket: BoltBucket, seen: PageSet) {
    this.source = source;
    this.bucket = bucket;
    this.seen = seen;
  }

  /** The next leaf that is not empty, or null behind the last. */
  async next(): Promise<Page | null> {
    for (;;) {
      const leaf = this.nextRead();
      if (leaf !== undefined) return leaf;
      this.arrived = await this.source.read(this.wanted);
    }
  }

  /** The same, of what was read already: undefined where only `next` can go on. A promise costs more than looking at a page. */
  nextRead(): Page | null | undefined {
    const { bucket, source } = this;
    if (!this.hasStarted) {
      this.hasStarted = true;
      if (bucket.inline !== null) return bucket.inline.count > 0 ? bucket.inline : null;
      this.wanted = bucket.rootPage;
    }
    for (;;) {
      if (this.wanted < 0 && !this.want()) return null;
      const bytes = this.arrived ?? source.readNow(this.wanted);
      if (bytes === null) return undefined;
      this.arrived = null;
      const page = this.take(this.wanted, bytes);
      this.wanted = -1;
      if (page.isLeaf && page.count > 0) return page;
    }
  }

  /** Finds the page behind the last one; false where there is none. */
  private want(): boolean {
    const { steps } = this;
    for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
      const { page, next } = step;
      if (next < page.count) {
        step.next++;
        this.wanted = page.child(next);
        this.from = page.span(next);
        this.to = next + 1 < page.count ? page.span(next + 1) : step.to;
        return true;
      }
      steps.pop();
    }
    return false;
  }

  /** Looks at a page; a branch is put on top of the steps. */
  private take(id: number, bytes: Buffer): Page {
    const { source, steps } = this;
    for (let part = id; part < id + bytes.length / source.pageSize; part++) {
      if (!this.seen.add(part)) throw source.damaged(part, 'it is reached twice');
    }
    const isBranch = bytes.readUInt16LE(8) === BRANCH;
    const page = new Page(id, isBranch ? source.kept(bytes) : bytes, (what) => source.damaged(id, what));
    if (page.count > 0) this.checkBounds(page);
    if (page.isLeaf) return page;
    if (page.count === 0) throw source.damaged(id, 'a branch without children');
    if (steps.length === DEPTH_MAX) throw source.damaged(id, 'the tree is too deep');
    steps.push(new Step(page, this.to));
    return page;
  }

  private checkBounds(page: Page): void {
    const { from, to } = this;
    const first = page.span(0);
    const last = page.span(page.count - 1);
    // The first key of a branch may have become smaller than what its page still says of itself, never larger.
    if (from !== null && page.isLeaf && compared(first, from) < 0) this.outOfOrder(page);
    if (to !== null && compared(last, to) >= 0) this.outOfOrder(page);
    if (!page.isLeaf) return;
    const { lastKey, lastKeyBytes } = this;
    const isBehind = lastKeyBytes < 0 || order(lastKey, 0, lastKeyBytes, first.bytes, first.start, first.end) < 0;
    if (!isBehind) this.outOfOrder(page);
    this.keep(last);
  }

  private keep({ bytes, start, end }: Span): void {
    const length = end - start;
    if (length > this.lastKey.length) this.lastKey = Buffer.allocUnsafeSlow(2 * length);
    bytes.copy(this.lastKey, 0, start, end);
    this.lastKeyBytes = length;
  }

  private outOfOrder(page: Page): never {
    throw this.source.damaged(page.id, 'its keys are out of order with those of other pages');
  }
}

export interface BoltOptions {
  /** Pages are valid only until the next one is read, and reading makes no garbage. For walks that keep nothing. */
  readonly reusesMemory?: boolean;
}

/**
 * An open bbolt file, read only. It must not be written meanwhile. A file cut short, or with bytes that cannot be, gives
 * a `CorruptionError` that names the page; nothing in it makes the reader crash, run for ever or use memory beyond the
 * size of a page.
 */
export class BoltFile {
  readonly path: string;
  readonly meta: Meta;
  readonly pages: PageSource;
  readonly root: BoltBucket;
  private readonly file: DiskFile;

  private constructor(file: DiskFile, meta: Meta, reusesMemory: boolean) {
    this.path = file.path;
    this.file = file;
    this.meta = meta;
    this.pages = new PageSource(file, meta.pageSize, meta.pageCount, reusesMemory);
    this.root = new BoltBucket(Buffer.alloc(0), meta.rootPage, meta.rootSequence, 0, null);
  }

  /** Opens the file in the state of its last whole transaction. Bytes behind its pages are not looked at. */
  static async open(disk: Disk, path: string, { reusesMemory = false }: BoltOptions = {}): Promise<BoltFile> {
    const file = await disk.open(path, 'read');
    try {
      return new BoltFile(file, await newestMeta(file), reusesMemory);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Bytes of the pages. */
  get size(): number {
    return this.meta.pageCount * this.meta.pageSize;
  }

  /** The buckets inside one, or those of the file, in the order of their names. */
  async buckets(parent: BoltBucket = this.root, seen?: PageSet): Promise<BoltBucket[]> {
    const found: BoltBucket[] = [];
    const cursor = this.leaves(parent, seen);
    for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
      for (let index = 0; index < leaf.count; index++) {
        if (leaf.isBucket(index)) found.push(this.bucketIn(leaf, index, parent.depth + 1));
      }
    }
    return found;
  }

  /** A bucket of the file by its name. */
  async bucket(name: string): Promise<BoltBucket | null> {
    const wanted = Buffer.from(name, 'latin1');
    return (await this.buckets()).find((bucket) => bucket.name.equals(wanted)) ?? null;
  }

  /** The leaves of a bucket. `seen` is shared by cursors over different buckets that must have no page in common. */
  leaves(bucket: BoltBucket, seen = new PageSet(this.meta.pageCount)): LeafCursor {
    return new LeafCursor(this.pages, bucket, seen);
  }

  /** The bucket that an element of a leaf is. */
  bucketIn(leaf: Page, index: number, depth: number): BoltBucket {
    const fail = (what: string) => this.pages.damaged(leaf.id, what);
    const value = leaf.value(index);
    if (value.length < BUCKET_HEADER) throw fail(`element ${index} is too short for a bucket`);
    if (depth > DEPTH_MAX) throw fail('buckets lie too deep in each other');
    const name = this.pages.kept(leaf.key(index));
    const rootPage = readU64(value, 0);
    const sequence = readU64(value, 8);
    if (rootPage !== 0) return new BoltBucket(name, rootPage, sequence, depth, null);
    const inside = this.pages.kept(value.subarray(BUCKET_HEADER));
    if (inside.length < BUCKET_HEADER) throw fail(`the bucket in element ${index} has no page`);
    const page = new Page(leaf.id, inside, fail);
    if (!page.isLeaf) throw fail(`the page of the bucket in element ${index} is no leaf`);
    return new BoltBucket(name, 0, sequence, depth, page);
  }

  async close(): Promise<void> {
    await this.pages.settle();
    await this.file.close();
  }
}

async function newestMeta(file: DiskFile): Promise<Meta> {
  const head = await readAt(file, 0, META_SPAN);
  const first = readMeta(head, 0);
  const second = first !== null ? readMeta(head, first.pageSize) : secondMeta(head);
  const meta = first === null || (second !== null && second.transaction > first.transaction) ? second : first;
  if (meta === null) {
    throw new CorruptionError(
      'bbolt: neither of the two metas is valid',
      `${file.path}, pages 0 and 1`,
      ADVICE_DAMAGED,
    );
  }
  const size = await file.size();
  const needed = meta.pageCount * meta.pageSize;
  if (size < needed) {
    throw new CorruptionError(
      `bbolt: the file was cut: it has ${size} bytes of ${needed}`,
      `${file.path}, byte ${size}`,
      ADVICE_DAMAGED,
    );
  }
  return meta;
}

/** Where the first meta is damaged the page size is not known, and so not where the second is. */
function secondMeta(head: Buffer): Meta | null {
  for (let pageSize = 512; pageSize <= 65_536; pageSize *= 2) {
    const meta = readMeta(head, pageSize);
    if (meta !== null && meta.pageSize === pageSize) return meta;
  }
  return null;
}
