/**
 * Goes over the records of one table of LMDB's file without a view, a promise or an object of each: a gigabyte of records
 * leaves next to nothing to be collected. The pages come from `LmdbReader`, which checks them.
 */
import type { RecordCursor } from './backend.ts';
import { BRANCH, HEAD_BYTES, LEAF, NODE_BIG, NODE_HEAD_BYTES, PLACE_BYTES } from './lmdb-layout.ts';

const TWO_16 = 0x1_0000;
const TWO_32 = 0x1_0000_0000;

/** What a cursor needs of the reader whose file it goes over. */
export interface CursorPages {
  readonly pageBytes: number;
  /** Where the page lies that was loaded last. */
  readonly window: Buffer;
  /** The beginning of a page in `window`; valid until the next one is loaded. */
  load(number: number, kind: number): number;
  /** The value of a record that has pages of its own, behind their head; valid until the next one is read. */
  large(page: Buffer, at: number, size: number, number: number, index: number): Buffer;
  damage(what: string, page: number): Error;
}

/** A branch on the way to the present leaf. */
class Level {
  readonly page: Buffer;
  number = 0;
  count = 0;
  next = 0;

  constructor(pageBytes: number) {
    this.page = Buffer.allocUnsafeSlow(pageBytes);
  }
}

export class LmdbCursor implements RecordCursor {
  bytes: Buffer = Buffer.alloc(0);
  keyStart = 0;
  keyEnd = 0;
  value: Buffer = this.bytes;
  valueStart = 0;
  valueEnd = 0;
  private readonly pages: CursorPages;
  private readonly levels: Level[] = [];
  /** Levels of the table, the leaves among them. */
  private readonly depth: number;
  /** Of `levels`, those on the way to the present leaf. */
  private height = 0;
  private root: number;
  /** The present leaf. */
  private number = 0;
  private start = 0;
  private count = 0;
  private index = 0;

  /** `root` is negative where the table is empty. */
  constructor(pages: CursorPages, root: number, depth: number) {
    this.pages = pages;
    this.root = root;
    this.depth = depth;
  }

  next(): boolean {
    while (this.index === this.count) if (!this.nextLeaf()) return false;
    this.take(this.index++);
    return true;
  }

  private nextLeaf(): boolean {
    const { root } = this;
    if (root >= 0) {
      this.root = -1;
      this.descend(root);
      return true;
    }
    while (this.height > 0) {
      const level = this.levels[this.height - 1] as Level;
      if (level.next < level.count) {
        this.descend(this.child(level, level.next++));
        return true;
      }
      this.height--;
    }
    return false;
  }

  /** To the first leaf below a page. */
  private descend(from: number): void {
    const { pages, depth } = this;
    let number = from;
    for (; this.height + 1 < depth; this.height++) {
      const start = pages.load(number, BRANCH);
      this.levels[this.height] ??= new Level(pages.pageBytes);
      const level = this.levels[this.height] as Level;
      pages.window.copy(level.page, 0, start, start + pages.pageBytes);
      level.number = number;
      level.count = this.countOf(level.page, 0, number);
      if (level.count < 2) throw pages.damage('a branch without branches', number);
      number = this.child(level, 0);
      level.next = 1;
    }
    this.start = pages.load(number, LEAF);
    this.bytes = pages.window;
    this.number = number;
    this.count = this.countOf(this.bytes, this.start, number);
    this.index = 0;
  }

  private countOf(page: Buffer, start: number, number: number): number {
    const lower = word(page, start + 20);
    const upper = word(page, start + 22);
    if (lower % 2 !== 0 || lower > upper || upper > this.pages.pageBytes - HEAD_BYTES) {
      throw this.pages.damage(`bounds of ${lower} and ${upper} bytes in a page`, number);
    }
    return lower / 2;
  }

  /** Where a node begins in the page that begins at `start`, with all of its head inside. */
  private nodeAt(page: Buffer, start: number, index: number, number: number): number {
    const { pageBytes } = this.pages;
    const offset = word(page, start + HEAD_BYTES + 2 * index);
    const at = start + HEAD_BYTES + offset;
    if (offset < word(page, start + 22) || at + NODE_HEAD_BYTES > start + pageBytes) {
      throw this.pages.damage(`record ${index} of the page begins at byte ${at - start} of it`, number);
    }
    return at;
  }

  private child({ page, number }: Level, index: number): number {
    const at = this.nodeAt(page, 0, index, number);
    if (at + NODE_HEAD_BYTES + word(page, at + 6) > page.length) {
      throw this.pages.damage(`record ${index} of the page reaches beyond it`, number);
    }
    return word(page, at) + TWO_16 * word(page, at + 2) + TWO_32 * word(page, at + 4);
  }

  private take(index: number): void {
    const { bytes, start, number, pages } = this;
    const at = this.nodeAt(bytes, start, index, number);
    const size = word(bytes, at) + TWO_16 * word(bytes, at + 2);
    const kind = word(bytes, at + 4);
    const keyEnd = at + NODE_HEAD_BYTES + word(bytes, at + 6);
    if (keyEnd + (kind === NODE_BIG ? PLACE_BYTES : size) > start + pages.pageBytes) {
      throw pages.damage(`record ${index} of the page reaches beyond it`, number);
    }
    this.keyStart = at + NODE_HEAD_BYTES;
    this.keyEnd = keyEnd;
    if (kind === 0) {
      this.value = bytes;
      this.valueStart = keyEnd;
      this.valueEnd = keyEnd + size;
      return;
    }
    if (kind !== NODE_BIG) throw pages.damage(`record ${index} of the page is of kind ${kind}`, number);
    this.value = pages.large(bytes, keyEnd, size, number, index);
    this.valueStart = 0;
    this.valueEnd = size;
  }
}

/** A number of 16 bits; Buffer's own checks cost more than the reading. */
function word(bytes: Buffer, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}
