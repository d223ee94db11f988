import { type Key, keyFromBytes } from '@etsd/base';
import { writeLatin1 } from '@etsd/proto';

/**
 * The bytes of all keys, outside the heap: a million strings would be a hundred megabytes that every full collection of
 * garbage has to go through, which holds the event loop for tens of milliseconds.
 *
 * A key lies in a slab, behind two bytes with its length, in a block of whole units of 8 bytes. Its address is the number
 * of its first unit, counted over all slabs. Blocks that were given up are chained by their size, through their first
 * bytes. Keys too long for that are few and have buffers of their own; their addresses are negative.
 */
const UNIT_BITS = 3;
const SLAB_BITS = 18;
const SLAB_BYTES = 1 << SLAB_BITS;
const SLAB_UNITS_BITS = SLAB_BITS - UNIT_BITS;
const UNITS_MASK = (1 << SLAB_UNITS_BITS) - 1;
const LENGTH_BYTES = 2;
/** Longer ones stand apart: they must fit a slab many times. */
const POOLED_BYTES_MAX = 4096;
const CLASSES = ((LENGTH_BYTES + POOLED_BYTES_MAX) >> UNIT_BITS) + 1;
const NONE = -1;

export class KeyPool {
  private readonly slabs: Buffer[] = [];
  private used = SLAB_BYTES;
  /** By size in units, less one: the address of the first free block. */
  private readonly free = new Int32Array(CLASSES).fill(NONE);
  /** Long keys; the first has the address −1. */
  private readonly longs: (Buffer | null)[] = [];
  private readonly freeLongs: number[] = [];

  // Where the key last looked at lies.
  private bytes: Buffer = Buffer.alloc(0);
  private start = 0;
  private length = 0;

  /** Keeps a key and returns its address. */
  add(key: Key): number {
    const length = key.length;
    if (length > POOLED_BYTES_MAX) return this.addLong(key);
    const address = this.take(unitsOf(length));
    const bytes = this.slabs[address >> SLAB_UNITS_BITS] as Buffer;
    const at = (address & UNITS_MASK) << UNIT_BITS;
    bytes[at] = length;
    bytes[at + 1] = length >> 8;
    writeLatin1(bytes, at + LENGTH_BYTES, key);
    return address;
  }

  private addLong(key: Key): number {
    const bytes = Buffer.from(key, 'latin1');
    const free = this.freeLongs.pop();
    if (free !== undefined) {
      this.longs[free] = bytes;
      return -1 - free;
    }
    return -this.longs.push(bytes);
  }

  private take(units: number): number {
    const free = this.free[units - 1] as number;
    if (free !== NONE) {
      const bytes = this.slabs[free >> SLAB_UNITS_BITS] as Buffer;
      this.free[units - 1] = bytes.readInt32LE((free & UNITS_MASK) << UNIT_BITS);
      return free;
    }
    const size = units << UNIT_BITS;
    if (this.used + size > SLAB_BYTES) {
      this.slabs.push(Buffer.allocUnsafeSlow(SLAB_BYTES));
      this.used = 0;
    }
    const address = ((this.slabs.length - 1) << SLAB_UNITS_BITS) + (this.used >> UNIT_BITS);
    this.used += size;
    return address;
  }

  /** Forgets the key at an address. */
  remove(address: number): void {
    if (address < 0) {
      this.longs[-1 - address] = null;
      this.freeLongs.push(-1 - address);
      return;
    }
    this.locate(address);
    const units = unitsOf(this.length);
    this.bytes.writeInt32LE(this.free[units - 1] as number, this.start - LENGTH_BYTES);
    this.free[units - 1] = address;
  }

  private locate(address: number): void {
    if (address < 0) {
      const bytes = this.longs[-1 - address] as Buffer;
      this.bytes = bytes;
      this.start = 0;
      this.length = bytes.length;
      return;
    }
    const bytes = this.slabs[address >> SLAB_UNITS_BITS] as Buffer;
    const at = (address & UNITS_MASK) << UNIT_BITS;
    this.bytes = bytes;
    this.start = at + LENGTH_BYTES;
    this.length = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  }

  get(address: number): Key {
    this.locate(address);
    return keyFromBytes(this.bytes, this.start, this.start + this.length);
  }

  equals(address: number, key: Key): boolean {
    this.locate(address);
    const { bytes, start, length } = this;
    if (length !== key.length) return false;
    // Neighbours differ in their ends.
    for (let i = length - 1; i >= 0; i--) if (bytes[start + i] !== key.charCodeAt(i)) return false;
    return true;
  }

  /** Below, at or above zero as the key at the address is below, equal to or above `key`; both share `skip` bytes. */
  compare(address: number, key: Key, skip: number): number {
    this.locate(address);
    const { bytes, start, length } = this;
    const end = length < key.length ? length : key.length;
    for (let i = skip; i < end; i++) {
      const difference = (bytes[start + i] as number) - key.charCodeAt(i);
      if (difference !== 0) return difference;
    }
    return length - key.length;
  }

  /** The four bytes behind the first `skip` as a signed number that orders as they do; missing ones count as zero. */
  head(address: number, skip: number): number {
    this.locate(address);
    const { bytes, start, length } = this;
    let head = 0;
    const count = Math.min(4, length - skip);
    for (let i = 0; i < count; i++) head |= (bytes[start + skip + i] as number) << (24 - 8 * i);
    return head ^ SIGN;
  }
}

const SIGN = 1 << 31;

function unitsOf(length: number): number {
  return (LENGTH_BYTES + length + (1 << UNIT_BITS) - 1) >> UNIT_BITS;
}
