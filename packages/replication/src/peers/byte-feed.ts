import { EMPTY } from '@etsd/base';

/** Up to this size memory for a piece is taken at once; beyond, it grows with the bytes that came. */
const EAGER_BYTES = 1024 * 1024;

/**
 * Cuts a byte stream that comes in chunks into pieces of known length. A piece that lies within one chunk is a view of
 * it; one that spans several is gathered in memory of its own. Neither is ever written to again, so pieces may be kept.
 */
export class ByteFeed {
  /** The piece last taken is `bytes[start, start + length)`. */
  bytes: Buffer = EMPTY;
  start = 0;
  private chunk: Buffer = EMPTY;
  private at = 0;
  private gathered: Buffer = EMPTY;
  private gatheredLength = 0;

  /** The next chunk; the last one must be used up. */
  push(chunk: Buffer): void {
    this.chunk = chunk;
    this.at = 0;
  }

  /**
   * Whether the next `length` bytes are there; if so they are passed over and found at `bytes` and `start`. If not, the
   * chunk is used up, and the same length must be asked for when more has come.
   */
  take(length: number): boolean {
    const available = this.chunk.length - this.at;
    if (this.gatheredLength === 0 && available >= length) {
      this.bytes = this.chunk;
      this.start = this.at;
      this.at += length;
      return true;
    }
    const moved = Math.min(length - this.gatheredLength, available);
    if (moved > 0) {
      this.makeRoom(this.gatheredLength + moved, length);
      this.chunk.copy(this.gathered, this.gatheredLength, this.at, this.at + moved);
      this.gatheredLength += moved;
      this.at += moved;
    }
    if (this.gatheredLength < length) return false;
    this.bytes = this.gathered;
    this.start = 0;
    this.gathered = EMPTY;
    this.gatheredLength = 0;
    return true;
  }

  /** What is left of the chunk, for somebody else to go on with. */
  rest(): Buffer {
    const rest = this.chunk.subarray(this.at);
    this.at = this.chunk.length;
    return rest;
  }

  private makeRoom(needed: number, whole: number): void {
    if (needed <= this.gathered.length) return;
    const size = whole <= EAGER_BYTES ? whole : Math.min(whole, Math.max(EAGER_BYTES, needed * 2));
    const larger = Buffer.allocUnsafeSlow(size);
    this.gathered.copy(larger, 0, 0, this.gatheredLength);
    this.gathered = larger;
  }
}
