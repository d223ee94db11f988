/**
 * The pages of a bbolt file. All numbers are little-endian; a page that is too small for its content continues in the
 * pages behind it (`overflow`).
 *
 * ```
 *   page    id u64 · flags u16 · count u16 · overflow u32 │ content
 *   meta    magic u32 · version u32 · page size u32 · flags u32 · root { page u64, sequence u64 } · freelist page u64
 *           · pages u64 · transaction u64 · checksum u64
 *   branch  count × { position u32, key size u32, page u64 } · keys
 *   leaf    count × { flags u32, position u32, key size u32, value size u32 } · key, value, key, value, …
 *   bucket  (value of an element with flag 1)  root page u64 · sequence u64 [· a whole leaf page where the root is 0]
 * ```
 * Positions count from the element itself.
 */
import { CorruptionError } from '@etsd/base';

export const PAGE_HEADER = 16;
export const ELEMENT = 16;
export const BUCKET_HEADER = 16;

export const BRANCH = 0x01;
export const LEAF = 0x02;
export const META = 0x04;
export const FREELIST = 0x10;

/** Flag of a leaf's element whose value is a bucket. */
export const BUCKET_FLAG = 1;

const MAGIC = 0xed0cdaed;
const VERSION = 2;
/** Bytes of a meta in front of its checksum. */
const META_BYTES = 56;
/** Of a meta with its checksum, and of the page header before it. */
export const META_PAGE_BYTES = PAGE_HEADER + META_BYTES + 8;

const TWO_32 = 0x1_0000_0000;

export const ADVICE_DAMAGED = 'Use another copy of this file, or take a new snapshot from a healthy member.';

/** Where in which file something is wrong. */
export function damaged(path: string, page: number, pageSize: number, what: string): CorruptionError {
  return new CorruptionError(`bbolt: ${what}`, `${path}, page ${page} at byte ${page * pageSize}`, ADVICE_DAMAGED);
}

/** One of the two roots of a file. A commit writes the older one anew; the valid one with the highest transaction counts. */
export class Meta {
  pageSize = 0;
  rootPage = 0;
  rootSequence = 0;
  /** Page of the list of free pages; −1 where it is not kept. */
  freelistPage = -1;
  /** Pages of the file, used or not. */
  pageCount = 0;
  transaction = 0;
}

/** A u64 as a number; −1 for anything beyond 2^53, which no field can hold by right but the absent freelist. */
export function readU64(bytes: Buffer, offset: number): number {
  const high = bytes.readUInt32LE(offset + 4);
  if (high >= 0x20_0000) return -1;
  return high * TWO_32 + bytes.readUInt32LE(offset);
}

export function writeU64(bytes: Buffer, offset: number, value: number): void {
  if (value < 0) {
    bytes.fill(0xff, offset, offset + 8);
    return;
  }
  bytes.writeUInt32LE(value % TWO_32, offset);
  bytes.writeUInt32LE(Math.floor(value / TWO_32), offset + 4);
}

/** Halves of the last checksum. */
let hashLow = 0;
let hashHigh = 0;

/** FNV-1a of 64 bits. The prime is 2^40 + 0x1b3. */
function fnv1a(bytes: Buffer, start: number, end: number): void {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (let at = start; at < end; at++) {
    low = (low ^ (bytes[at] as number)) >>> 0;
    const product = low * 0x1b3;
    high = (high * 0x1b3 + Math.floor(product / TWO_32) + low * 256) % TWO_32;
    low = product % TWO_32;
  }
  hashLow = low;
  hashHigh = high;
}

/** The meta whose page begins at `offset`, or null where there is none that is whole. */
export function readMeta(bytes: Buffer, offset: number): Meta | null {
  if (offset + META_PAGE_BYTES > bytes.length) return null;
  if (bytes.readUInt16LE(offset + 8) !== META) return null;
  const at = offset + PAGE_HEADER;
  if (bytes.readUInt32LE(at) !== MAGIC || bytes.readUInt32LE(at + 4) !== VERSION) return null;
  fnv1a(bytes, at, at + META_BYTES);
  if (bytes.readUInt32LE(at + META_BYTES) !== hashLow || bytes.readUInt32LE(at + META_BYTES + 4) !== hashHigh) {
    return null;
  }
  const meta = new Meta();
  meta.pageSize = bytes.readUInt32LE(at + 8);
  meta.rootPage = readU64(bytes, at + 16);
  meta.rootSequence = readU64(bytes, at + 24);
  meta.freelistPage = readU64(bytes, at + 32);
  meta.pageCount = readU64(bytes, at + 40);
  meta.transaction = readU64(bytes, at + 48);
  const { pageSize } = meta;
  const isSane = pageSize >= 512 && pageSize <= 65_536 && (pageSize & (pageSize - 1)) === 0;
  if (!isSane || meta.pageCount < 3 || meta.rootPage < 2 || meta.rootPage >= meta.pageCount) return null;
  return meta;
}

/** Writes a whole meta page. */
export function writeMeta(target: Buffer, offset: number, page: number, meta: Meta): void {
  target.fill(0, offset, offset + meta.pageSize);
  writePageHeader(target, offset, page, META, 0, 0);
  const at = offset + PAGE_HEADER;
  target.writeUInt32LE(MAGIC, at);
  target.writeUInt32LE(VERSION, at + 4);
  target.writeUInt32LE(meta.pageSize, at + 8);
  writeU64(target, at + 16, meta.rootPage);
  writeU64(target, at + 24, meta.rootSequence);
  writeU64(target, at + 32, meta.freelistPage);
  writeU64(target, at + 40, meta.pageCount);
  writeU64(target, at + 48, meta.transaction);
  fnv1a(target, at, at + META_BYTES);
  target.writeUInt32LE(hashLow, at + META_BYTES);
  target.writeUInt32LE(hashHigh, at + META_BYTES + 4);
}

export function writePageHeader(
  target: Buffer,
  offset: number,
  page: number,
  flags: number,
  count: number,
  overflow: number,
): void {
  writeU64(target, offset, page);
  target.writeUInt16LE(flags, offset + 8);
  target.writeUInt16LE(count, offset + 10);
  target.writeUInt32LE(overflow, offset + 12);
}

/** A key within some bytes: making a view of each would be most of the work. */
export interface Span {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Negative where `a` comes before `b`. */
export function compared(a: Span, b: Span): number {
  return order(a.bytes, a.start, a.end, b.bytes, b.start, b.end);
}

/** Negative where [a, aEnd) comes before [b, bEnd). Keys are short; calling the runtime would take longer. */
export function order(left: Uint8Array, a: number, aEnd: number, right: Uint8Array, b: number, bEnd: number): number {
  const common = Math.min(aEnd - a, bEnd - b);
  for (let at = 0; at < common; at++) {
    const difference = (left[a + at] as number) - (right[b + at] as number);
    if (difference !== 0) return difference;
  }
  return aEnd - a - (bEnd - b);
}

/** A number of 32 bits; Buffer's own checks cost more than the reading. */
export function word(bytes: Buffer, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** A page of elements, checked: nothing in it points out of it. */
export class Page {
  readonly id: number;
  readonly isLeaf: boolean;
  readonly count: number;
  /** The page with its overflow, or the value that an inline bucket is. */
  readonly bytes: Buffer;
  private readonly keyStarts: Uint32Array;

  /** Throws where the bytes are no branch or leaf. `fail` makes the error. */
  constructor(id: number, bytes: Buffer, fail: (what: string) => Error) {
    this.id = id;
    this.bytes = bytes;
    const flags = bytes.readUInt16LE(8);
    if (flags !== LEAF && flags !== BRANCH) throw fail(`a branch or leaf was expected, its flags are ${flags}`);
    this.isLeaf = flags === LEAF;
    this.count = bytes.readUInt16LE(10);
    if (PAGE_HEADER + this.count * ELEMENT > bytes.length) throw fail(`${this.count} elements do not fit`);
    this.keyStarts = new Uint32Array(this.count);
    this.check(fail);
  }

  private check(fail: (what: string) => Error): void {
    const { bytes, count } = this;
    const dataStart = PAGE_HEADER + count * ELEMENT;
    for (let index = 0; index < count; index++) {
      const element = PAGE_HEADER + index * ELEMENT;
      const start = element + word(bytes, this.isLeaf ? element + 4 : element);
      const keySize = this.keySize(index);
      const end = start + keySize + (this.isLeaf ? word(bytes, element + 12) : 0);
      if (start < dataStart || end > bytes.length) throw fail(`element ${index} lies outside of the page`);
      // Only the first key of a branch may be empty: it stands for everything below the second.
      if (keySize === 0 && (this.isLeaf || index > 0)) throw fail(`element ${index} has no key`);
      if (this.isLeaf && word(bytes, element) > BUCKET_FLAG) throw fail(`element ${index} has unknown flags`);
      this.keyStarts[index] = start;
      if (index > 0 && this.compare(index - 1, index) >= 0) throw fail(`element ${index} is out of order`);
    }
  }

  private compare(left: number, right: number): number {
    const start = this.keyStarts[right] as number;
    const leftStart = this.keyStarts[left] as number;
    const { bytes } = this;
    return order(bytes, leftStart, leftStart + this.keySize(left), bytes, start, start + this.keySize(right));
  }

  private keySize(index: number): number {
    const element = PAGE_HEADER + index * ELEMENT;
    return word(this.bytes, this.isLeaf ? element + 8 : element + 4);
  }

  /** A view that stays valid as long as somebody holds it. */
  key(index: number): Buffer {
    const start = this.keyStarts[index] as number;
    return this.bytes.subarray(start, start + this.keySize(index));
  }

  /** Where a key lies, without a view of it. */
  span(index: number): Span {
    const start = this.keyStarts[index] as number;
    return { bytes: this.bytes, start, end: start + this.keySize(index) };
  }

  /** A leaf's; a view that stays valid as long as somebody holds it. */
  value(index: number): Buffer {
    const start = (this.keyStarts[index] as number) + this.keySize(index);
    return this.bytes.subarray(start, start + word(this.bytes, PAGE_HEADER + index * ELEMENT + 12));
  }

  /** Where in the page a leaf's element begins, its key first. */
  start(index: number): number {
    return this.keyStarts[index] as number;
  }

  /** Where it ends: its value follows its key. */
  end(index: number): number {
    const value = word(this.bytes, PAGE_HEADER + index * ELEMENT + 12);
    return (this.keyStarts[index] as number) + this.keySize(index) + value;
  }

  /** Whether the value of a leaf's element is a bucket. */
  isBucket(index: number): boolean {
    return word(this.bytes, PAGE_HEADER + index * ELEMENT) === BUCKET_FLAG;
  }

  /** A branch's: the page below; −1 where the number is beyond all pages. */
  child(index: number): number {
    return readU64(this.bytes, PAGE_HEADER + index * ELEMENT + 8);
  }
}
