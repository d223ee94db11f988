import { copyBytes } from '@etsd/proto';
import { SLAB_BYTES } from './limits.ts';

/**
 * Copies of records that live for a short time and many at once, as in a large range. They share slabs: a buffer each
 * would make the collector of garbage stop for longer than a slice of the range takes.
 */
export class Copies {
  private slab: Buffer = Buffer.alloc(0);
  private used = 0;

  /** A copy of these bytes. */
  keep(bytes: Buffer): Buffer {
    const { length } = bytes;
    if (length > SLAB_BYTES >> 3) return Buffer.from(bytes);
    if (this.used + length > this.slab.length) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.used = 0;
    }
    const start = this.used;
    this.used = start + length;
    copyBytes(this.slab, start, bytes, 0, length);
    return this.slab.subarray(start, this.used);
  }
}
