import { EMPTY } from '@etsd/base';
import type { DiskFile } from '@etsd/runtime';
import { PAGE_BYTES_MAX, REUSED_WINDOW_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from './limits.ts';
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

/** A window that is being read before it is asked for. */
interface Ahead {
  readonly position: number;
  readonly length: number;
  readonly window: Promise<Buffer>;
}

/**
 * Pages by number, read through one window that grows while pages are asked for in the order of the file: what was
 * written in one go is read in large pieces, the next one while this one is looked at, and what lies scattered costs
 * little more than itself. Unless it is told to reuse it, a window is never used again for other bytes, and views of
 * pages stay right.
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
  private readonly windowBytesMax: number;
  private ahead: Ahead | null = null;
  /** The memory for all windows, of which one is looked at and one is filled; null where each has memory of its own. */
  private readonly reused: readonly [Buffer, Buffer] | null;
  private turn: 0 | 1 = 0;

  constructor(file: DiskFile, pageSize: number, pageCount: number, reusesMemory: boolean) {
    this.file = file;
    this.path = file.path;
    this.pageSize = pageSize;
    this.pageCount = pageCount;
    this.windowBytesMax = reusesMemory ? REUSED_WINDOW_BYTES_MAX : WINDOW_BYTES_MAX;
    const memory = (): Buffer => Buffer.allocUnsafeSlow(Math.max(pageSize, this.windowBytesMax));
    this.reused = reusesMemory ? [memory(), memory()] : null;
  }

  /** Bytes of a page in a form that outlives the reading of the next one. */
  kept(bytes: Buffer): Buffer {
    return this.reused === null ? bytes : Buffer.from(bytes);
  }

  /** The page with its overflow. Throws `CorruptionError` where it is not what its number says. */
  async read(id: number): Promise<Buffer> {
    const { pageSize } = this;
    const there = this.readNow(id);
    if (there !== null) return there;
    const position = id * pageSize;
    if (!this.holds(position, pageSize)) {
      await this.fetch(position);
      const fetched = this.readNow(id);
      if (fetched !== null) return fetched;
    }
    const length = this.lengthOf(id);
    const bytes = await readAt(this.file, position, length);
    if (bytes.length < length) throw this.damaged(id, 'the file ends before it does');
    return bytes;
  }

  /** The same, of a page that was read with others already; null where it was not. */
  readNow(id: number): Buffer | null {
    const { pageSize, pageCount } = this;
    if (id < 2 || id >= pageCount) throw this.damaged(id, `no page of a file with ${pageCount} pages`);
    const position = id * pageSize;
    if (!this.holds(position, pageSize)) return null;
    const length = this.lengthOf(id);
    if (!this.holds(position, length)) return null;
    const start = position - this.windowStart;
    return this.window.subarray(start, start + length);
  }

  /** Of a page whose beginning is in the window, with its overflow. */
  private lengthOf(id: number): number {
    const { pageSize, pageCount, window } = this;
    const start = id * pageSize - this.windowStart;
    if (readU64(window, start) !== id) throw this.damaged(id, 'it bears another number');
    const overflow = window.readUInt32LE(start + PAGE_HEADER - 4);
    const length = (1 + overflow) * pageSize;
    if (id + overflow >= pageCount || length > PAGE_BYTES_MAX) throw this.damaged(id, `${overflow} pages of overflow`);
    return length;
  }

  /** Resolves when nothing is being read any more. */
  async settle(): Promise<void> {
    await this.ahead?.window.catch(() => {});
  }

  private holds(position: number, length: number): boolean {
    return position >= this.windowStart && position + length <= this.windowStart + this.window.length;
  }

  private async fetch(position: number): Promise<void> {
    const end = this.windowEnd;
    const isNext = position >= end && position - end <= this.windowBytes;
    const { ahead } = this;
    this.ahead = null;
    // Until it is read, the old window is none: with one memory for all it is being overwritten.
    this.window = EMPTY;
    const isThere =
      ahead !== null && position >= ahead.position && position + this.pageSize <= ahead.position + ahead.length;
    if (isThere) this.take(await ahead.window, ahead.position);
    else {
      await ahead?.window.catch(() => {});
      this.windowBytes = isNext ? Math.min(this.windowBytesMax, this.windowBytes * 2) : WINDOW_BYTES_MIN;
      this.take(await this.readWindow(position), position);
    }
    if (!this.holds(position, this.pageSize)) {
      throw this.damaged(Math.floor(position / this.pageSize), 'the file ends before it does');
    }
    if (isNext || isThere) this.readAhead();
  }

  private take(window: Buffer, position: number): void {
    this.window = window;
    this.windowStart = position;
    this.windowEnd = position + window.length;
  }

  private readAhead(): void {
    const position = this.windowEnd;
    this.windowBytes = Math.min(this.windowBytesMax, this.windowBytes * 2);
    const length = this.lengthAt(position);
    if (length <= 0) return;
    const window = this.readWindow(position);
    // Whoever asks for it hears of it.
    window.catch(() => {});
    this.ahead = { position, length, window };
  }

  private readWindow(position: number): Promise<Buffer> {
    const length = this.lengthAt(position);
    this.turn = this.turn === 0 ? 1 : 0;
    return readAt(this.file, position, length, this.reused?.[this.turn].subarray(0, length));
  }

  private lengthAt(position: number): number {
    return Math.min(Math.max(this.pageSize, this.windowBytes), this.pageCount * this.pageSize - position);
  }

  damaged(page: number, what: string): Error {
    return damaged(this.path, page, this.pageSize, what);
  }
}
