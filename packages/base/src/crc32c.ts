/**
 * CRC-32C (Castagnoli, polynomial 0x82f63b78 reflected), as in etcd's log and hashes. Sixteen tables, sixteen bytes a
 * step, read as words: about seven times as fast as one table in V8.
 */
const STEP = 16;
const TABLES = new Int32Array(STEP * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  TABLES[byte] = crc;
}
for (let table = 1; table < STEP; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const previous = TABLES[(table - 1) * 256 + byte] as number;
    TABLES[table * 256 + byte] = (previous >>> 8) ^ (TABLES[previous & 255] as number);
  }
}

/** Words are read through a view of the memory that was looked at last: making one costs as much as a small checksum. */
let memory: ArrayBufferLike | null = null;
let words: DataView = new DataView(new ArrayBuffer(0));
/** Fewer bytes of other memory are read as they are. */
const WORTH_A_VIEW = 96;

/**
 * The checksum of `bytes[start, end)`, continued from `seed` (the checksum of what came before, 0 at the start).
 * Unsigned 32 bits.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  if (bytes.buffer !== memory) {
    if (end - start < WORTH_A_VIEW) return byByte(bytes, start, end, seed);
    memory = bytes.buffer;
    words = new DataView(memory);
  }
  const t = TABLES;
  const w = words;
  let crc = ~seed;
  let at = bytes.byteOffset + start;
  const stop = bytes.byteOffset + end;
  for (const last = stop - STEP; at <= last; at += STEP) {
    const a = crc ^ w.getInt32(at, true);
    const b = w.getInt32(at + 4, true);
    const c = w.getInt32(at + 8, true);
    const d = w.getInt32(at + 12, true);
    crc =
      (t[3840 + (a & 255)] as number) ^
      (t[3584 + ((a >>> 8) & 255)] as number) ^
      (t[3328 + ((a >>> 16) & 255)] as number) ^
      (t[3072 + (a >>> 24)] as number) ^
      (t[2816 + (b & 255)] as number) ^
      (t[2560 + ((b >>> 8) & 255)] as number) ^
      (t[2304 + ((b >>> 16) & 255)] as number) ^
      (t[2048 + (b >>> 24)] as number) ^
      (t[1792 + (c & 255)] as number) ^
      (t[1536 + ((c >>> 8) & 255)] as number) ^
      (t[1280 + ((c >>> 16) & 255)] as number) ^
      (t[1024 + (c >>> 24)] as number) ^
      (t[768 + (d & 255)] as number) ^
      (t[512 + ((d >>> 8) & 255)] as number) ^
      (t[256 + ((d >>> 16) & 255)] as number) ^
      (t[d >>> 24] as number);
  }
  for (; at < stop; at++) crc = (crc >>> 8) ^ (t[(crc ^ w.getUint8(at)) & 255] as number);
  return ~crc >>> 0;
}

function byByte(bytes: Uint8Array, start: number, end: number, seed: number): number {
  const t = TABLES;
  let crc = ~seed;
  for (let at = start; at < end; at++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 255] as number);
  return ~crc >>> 0;
}

/** The polynomial, and x^8 in the same order of bits: the highest coefficient is the lowest bit. */
const POLYNOMIAL = 0x82f63b78 | 0;
const X_8 = 0x00800000;
const X_0 = 0x80000000 | 0;

/** The product of two polynomials modulo ours. */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) sum ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return sum;
}

/**
 * The checksum of two things one behind the other out of those of each, the second of which has `length` bytes: so that
 * several threads can take parts of one checksum.
 */
export function crc32cJoined(first: number, second: number, length: number): number {
  let power = X_8;
  let shift = X_0;
  for (let left = length; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = product(power, shift);
    power = product(power, power);
  }
  return (product(shift, first) ^ second) >>> 0;
}
