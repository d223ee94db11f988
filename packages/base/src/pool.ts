import { assert, isChecked } from './assert.ts';

/**
 * Buffers by size class (powers of two), taken and given back by hand. In checked mode a released buffer is overwritten,
 * so that whoever still reads it fails at once instead of now and then.
 */
export class BufferPool {
  private readonly classes: Buffer[][] = [];
  private readonly minimumBits: number;
  private readonly maximumBits: number;
  private readonly keepPerClass: number;

  constructor(minimumBytes: number, maximumBytes: number, keepPerClass: number) {
    this.minimumBits = Math.ceil(Math.log2(minimumBytes));
    this.maximumBits = Math.ceil(Math.log2(maximumBytes));
    this.keepPerClass = keepPerClass;
    for (let bits = this.minimumBits; bits <= this.maximumBits; bits++) this.classes.push([]);
  }

  /** A buffer of at least `bytes` bytes with unspecified content. One above the largest class is allocated apart. */
  take(bytes: number): Buffer {
    const bits = Math.max(this.minimumBits, 32 - Math.clz32(Math.max(0, bytes - 1)));
    const free = this.classes[bits - this.minimumBits];
    if (free === undefined) return Buffer.allocUnsafeSlow(bytes);
    return free.pop() ?? Buffer.allocUnsafeSlow(2 ** bits);
  }

  /** Gives a buffer back; its content is undefined from here on. */
  release(buffer: Buffer): void {
    if (isChecked()) buffer.fill(0xcc);
    const bits = Math.log2(buffer.length);
    if (!Number.isInteger(bits) || bits < this.minimumBits || bits > this.maximumBits) return;
    const free = this.classes[bits - this.minimumBits] as Buffer[];
    if (isChecked()) assert(!free.includes(buffer), 'a buffer was released twice');
    if (free.length < this.keepPerClass) free.push(buffer);
  }
}
