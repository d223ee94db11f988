import { crc32c } from '@etsd/base';
import { STORED_BUCKETS } from './buckets.ts';

/** Bytes of a digest in the file. */
const BYTES = 16;
const VERSION = 2;

/** What the checksum of a record begins with, by bucket. */
const SEEDS: readonly number[] = STORED_BUCKETS.map((name) => crc32c(Buffer.from(name)) | 0);

/**
 * A checksum over all records of a file, whatever their order: the sum of one number for each. LMDB's pages have no
 * checksums of their own, so a bit that flips in a value would be served; here it shows, since the sum is kept in the
 * file, written with each transaction, and compared with the records when the file is opened again.
 *
 * The number of a record is made of its words by steps that can each be undone (exclusive or, multiplication by an odd
 * number, rotation), so that whatever changes within one word changes the number; other changes go unseen once in 2^32. A
 * CRC-32C would promise a little more, at four times the price, which every put pays: there is no instruction for it here.
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

/** Odd, with as many ones as zeros and no pattern. */
const P1 = 0x9e37_79b1;
const P2 = 0x85eb_ca77;
const P3 = 0xc2b2_ae3d;
/** What the lanes beside the first begin with. */
const LANE_B = 0x243f_6a88;
const LANE_C = 0x85a3_08d3 | 0;
const LANE_D = 0x1319_8a2e;
/** Bytes of a step of all lanes. */
const STEP_BYTES = 16;

/** Words are read through these; making one for each record would cost more than its checksum. */
let keyMemory: ArrayBufferLike | null = null;
let keyWords: DataView = new DataView(new ArrayBuffer(0));
let valueMemory: ArrayBufferLike | null = null;
let valueWords: DataView = keyWords;

/** The number that stands for one record of a bucket. */
export function recordChecksum(
  bucket: number,
  key: Buffer,
  keyEnd: number,
  value: Uint8Array,
  start: number,
  end: number,
): number {
  if (key.buffer !== keyMemory) {
    keyMemory = key.buffer;
    keyWords = new DataView(keyMemory);
  }
  if (value.buffer !== valueMemory) {
    valueMemory = value.buffer;
    valueWords = new DataView(valueMemory);
  }
  const seed = mixed(keyWords, key.byteOffset, key.byteOffset + keyEnd, SEEDS[bucket] as number);
  let hash = mixed(valueWords, value.byteOffset + start, value.byteOffset + end, seed);
  hash = Math.imul(hash ^ (hash >>> 15), P2);
  hash = Math.imul(hash ^ (hash >>> 13), P3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Four lanes where there is enough for them: their multiplications do not wait for each other. */
function mixed(words: DataView, start: number, end: number, seed: number): number {
  let at = start;
  let hash = seed;
  if (end - at >= STEP_BYTES) {
    let b = LANE_B;
    let c = LANE_C;
    let d = LANE_D;
    for (const last = end - STEP_BYTES; at <= last; at += STEP_BYTES) {
      hash = Math.imul(hash ^ words.getInt32(at, true), P1);
      b = Math.imul(b ^ words.getInt32(at + 4, true), P1);
      c = Math.imul(c ^ words.getInt32(at + 8, true), P1);
      d = Math.imul(d ^ words.getInt32(at + 12, true), P1);
      hash = (hash << 13) | (hash >>> 19);
      b = (b << 13) | (b >>> 19);
      c = (c << 13) | (c >>> 19);
      d = (d << 13) | (d >>> 19);
    }
    hash = step(step(step(hash, b), c), d);
  }
  for (; at + 4 <= end; at += 4) hash = step(hash, words.getInt32(at, true));
  let rest = 0;
  for (; at < end; at++) rest = (rest << 8) | words.getUint8(at);
  // With the length: zeros at the end would not count otherwise, nor bytes that move from a key to its value.
  return step(step(hash, rest), end - start);
}

function step(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, P2);
  return (product << 17) | (product >>> 15);
}
