import { huffmanDecode } from './huffman.ts';
import { DynamicTable, Field, STATIC_COUNT, STATIC_TABLE } from './table.ts';

/** The fields of one header block in the order they came. */
export class HeaderBlock {
  readonly fields: Field[] = [];
  /** Sum of the fields' sizes (RFC 9113 §6.5.2: octets plus 32 each), of those beyond the limits too. */
  size = 0;
  /** The list or its length went over the limit; `fields` holds only what fitted. */
  tooLarge = false;
  /** What the block's reader made of it (a request, a response); kept so that a repeated block is read once. */
  meaning: unknown = null;
}

export interface DecoderLimits {
  /** Bytes of the list as RFC 9113 §6.5.2 counts them. */
  readonly headerListBytes: number;
  /** Number of fields, because 32 bytes of overhead are less than what a field costs here. */
  readonly headerFields: number;
}

/** RFC 7541 integers above this mean an attack or a defect; four continuation bytes hold them. */
const MAX_INTEGER = 0x0fff_ffff;

/**
 * HPACK decoding of one direction of one connection. A block over the limits is still decoded to its end, because the
 * table must stay in step with the other side, but nothing more is kept of it.
 */
export class Decoder {
  readonly table: DynamicTable;
  private readonly limits: DecoderLimits;
  /** What our SETTINGS_HEADER_TABLE_SIZE allows the other side. */
  private readonly tableSizeLimit: number;
  private bytes: Buffer = EMPTY_BYTES;
  private at = 0;
  private end = 0;
  private failed = false;

  constructor(limits: DecoderLimits, tableSizeLimit: number) {
    this.limits = limits;
    this.tableSizeLimit = tableSizeLimit;
    this.table = new DynamicTable(tableSizeLimit);
  }

  /** Decodes a whole block. Null: it is not HPACK, which ends the connection (COMPRESSION_ERROR). */
  decode(bytes: Buffer, start: number, end: number): HeaderBlock | null {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.failed = false;
    const block = new HeaderBlock();
    let sizeUpdateAllowed = true; // RFC 7541 §4.2: only at the beginning of a block
    while (this.at < end && !this.failed) {
      const first = bytes[this.at] as number;
      if ((first & 0xe0) === 0x20) {
        if (!sizeUpdateAllowed) return null;
        this.resizeTable();
        continue;
      }
      sizeUpdateAllowed = false;
      const field = first >= 0x80 ? this.indexed() : this.literal(first);
      if (field === null) return null;
      this.add(block, field);
    }
    this.bytes = EMPTY_BYTES;
    return this.failed ? null : block;
  }

  private add(block: HeaderBlock, field: Field): void {
    block.size += field.size;
    if (block.size > this.limits.headerListBytes || block.fields.length >= this.limits.headerFields) {
      block.tooLarge = true;
    } else block.fields.push(field);
  }

  private resizeTable(): void {
    const size = this.integer(0x1f);
    if (size > this.tableSizeLimit) this.failed = true;
    else if (!this.failed) this.table.resize(size);
  }

  private indexed(): Field | null {
    const index = this.integer(0x7f);
    if (this.failed || index === 0) return null;
    return index <= STATIC_COUNT ? (STATIC_TABLE[index] as Field) : this.table.at(index - STATIC_COUNT - 1);
  }

  private literal(first: number): Field | null {
    const indexing = (first & 0xc0) === 0x40;
    const nameIndex = this.integer(indexing ? 0x3f : 0x0f);
    if (this.failed) return null;
    let name: string;
    if (nameIndex === 0) name = this.string();
    else {
      const field =
        nameIndex <= STATIC_COUNT ? (STATIC_TABLE[nameIndex] as Field) : this.table.at(nameIndex - STATIC_COUNT - 1);
      if (field === null) return null;
      name = field.name;
    }
    const value = this.string();
    if (this.failed) return null;
    const field = new Field(name, value);
    if (indexing) this.table.insert(field);
    return field;
  }

  /** RFC 7541 §5.1; the prefix mask tells how many bits of the first byte belong to the integer. */
  private integer(mask: number): number {
    const bytes = this.bytes;
    let value = (bytes[this.at++] as number) & mask;
    if (value < mask) return value;
    let shift = 0;
    for (;;) {
      if (this.at >= this.end || shift > 21) {
        this.failed = true;
        return 0;
      }
      const byte = bytes[this.at++] as number;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) break;
      shift += 7;
    }
    if (value > MAX_INTEGER) this.failed = true;
    return value;
  }

  private string(): string {
    if (this.at >= this.end) {
      this.failed = true;
      return '';
    }
    const huffman = (this.bytes[this.at] as number) >= 0x80;
    const length = this.integer(0x7f);
    const start = this.at;
    if (this.failed || length > this.end - start) {
      this.failed = true;
      return '';
    }
    this.at = start + length;
    if (!huffman) return this.bytes.toString('latin1', start, start + length);
    const text = huffmanDecode(this.bytes, start, start + length, 8 * length);
    if (text === null) this.failed = true;
    return text ?? '';
  }
}

const EMPTY_BYTES = Buffer.alloc(0);
