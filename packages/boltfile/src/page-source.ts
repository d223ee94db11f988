import type { DiskFile } from '@etsd/runtime';
import { PAGE_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from './limits.ts';
import { damaged, PAGE_HEADER, readU64 } from './page.ts';

/** Reads `length` bytes at `position`, fewer only at the end of the file. */
export function readAt(file: DiskFile, position: number, length: number): Promise<Buffer> {
  const target = Buffer.allocUnsafeSlow(length);
  return new Promise((resolve, reject) => {
    file.read(target, 0, length, position, (error, bytesRead) => {
      if (error === null) resolve(bytesRead === length ? target : target.subarray(0, bytesRead));
      else reject(error);
    });
  });
}

/**
 * Pages by number, read through one window that grows while pages are asked for in the order of the file: what was
 * written in one go is read in large pieces, and what lies scattered costs little more than itself. A window is never
 * used again for other bytes, so views of pages stay right.
 */
export class PageSource {
  readonly path: string;
  readonly pageSize: number;
  readonly pageCount: number;
  private readonly file: DiskFile;
  private window: Buffer = Buffer.alloc(0);
  private windowStart = 0;
  private windowBytes = WINDOW_BYTES_MIN;

  constructor(file: DiskFile, pageSize: number, pageCount: number) {
    this.file = file;
    this.path = file.path;
    this.pageSize = pageSize;
    this.pageCount = pageCount;
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
    const end = this.windowStart + this.window.length;
    const isNext = position >= end && position - end <= this.windowBytes;
    this.windowBytes = isNext ? Math.min(WINDOW_BYTES_MAX, this.windowBytes * 2) : WINDOW_BYTES_MIN;
    const length = Math.max(this.pageSize, this.windowBytes);
    const window = await readAt(this.file, position, Math.min(length, this.pageCount * this.pageSize - position));
    if (window.length < this.pageSize) {
      throw this.damaged(Math.floor(position / this.pageSize), 'the file ends before it does');
    }
    this.window = window;
    this.windowStart = position;
  }

  damaged(page: number, what: string): Error {
    return damaged(this.path, page, this.pageSize, what);
  }
}
