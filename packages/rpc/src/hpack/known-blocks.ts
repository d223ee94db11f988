import type { Decoder, HeaderBlock } from './decoder.ts';

/** A block decoded before, for one content of the dynamic table. */
class KnownBlock {
  readonly bytes: Buffer;
  readonly generation: number;
  readonly block: HeaderBlock;

  constructor(bytes: Buffer, generation: number, block: HeaderBlock) {
    this.bytes = bytes;
    this.generation = generation;
    this.block = block;
  }
}

const SLOTS = 16;
/** Longer blocks are not going to be repeated. */
const KNOWN_BYTES = 256;

/**
 * Decoding with a memory. Clients repeat the same few header blocks, a handful of bytes that refer to the dynamic table;
 * so do servers. A block that left the table as it was means the same again as long as the table has not changed: then
 * it is not decoded again, and the very same object is returned.
 */
export class KnownBlocks {
  private readonly decoder: Decoder;
  private readonly slots: (KnownBlock | null)[] = new Array<KnownBlock | null>(SLOTS).fill(null);

  constructor(decoder: Decoder) {
    this.decoder = decoder;
  }

  /** As `Decoder.decode`. */
  decode(bytes: Buffer, start: number, end: number): HeaderBlock | null {
    const length = end - start;
    if (length === 0 || length > KNOWN_BYTES) return this.decoder.decode(bytes, start, end);
    const generation = this.decoder.table.generation;
    const middle = bytes[start + (length >> 1)] as number;
    const slot = (length + 3 * (bytes[end - 1] as number) + middle) & (SLOTS - 1);
    const known = this.slots[slot] as KnownBlock | null;
    if (known !== null && known.generation === generation && sameBytes(known.bytes, bytes, start, length)) {
      return known.block;
    }
    const block = this.decoder.decode(bytes, start, end);
    if (block !== null && this.decoder.table.generation === generation) {
      this.slots[slot] = new KnownBlock(Buffer.from(bytes.subarray(start, end)), generation, block);
    }
    return block;
  }
}

function sameBytes(known: Buffer, bytes: Buffer, start: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
