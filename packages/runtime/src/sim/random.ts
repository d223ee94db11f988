import type { Prng } from '@etsd/base';
import type { Random } from '../random.ts';

export class SimRandom implements Random {
  private readonly prng: Prng;

  constructor(prng: Prng) {
    this.prng = prng;
  }

  u32(): number {
    return this.prng.u32();
  }

  float(): number {
    return this.prng.float();
  }

  bytes(length: number): Buffer {
    return this.prng.bytes(length);
  }
}
