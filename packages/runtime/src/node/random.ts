import { randomBytes, randomFillSync } from 'node:crypto';
import type { Random } from '../random.ts';

/** Random numbers are drawn in blocks: a call into the system for each would cost more than its use. */
const BLOCK_BYTES = 4096;

export class NodeRandom implements Random {
  private readonly block = Buffer.alloc(BLOCK_BYTES);
  private at = BLOCK_BYTES;

  u32(): number {
    if (this.at === BLOCK_BYTES) {
      randomFillSync(this.block);
      this.at = 0;
    }
    const value = this.block.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  float(): number {
    return this.u32() / 0x1_0000_0000;
  }

  bytes(length: number): Buffer {
    return randomBytes(length);
  }
}
