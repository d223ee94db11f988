import { EMPTY } from '@etsd/base';
import type { DiskFile } from '@etsd/runtime';
import { PAGE_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from './limits.ts';
import { damaged, PAGE_HEADER, readU64 } from './page.ts';

/** Reads `length` bytes at `position`, fewer only at the end of the file. */
export function readAt(
  file: DiskFile,
  position: number,
  length: number,
  target: Buffer = Buffer.allocUnsafeSlow(length),
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    file.read(target, 0, length, position, (error, bytesRead) => {
      if (error === null) resolve(bytesRead === target.length ? target : target.subarray(0, bytesRead));
      else reject(error);
    });
  });
}

/**
 * Pages by number, read through one window that grows while pages are asked for in the order of the file: what was
 * written in one go is read in large pieces, and what lies scattered costs little more than itself. Unless it is told to
 * reuse it, a window is never used again for other bytes, and views of pages stay right.
 */
export class PageSource {
  readonly path: string;
  readonly pageSize: number;
  readonly pageCount: number;
  private readonly file: DiskFile;
  private window: Buffer = EMPTY;
  private windowStart = 0;
  private windowEnd = 0;
  private windowBytes = WINDOW_BYTES_MIN;
  /** One window for everything; null where each has memory of its own. */
  private readonly reused: Buffer | null;

  constructor(file: DiskFile, pageSize: number, pageCount: number, reusesMemory: boolean) {
    this.file = file;
    this.path = file.path;
    this.pageSize = pageSize;
    this.pageCount = pageCount;
    this.reused = reusesMemory ? Buffer.allocUnsafeSlow(Math.max(pageSize, WINDOW_BYTES_MAX)) : null;
  }

  /** Bytes of a page in a form that outlives the reading of the next one. */
  kept(bytes: Buffer): Buffer {
    return this.reused === null ? bytes : Buffer.from(bytes);
  }

  /** The page with its overflow. Throws `CorruptionError` where it is not what its number says. */
  async read(id: number): Promise<Buffer> {
    const { pageSize, pageCount } = this;
    if (id < 2 || id >= pageCount) throw this.damaged(id, `no page of a file with ${pageCount} pages`);
    const position = id * pageSize;
    if (!this.holds(position, pageSize)) await this.fetch(position);
    const offset = position - this.windowStart;
    if (readU64(this.window, offset) !== id) throw this.damaged(id, 'it bears another number');
    const overflow = this.window.readUInt32LE(offset + PAGE_HEADER - 4);
    const length = (1 + overflow) * pageSize;
    if (id + overflow >= pageCount || length > PAGE_BYTES_MAX) throw this.damaged(id, `${overflow} pages of overflow`);
    if (this.holds(position, length)) return this.window.subarray(offset, offset + length);
    const bytes = await readAt(this.file, position, length);
    if (bytes.length < length) throw this.damaged(id, 'the file ends before it does');
    return bytes;
  }

  private holds(position: number, length: number): boolean {
    return position >= this.windowStart && position + length <= this.windowStart + this.window.length;
  }

  private async fetch(position: number): Promise<void> {
    const end = this.windowEnd;
    const isNext = position >= end && position - end <= this.windowBytes;
    this.windowBytes = isNext ? Math.min(WINDOW_BYTES_MAX, this.windowBytes * 2) : WINDOW_BYTES_MIN;
    const wanted = Math.max(this.pageSize, this.windowBytes);
    const length = Math.min(wanted, this.pageCount * this.pageSize - position);
    // Until it is read, the old window is none: with one memory for all it is being overwritten.
    this.window = EMPTY;
    const window = await readAt(this.file, position, length, this.reused?.subarray(0, length));
    if (window.length < this.pageSize) {
      throw this.damaged(Math.floor(position / this.pageSize), 'the file ends before it does');
    }
    this.window = window;
    this.windowStart = position;
    this.windowEnd = position + window.length;
  }

  damaged(page: number, what: string): Error {
    return damaged(this.path, page, this.pageSize, what);
  }
}
