/**
 * A buffer that records are written into one behind the other, in the shape the engine takes values in without an
 * object for each of them. Its bytes must not change once they were handed over.
 */
export class Slab {
  readonly bytes: Buffer;
  /** The memory itself: the engine takes its address once. */
  readonly buffer: ArrayBufferLike;
  address = 0;
  /** The record being handed over. */
  start = 0;
  end = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.buffer = this.bytes.buffer;
  }
}
