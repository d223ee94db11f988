import { randomBytes, randomFillSync } from 'node:crypto';
import type { Random } from '../random.ts';

/** Random numbers are drawn in blocks: a call into the system for each would cost more than its use. */
const BLOCK_BYTES = 4096;
/** More than this is drawn for itself. */
const SHORT_BYTES = 64;

export class NodeRandom implements Random {
  private readonly block = Buffer.alloc(BLOCK_BYTES);
  private at = BLOCK_BYTES;

  u32(): number {
    this.refill(4);
    const value = this.block.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  float(): number {
    return this.u32() / 0x1_0000_0000;
  }

  bytes(length: number): Buffer {
    if (length > SHORT_BYTES) return randomBytes(length);
    this.refill(length);
    const end = this.at + length;
    const bytes = Buffer.alloc(length);
    this.block.copy(bytes, 0, this.at, end);
    // What becomes a secret stands nowhere else.
    this.block.fill(0, this.at, end);
    this.at = end;
    return bytes;
  }

  private refill(length: number): void {
    if (this.at + length <= BLOCK_BYTES) return;
    randomFillSync(this.block);
    this.at = 0;
  }
}
