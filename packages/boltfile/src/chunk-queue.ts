import type { DiskFile } from '@etsd/runtime';
import { CHUNK_BYTES } from './limits.ts';

/** Chunks kept for use again: as many as are usually written in one go. */
const SPARE_MAX = 3;

/** Gathers pages into chunks and writes those one after the other. */
export class ChunkQueue {
  /** Where what was reserved last is to be written. */
  buffer: Buffer;
  private readonly file: DiskFile;
  private readonly chunkBytes: number;
  /** Where in the file the first chunk of `waiting` begins. */
  private position: number;
  private used = 0;
  private readonly waiting: Buffer[] = [];
  /** Chunks that were written and can be used again. */
  private readonly spare: Buffer[] = [];

  constructor(file: DiskFile, position: number, pageSize: number) {
    this.file = file;
    this.position = position;
    this.chunkBytes = Math.max(CHUNK_BYTES, pageSize);
    this.buffer = Buffer.alloc(this.chunkBytes);
  }

  /** Chunks that are full and not written. */
  get full(): number {
    return this.waiting.length;
  }

  /** Room for so many bytes, all zero, behind those reserved before; returns the offset in `buffer`. */
  reserve(bytes: number): number {
    if (this.used + bytes > this.buffer.length) {
      this.closeChunk();
      if (bytes > this.chunkBytes) this.buffer = Buffer.alloc(bytes);
    }
    const offset = this.used;
    this.used += bytes;
    return offset;
  }

  /** What was reserved so far goes out with the next `drain`. */
  closeChunk(): void {
    if (this.used > 0) this.waiting.push(this.buffer.subarray(0, this.used));
    else this.recycle(this.buffer);
    this.used = 0;
    this.buffer = this.spare.pop() ?? Buffer.alloc(this.chunkBytes);
  }

  async drain(): Promise<void> {
    for (const chunk of this.waiting.splice(0)) {
      await this.write(chunk);
      this.position += chunk.length;
      this.recycle(chunk);
    }
  }

  private recycle(chunk: Buffer): void {
    if (chunk.buffer.byteLength !== this.chunkBytes || this.spare.length >= SPARE_MAX) return;
    const whole = Buffer.from(chunk.buffer, 0, this.chunkBytes);
    this.spare.push(whole.fill(0));
  }

  private write(chunk: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.file.write(chunk, 0, chunk.length, this.position, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}
