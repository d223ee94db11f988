import { huffmanEncode, huffmanSize } from './huffman.ts';
import { STATIC_COUNT, staticFieldIndex, staticNameIndex } from './table.ts';

/** What we use of the other side's table at most; also HPACK's initial value, so that no update needs to be sent. */
const TABLE_BYTES = 4096;

/**
 * HPACK encoding of one direction of one connection. Fields that will come again are *pinned*: put into the dynamic
 * table once and referred to by one byte afterwards. Everything else is sent without indexing, so the pinned ones never
 * move by anything but further pinning, and their index is a subtraction.
 */
export class Encoder {
  /** Pinned field (name, zero byte, value) → how many had been pinned before it. */
  private readonly pinned = new Map<string, number>();
  private pinnedBytes = 0;
  private tableBytes = TABLE_BYTES;
  /** Size updates owed at the start of the next block (RFC 7541 §4.2): the smallest in between, then the last; −1 none. */
  private updateLow = -1;
  private updateLast = -1;
  /** Changes whenever an index changes its meaning; pre-encoded blocks are good for one generation. */
  generation = 0;

  /** The other side's SETTINGS_HEADER_TABLE_SIZE. */
  setPeerTableSize(bytes: number): void {
    const size = Math.min(bytes, TABLE_BYTES);
    if (size === this.tableBytes) return;
    // Start over with an empty table: which entries survive a smaller one is not worth knowing.
    this.pinned.clear();
    this.pinnedBytes = 0;
    this.tableBytes = size;
    this.updateLow = 0;
    this.updateLast = size;
    this.generation++;
  }

  /** Must be called at the start of every block. At most `BLOCK_START_BYTES` are written. */
  begin(target: Buffer, offset: number): number {
    if (this.updateLow < 0) return offset;
    let at = writeInteger(target, offset, 0x20, 0x1f, this.updateLow);
    if (this.updateLast !== this.updateLow) at = writeInteger(target, at, 0x20, 0x1f, this.updateLast);
    this.updateLow = -1;
    this.updateLast = -1;
    this.generation++;
    return at;
  }

  /** Index of a pinned field, 0 where it is not in the table. */
  pinnedIndex(key: string): number {
    const before = this.pinned.get(key);
    return before === undefined ? 0 : STATIC_COUNT + this.pinned.size - before;
  }

  /** Writes one field; `pin` puts it into the table if there is room. Needs `fieldBound(name, value)` bytes at most. */
  field(target: Buffer, offset: number, name: string, value: string, pin: boolean): number {
    const fixed = staticFieldIndex(name, value);
    if (fixed !== 0) return writeInteger(target, offset, 0x80, 0x7f, fixed);
    const key = `${name}\0${value}`;
    const index = this.pinnedIndex(key);
    if (index !== 0) return writeInteger(target, offset, 0x80, 0x7f, index);
    const size = name.length + value.length + 32;
    if (pin && this.pinnedBytes + size <= this.tableBytes) {
      this.pinned.set(key, this.pinned.size);
      this.pinnedBytes += size;
      this.generation++;
      return writeLiteral(target, offset, 0x40, 0x3f, name, value);
    }
    return writeLiteral(target, offset, 0x00, 0x0f, name, value);
  }
}

/** Two size updates. */
export const BLOCK_START_BYTES = 8;

/** Upper bound of the bytes `Encoder.field` writes. */
export function fieldBound(name: string, value: string): number {
  return name.length + value.length + 12;
}

function writeLiteral(
  target: Buffer,
  offset: number,
  flags: number,
  mask: number,
  name: string,
  value: string,
): number {
  const nameIndex = staticNameIndex(name);
  let at = writeInteger(target, offset, flags, mask, nameIndex);
  if (nameIndex === 0) at = writeString(target, at, name);
  return writeString(target, at, value);
}

/** RFC 7541 §5.2; Huffman only where it is shorter. */
function writeString(target: Buffer, offset: number, text: string): number {
  const coded = huffmanSize(text);
  if (coded < text.length) {
    const at = writeInteger(target, offset, 0x80, 0x7f, coded);
    return huffmanEncode(text, target, at);
  }
  const at = writeInteger(target, offset, 0, 0x7f, text.length);
  return at + target.write(text, at, 'latin1');
}

/** RFC 7541 §5.1. */
function writeInteger(target: Buffer, offset: number, flags: number, mask: number, value: number): number {
  let at = offset;
  if (value < mask) {
    target[at++] = flags | value;
    return at;
  }
  target[at++] = flags | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}
