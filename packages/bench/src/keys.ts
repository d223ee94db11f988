import { Prng } from '@etsd/base';

/**
 * Keys of a fixed length over a bounded space: a number, written from the end in the bytes of a printable alphabet, so
 * that the number of a key and its place in a request can be had without making a string.
 */
const FILL = 0x2f; // '/'
const FIRST = 0x30;

export class KeySpace {
  readonly size: number;
  readonly keySize: number;
  private readonly sequential: boolean;
  private readonly random: Prng;
  private at = 0;

  constructor(size: number, keySize: number, sequential: boolean, seed = 1) {
    this.size = Math.max(1, size);
    this.keySize = Math.max(1, keySize);
    this.sequential = sequential;
    this.random = new Prng(seed);
  }

  /** The number of the next key. */
  next(): number {
    if (!this.sequential) return this.random.below(this.size);
    const number = this.at;
    this.at = number + 1 === this.size ? 0 : number + 1;
    return number;
  }

  /** Writes key `number` at `offset`. */
  write(target: Buffer, offset: number, number: number): void {
    let rest = number;
    for (let index = offset + this.keySize - 1; index >= offset; index--) {
      if (rest === 0 && index < offset + this.keySize - 1) {
        target[index] = FILL;
      } else {
        target[index] = FIRST + (rest & 63);
        rest = Math.floor(rest / 64);
      }
    }
  }

  key(number: number): Buffer {
    const key = Buffer.alloc(this.keySize);
    this.write(key, 0, number);
    return key;
  }
}
