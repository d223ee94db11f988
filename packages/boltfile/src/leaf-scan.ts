import { Crc32cMemory, crc32c, crc32cJoined } from '@etsd/base';
import { DEPTH_MAX, PAGE_BYTES_MAX, WINDOW_BYTES_MIN } from './limits.ts';
import {
  BRANCH,
  BUCKET_FLAG,
  compared,
  damaged,
  ELEMENT,
  LEAF,
  order,
  PAGE_HEADER,
  Page,
  readU64,
  type Span,
  word,
} from './page.ts';
import { PageSet } from './reader.ts';

/** Read at once, at most, where pages follow each other. */
const WINDOW_BYTES_MAX = 256 * 1024;
/** At first, of the memory for a key; records of etcd have 17 or 18. */
const KEY_BYTES = 64;

/** Fills `target` from a position of the file; bytes read, fewer only at its end. */
export type ReadNow = (target: Buffer, position: number) => number;

/** A part of a bucket's tree: a page, and between which keys everything below it must lie. */
export interface Subtree {
  readonly page: number;
  readonly low: Uint8Array | null;
  readonly high: Uint8Array | null;
}

export interface ScannedFile {
  readonly path: string;
  readonly pageSize: number;
  readonly pageCount: number;
}

/** Whether a record counts: where it lies in the bytes, key first, value behind it. */
export type RecordFilter = (bytes: Buffer, keyStart: number, valueStart: number, end: number) => boolean;

/** What a part of a bucket holds. */
export interface LeafDigest {
  /** CRC-32C over the keys and values that count, in order. */
  readonly crc: number;
  /** That went into it. */
  readonly bytes: number;
  /** Records that count. */
  readonly records: number;
  /** Of all there are, whether they count or not; null where there is none. */
  readonly firstKey: Uint8Array | null;
  readonly lastKey: Uint8Array | null;
}

const NOTHING: LeafDigest = { crc: 0, bytes: 0, records: 0, firstKey: null, lastKey: null };

/**
 * Checksums over parts of a bucket, and nothing else: no views, no promises, what lies together is taken in one go. For
 * files that are read whole, by a program that does nothing else meanwhile. Everything that `LeafCursor` checks is checked
 * here too. Several threads can each take some parts of a bucket (`split`); what they find is put together by
 * `joinDigests`.
 */
export class LeafScan {
  /** Pages that were reached. */
  readonly seen: PageSet;
  private readonly file: ScannedFile;
  private readonly readNow: ReadNow;
  private readonly filter: RecordFilter | null;
  private readonly checksums = new Crc32cMemory(WINDOW_BYTES_MAX);
  private readonly memory: Buffer = this.checksums.bytes;
  private windowStart = 0;
  private windowLength = 0;
  private windowBytes = WINDOW_BYTES_MIN;
  /** The page that was read last; valid until the next one is. */
  private page: Buffer = this.memory;
  private pageStart = 0;
  private pageEnd = 0;
  /** Of the part under way. */
  private crc = 0;
  private bytes = 0;
  private records = 0;
  private firstKey: Buffer | null = null;
  private lastKey: Buffer = Buffer.allocUnsafeSlow(KEY_BYTES);
  private lastKeyBytes = -1;

  constructor(file: ScannedFile, readNow: ReadNow, filter: RecordFilter | null = null) {
    this.file = file;
    this.readNow = readNow;
    this.filter = filter;
    this.seen = new PageSet(file.pageCount);
  }

  /** Throws a `CorruptionError` where the part is not what it should be. */
  digest({ page, low, high }: Subtree): LeafDigest {
    this.begin();
    this.walk(page, spanOf(low), spanOf(high), 0);
    return this.result();
  }

  /** The same of a page that lies inside of another, as those of small buckets do. */
  digestInline({ bytes, id }: Page): LeafDigest {
    this.begin();
    this.page = bytes;
    this.pageStart = 0;
    this.pageEnd = bytes.length;
    this.leaf(id, null, null);
    return this.result();
  }

  /** At least so many parts that are one together, if there are as many leaves, in order. */
  split(whole: Subtree, count: number): readonly Subtree[] {
    let parts: readonly Subtree[] = [whole];
    for (let level = 0; level < DEPTH_MAX && parts.length < count; level++) {
      const below = parts.flatMap((part) => this.below(part));
      if (below.length === parts.length) break;
      parts = below;
    }
    return parts;
  }

  private below(part: Subtree): readonly Subtree[] {
    this.read(part.page);
    if (this.kind() !== BRANCH) return [part];
    const branch = this.branch(part.page, spanOf(part.high));
    return Array.from({ length: branch.count }, (_, index) => ({
      page: branch.child(index),
      low: branch.key(index),
      high: index + 1 < branch.count ? branch.key(index + 1) : part.high,
    }));
  }

  private begin(): void {
    this.crc = 0;
    this.bytes = 0;
    this.records = 0;
    this.firstKey = null;
    this.lastKeyBytes = -1;
  }

  private result(): LeafDigest {
    const { crc, bytes, records, firstKey, lastKeyBytes } = this;
    const lastKey = lastKeyBytes < 0 ? null : Buffer.from(this.lastKey.subarray(0, lastKeyBytes));
    return { crc, bytes, records, firstKey, lastKey };
  }

  private walk(id: number, low: Span | null, high: Span | null, level: number): void {
    this.read(id);
    const last = id + (this.pageEnd - this.pageStart) / this.file.pageSize;
    for (let part = id; part < last; part++) if (!this.seen.add(part)) throw this.damaged(part, 'it is reached twice');
    if (this.kind() !== BRANCH) {
      this.leaf(id, low, high);
      return;
    }
    if (level === DEPTH_MAX) throw this.damaged(id, 'the tree is too deep');
    const branch = this.branch(id, high);
    let from: Span = branch.span(0);
    for (let index = 0; index < branch.count; index++) {
      const to = index + 1 < branch.count ? branch.span(index + 1) : high;
      this.walk(branch.child(index), from, to, level + 1);
      if (to !== null) from = to;
    }
  }

  /** A copy of the branch that was read last: what is read next takes its place. */
  private branch(id: number, high: Span | null): Page {
    const bytes = Buffer.from(this.page.subarray(this.pageStart, this.pageEnd));
    const branch = new Page(id, bytes, (what) => this.damaged(id, what));
    if (branch.count === 0) throw this.damaged(id, 'a branch without children');
    if (high !== null && compared(branch.span(branch.count - 1), high) >= 0) this.outOfOrder(id);
    return branch;
  }

  /** Takes in the leaf that was read last. */
  private leaf(id: number, low: Span | null, high: Span | null): void {
    const { page: bytes, pageStart, pageEnd } = this;
    if (this.kind() !== LEAF) throw this.damaged(id, `a branch or leaf was expected, its flags are ${this.kind()}`);
    const count = bytes.readUInt16LE(pageStart + 10);
    if (count === 0) return;
    const dataStart = pageStart + PAGE_HEADER + count * ELEMENT;
    if (dataStart > pageEnd) throw this.damaged(id, `${count} elements do not fit`);
    let keyStart = 0;
    let valueStart = 0;
    // Bytes that lie together and count.
    let runStart = 0;
    let runEnd = 0;
    for (let index = 0; index < count; index++) {
      const element = pageStart + PAGE_HEADER + index * ELEMENT;
      const start = element + word(bytes, element + 4);
      const behindKey = start + word(bytes, element + 8);
      const end = behindKey + word(bytes, element + 12);
      if (start < dataStart || end > pageEnd) throw this.damaged(id, `element ${index} lies outside of the page`);
      if (behindKey === start) throw this.damaged(id, `element ${index} has no key`);
      if (word(bytes, element) > BUCKET_FLAG) throw this.damaged(id, `element ${index} has unknown flags`);
      if (index === 0) this.begins(id, start, behindKey, low);
      else if (order(bytes, keyStart, valueStart, bytes, start, behindKey) >= 0) {
        throw this.damaged(id, `element ${index} is out of order`);
      }
      keyStart = start;
      valueStart = behindKey;
      if (this.filter !== null && !this.filter(bytes, start, behindKey, end)) continue;
      this.records++;
      if (start !== runEnd) {
        this.count(bytes, runStart, runEnd);
        runStart = start;
      }
      runEnd = end;
    }
    this.count(bytes, runStart, runEnd);
    this.ends(id, keyStart, valueStart, high);
  }

  private begins(id: number, start: number, end: number, low: Span | null): void {
    const { page, lastKey, lastKeyBytes } = this;
    if (low !== null && order(page, start, end, low.bytes, low.start, low.end) < 0) this.outOfOrder(id);
    if (lastKeyBytes >= 0 && order(lastKey, 0, lastKeyBytes, page, start, end) >= 0) this.outOfOrder(id);
    this.firstKey ??= Buffer.from(page.subarray(start, end));
  }

  private ends(id: number, start: number, end: number, high: Span | null): void {
    const { page } = this;
    if (high !== null && order(page, start, end, high.bytes, high.start, high.end) >= 0) this.outOfOrder(id);
    this.lastKeyBytes = end - start;
    if (this.lastKeyBytes > this.lastKey.length) this.lastKey = Buffer.allocUnsafeSlow(2 * this.lastKeyBytes);
    page.copy(this.lastKey, 0, start, end);
  }

  private count(bytes: Buffer, start: number, end: number): void {
    if (start === end) return;
    const { checksums, crc } = this;
    this.crc = bytes === this.memory ? checksums.crc(start, end, crc) : crc32c(bytes, start, end, crc);
    this.bytes += end - start;
  }

  private kind(): number {
    return this.page.readUInt16LE(this.pageStart + 8);
  }

  /** Reads a page with its overflow. */
  private read(id: number): void {
    const { memory } = this;
    const { pageSize, pageCount } = this.file;
    if (id < 2 || id >= pageCount) throw this.damaged(id, `no page of a file with ${pageCount} pages`);
    const position = id * pageSize;
    if (!this.holds(position, pageSize)) this.fetch(position, pageSize);
    if (!this.holds(position, pageSize)) throw this.damaged(id, 'the file ends before it does');
    const start = position - this.windowStart;
    if (readU64(memory, start) !== id) throw this.damaged(id, 'it bears another number');
    const overflow = word(memory, start + PAGE_HEADER - 4);
    const length = (1 + overflow) * pageSize;
    if (id + overflow >= pageCount || length > PAGE_BYTES_MAX) throw this.damaged(id, `${overflow} pages of overflow`);
    if (length > WINDOW_BYTES_MAX) {
      this.page = Buffer.allocUnsafeSlow(length);
      this.pageStart = 0;
      this.pageEnd = length;
      if (this.readNow(this.page, position) < length) throw this.damaged(id, 'the file ends before it does');
      return;
    }
    if (!this.holds(position, length)) this.fetch(position, length);
    if (!this.holds(position, length)) throw this.damaged(id, 'the file ends before it does');
    this.page = memory;
    this.pageStart = position - this.windowStart;
    this.pageEnd = this.pageStart + length;
  }

  private holds(position: number, length: number): boolean {
    return position >= this.windowStart && position + length <= this.windowStart + this.windowLength;
  }

  private fetch(position: number, atLeast: number): void {
    const end = this.windowStart + this.windowLength;
    const isNext = position >= this.windowStart && position - end <= this.windowBytes;
    this.windowBytes = isNext ? Math.min(WINDOW_BYTES_MAX, this.windowBytes * 2) : WINDOW_BYTES_MIN;
    const length = Math.max(atLeast, this.windowBytes);
    this.windowStart = position;
    this.windowLength = this.readNow(this.memory.subarray(0, length), position);
  }

  private damaged(page: number, what: string): Error {
    return damaged(this.file.path, page, this.file.pageSize, what);
  }

  private outOfOrder(page: number): never {
    throw this.damaged(page, 'its keys are out of order with those of other pages');
  }
}

/** Of parts of a bucket one behind the other. `outOfOrder` is thrown where their keys are. */
export function joinDigests(parts: readonly LeafDigest[], outOfOrder: () => Error): LeafDigest {
  let whole = NOTHING;
  for (const part of parts) {
    const { lastKey } = whole;
    if (lastKey !== null && part.firstKey !== null && Buffer.compare(lastKey, part.firstKey) >= 0) throw outOfOrder();
    whole = {
      crc: crc32cJoined(whole.crc, part.crc, part.bytes),
      bytes: whole.bytes + part.bytes,
      records: whole.records + part.records,
      firstKey: whole.firstKey ?? part.firstKey,
      lastKey: part.lastKey ?? whole.lastKey,
    };
  }
  return whole;
}

function spanOf(key: Uint8Array | null): Span | null {
  if (key === null) return null;
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  return { bytes, start: 0, end: key.length };
}
