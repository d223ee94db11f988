import { BufferPool } from '@etsd/base';
import type { RecordSink } from '@etsd/mvcc';
import { rangeBodySize, writeRangeBody } from '@etsd/proto';

const CHUNK_BYTES = 64 * 1024;
/** Chunks that are kept for the next range when one is finished. */
const CHUNKS_KEPT = 256;

/** A buffer, and how much of it is filled. */
interface Chunk {
  readonly buffer: Buffer;
  readonly bytes: Buffer;
}

/**
 * The buffers that large answers are written into, used again and again: garbage of this size would make the engine
 * collect the whole heap several times in an answer, and hold the event loop for it.
 */
export class ChunkPool {
  private readonly pool = new BufferPool(CHUNK_BYTES, CHUNK_BYTES, CHUNKS_KEPT);

  take(): Buffer {
    return this.pool.take(CHUNK_BYTES);
  }

  give(buffer: Buffer): void {
    if (buffer.length === CHUNK_BYTES) this.pool.release(buffer);
  }
}

/** The records of a large answer on their way: added up, or also written as they will be sent. */
export class RangeChunks implements RecordSink {
  /** Bytes of all records so far, as they will be sent. */
  totalBytes = 0;
  /** Bytes that are written and not given back. */
  heldBytes = 0;
  private isWriting = true;
  private readonly pool: ChunkPool;
  private readonly keysOnly: boolean;
  private readonly one: Buffer[] = [Buffer.alloc(0)];
  /** The chunk that is being filled; null before the first record. */
  private current: Buffer | null = null;
  private used = 0;
  /** Full ones, in order. */
  private readonly chunks: Chunk[] = [];
  /** What the transport was given, oldest first, and where each ends in the order of bytes given. */
  private readonly given: Chunk[] = [];
  private readonly givenEnds: number[] = [];
  private givenBytes = 0;

  constructor(pool: ChunkPool, keysOnly: boolean) {
    this.pool = pool;
    this.keysOnly = keysOnly;
  }

  /** Part of `RecordSink`. */
  record(record: Buffer): void {
    const { one } = this;
    one[0] = record;
    const size = rangeBodySize(one, 1, this.keysOnly, false, 0);
    this.totalBytes += size;
    if (!this.isWriting) return;
    if (this.current === null || this.used + size > this.current.length) {
      this.closeChunk();
      this.current = size > CHUNK_BYTES ? Buffer.allocUnsafeSlow(size) : this.pool.take();
    }
    this.used = writeRangeBody(this.current, this.used, one, 1, this.keysOnly, false, 0);
    this.heldBytes += size;
    if (size > CHUNK_BYTES) this.closeChunk();
  }

  /** What the chunk takes that is not full yet. */
  get unfinishedBytes(): number {
    return this.current === null ? 0 : this.current.length;
  }

  /** From here on records are only added up; what was written is given back. */
  measureOnly(): void {
    this.isWriting = false;
    this.giveBack();
  }

  /** From here on records are written again, from the first one. */
  writeAgain(): void {
    this.isWriting = true;
  }

  /**
   * What was written since the last call: all of it, or full chunks only. The buffers belong to this object still: see
   * `taken`.
   */
  take(all: boolean): Buffer[] {
    if (all) this.closeChunk();
    const bytes: Buffer[] = [];
    for (const chunk of this.chunks) {
      bytes.push(chunk.bytes);
      this.given.push(chunk);
      this.givenBytes += chunk.bytes.length;
      this.givenEnds.push(this.givenBytes);
    }
    this.chunks.length = 0;
    return bytes;
  }

  /** The transport, which was given nothing behind these chunks, still holds so many bytes: the others can be used again. */
  taken(bytesLeft: number): void {
    let count = 0;
    while (count < this.given.length && (this.givenEnds[count] as number) <= this.givenBytes - bytesLeft) {
      this.release(this.given[count] as Chunk);
      count++;
    }
    this.given.splice(0, count);
    this.givenEnds.splice(0, count);
  }

  /** Nobody reads any of the chunks any more. */
  giveBack(): void {
    this.closeChunk();
    for (const chunk of this.chunks) this.release(chunk);
    for (const chunk of this.given) this.release(chunk);
    this.chunks.length = 0;
    this.given.length = 0;
    this.givenEnds.length = 0;
  }

  private closeChunk(): void {
    const { current, used } = this;
    this.current = null;
    this.used = 0;
    if (current !== null) this.chunks.push({ buffer: current, bytes: current.subarray(0, used) });
  }

  private release({ buffer, bytes }: Chunk): void {
    this.heldBytes -= bytes.length;
    this.pool.give(buffer);
  }
}
