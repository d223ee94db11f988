import { crc32c } from '@etsd/base';
import { STORED_BUCKETS } from './buckets.ts';

/** Bytes of a digest in the file. */
const BYTES = 16;
const VERSION = 1;

/** What the checksum of a record begins with, by bucket. */
const SEEDS: readonly number[] = STORED_BUCKETS.map((name) => crc32c(Buffer.from(name)));

/**
 * A checksum over all records of a file, whatever their order: the sum of one number for each. LMDB's pages have no
 * checksums of their own, so a bit that flips in a value would be served; here it shows, since the sum is kept in the
 * file, written with each transaction, and compared with the records when the file is opened again.
 *
 * The numbers are CRC-32C of bucket, key and value, mixed: a plain CRC is linear, and two like flips would cancel out.
 */
export class StoreDigest {
  sum: number;
  records: number;

  constructor(sum = 0, records = 0) {
    this.sum = sum;
    this.records = records;
  }

  static decode(bytes: Buffer): StoreDigest | null {
    if (bytes.length !== BYTES || bytes.readUInt32LE(0) !== VERSION) return null;
    return new StoreDigest(bytes.readUInt32LE(4), bytes.readDoubleLE(8));
  }

  encode(): Buffer {
    const bytes = Buffer.alloc(BYTES);
    bytes.writeUInt32LE(VERSION, 0);
    bytes.writeUInt32LE(this.sum, 4);
    bytes.writeDoubleLE(this.records, 8);
    return bytes;
  }

  copy(): StoreDigest {
    return new StoreDigest(this.sum, this.records);
  }

  add(checksum: number): void {
    this.sum = (this.sum + checksum) >>> 0;
    this.records++;
  }

  remove(checksum: number): void {
    this.sum = (this.sum - checksum) >>> 0;
    this.records--;
  }

  equals(other: StoreDigest): boolean {
    return this.sum === other.sum && this.records === other.records;
  }
}

/** The number that stands for one record of a bucket. */
export function recordChecksum(
  bucket: number,
  key: Buffer,
  keyEnd: number,
  value: Uint8Array,
  start: number,
  end: number,
): number {
  let mixed = crc32c(value, start, end, crc32c(key, 0, keyEnd, SEEDS[bucket] as number));
  // The length too: bytes that move from a key to its value change nothing in the chain above.
  mixed = Math.imul(mixed ^ keyEnd, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
