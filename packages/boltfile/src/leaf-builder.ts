import type { RecordPlace } from '@etsd/base';
import { ELEMENT, LEAF, PAGE_HEADER, writePageHeader } from './page.ts';

const INITIAL_BYTES = 64 * 1024;
/** A buffer that grew beyond this for a large value is given back. */
const KEPT_BYTES = 1024 * 1024;

/** Gathers the elements of one leaf. Keys must ascend. One that only measures keeps their sizes and the first key. */
export class LeafBuilder {
  count = 0;
  private readonly pageSize: number;
  private readonly onlyMeasures: boolean;
  private readonly keySizes: number[] = [];
  private readonly valueSizes: number[] = [];
  private readonly flags: number[] = [];
  private data: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  private dataBytes = 0;

  constructor(pageSize: number, onlyMeasures = false) {
    this.pageSize = pageSize;
    this.onlyMeasures = onlyMeasures;
  }

  /** Bytes of the page. */
  get size(): number {
    return PAGE_HEADER + this.count * ELEMENT + this.dataBytes;
  }

  /** Whether one more element of so many bytes fits on the page; the first always does, with as much overflow as it takes. */
  fits(bytes: number): boolean {
    return this.count === 0 || this.size + ELEMENT + bytes <= this.pageSize;
  }

  add(key: Buffer, value: Buffer, flags: number): void {
    const keySize = key.length;
    const valueSize = value.length;
    const end = this.dataBytes + keySize + valueSize;
    if (!this.onlyMeasures) {
      if (end > this.data.length) this.grow(end);
      this.data.set(key, this.dataBytes);
      this.data.set(value, this.dataBytes + keySize);
    } else if (this.count === 0) {
      if (keySize > this.data.length) this.grow(keySize);
      this.data.set(key, 0);
    }
    this.added(keySize, valueSize, flags);
  }

  /** The same of a record, without a view of it. */
  addPlace({ bytes, keyStart, keyEnd, value, valueStart, valueEnd }: RecordPlace): void {
    const keySize = keyEnd - keyStart;
    const valueSize = valueEnd - valueStart;
    const start = this.dataBytes;
    const end = start + keySize + valueSize;
    if (!this.onlyMeasures) {
      if (end > this.data.length) this.grow(end);
      if (value === bytes && valueStart === keyEnd) bytes.copy(this.data, start, keyStart, valueEnd);
      else {
        bytes.copy(this.data, start, keyStart, keyEnd);
        value.copy(this.data, start + keySize, valueStart, valueEnd);
      }
    } else if (this.count === 0) {
      if (keySize > this.data.length) this.grow(keySize);
      bytes.copy(this.data, 0, keyStart, keyEnd);
    }
    this.added(keySize, valueSize, 0);
  }

  private added(keySize: number, valueSize: number, flags: number): void {
    this.keySizes[this.count] = keySize;
    this.valueSizes[this.count] = valueSize;
    this.flags[this.count] = flags;
    this.dataBytes += keySize + valueSize;
    this.count++;
  }

  private grow(bytes: number): void {
    const data = Buffer.allocUnsafeSlow(Math.max(bytes, this.data.length * 2));
    data.set(this.data.subarray(0, this.dataBytes));
    this.data = data;
  }

  /** A copy. */
  firstKey(): Buffer {
    return Buffer.from(this.data.subarray(0, this.keySizes[0]));
  }

  /** Writes `size` bytes at `offset`. */
  writeTo(target: Buffer, offset: number, page: number, overflow: number): void {
    if (this.onlyMeasures) return;
    writePageHeader(target, offset, page, LEAF, this.count, overflow);
    const dataStart = offset + PAGE_HEADER + this.count * ELEMENT;
    let data = dataStart;
    let element = offset + PAGE_HEADER;
    for (let index = 0; index < this.count; index++) {
      const keySize = this.keySizes[index] as number;
      const valueSize = this.valueSizes[index] as number;
      target.writeUInt32LE(this.flags[index] as number, element);
      target.writeUInt32LE(data - element, element + 4);
      target.writeUInt32LE(keySize, element + 8);
      target.writeUInt32LE(valueSize, element + 12);
      data += keySize + valueSize;
      element += ELEMENT;
    }
    target.set(this.data.subarray(0, this.dataBytes), dataStart);
  }

  clear(): void {
    this.count = 0;
    this.dataBytes = 0;
    if (this.data.length > KEPT_BYTES) this.data = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }
}
