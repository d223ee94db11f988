import { BufferPool } from '@etsd/base';

/** Where a message is to be written: `buffer` from `offset` on. */
export interface WriteTarget {
  buffer: Buffer;
  offset: number;
}

const EMPTY_BUFFER = Buffer.alloc(0);
const FIRST_BYTES = 1024;

const SMALL_BYTES = 4096;
/** Buffers of all connections: one that is idle holds none. Many may need a small one in the same turn. */
const SMALL_POOL = new BufferPool(FIRST_BYTES, SMALL_BYTES, 2048);
const LARGE_POOL = new BufferPool(2 * SMALL_BYTES, 1 << 20, 32);

/**
 * The bytes one connection gathers for its next write to the socket. While the kernel works on one buffer the next bytes
 * go into another.
 */
export class Outbox implements WriteTarget {
  buffer: Buffer = EMPTY_BUFFER;
  /** Bytes gathered. */
  offset = 0;
  private inFlight: Buffer = EMPTY_BUFFER;

  /** Makes room for `bytes` more behind `offset`. */
  reserve(bytes: number): void {
    if (this.offset + bytes > this.buffer.length) this.grow(this.offset + bytes);
  }

  private grow(bytes: number): void {
    const size = Math.max(bytes, this.buffer.length * 2, FIRST_BYTES);
    const bigger = (size <= SMALL_BYTES ? SMALL_POOL : LARGE_POOL).take(size);
    this.buffer.copy(bigger, 0, 0, this.offset);
    this.give(this.buffer);
    this.buffer = bigger;
  }

  /** The gathered bytes were taken at once. */
  taken(): void {
    this.give(this.buffer);
    this.buffer = EMPTY_BUFFER;
    this.offset = 0;
  }

  /** The gathered bytes belong to the kernel until `landed`. */
  launched(): void {
    this.inFlight = this.buffer;
    this.buffer = EMPTY_BUFFER;
    this.offset = 0;
  }

  landed(): void {
    this.give(this.inFlight);
    this.inFlight = EMPTY_BUFFER;
  }

  private give(buffer: Buffer): void {
    if (buffer.length > 0) (buffer.length <= SMALL_BYTES ? SMALL_POOL : LARGE_POOL).release(buffer);
  }

  /** The connection is gone. What is in flight may still be read by the kernel, so it is not given back. */
  discard(): void {
    this.taken();
    this.inFlight = EMPTY_BUFFER;
  }
}
