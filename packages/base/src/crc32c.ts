/**
 * CRC-32C (Castagnoli, polynomial 0x82f63b78 reflected), as in etcd's log and hashes. Eight tables, eight bytes a step:
 * about four times as fast as one table in V8.
 */
const TABLES = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  TABLES[byte] = crc;
}
for (let table = 1; table < 8; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const previous = TABLES[(table - 1) * 256 + byte] as number;
    TABLES[table * 256 + byte] = (previous >>> 8) ^ (TABLES[previous & 255] as number);
  }
}

/**
 * The checksum of `bytes[start, end)`, continued from `seed` (the checksum of what came before, 0 at the start).
 * Unsigned 32 bits.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  const t = TABLES;
  let crc = ~seed;
  let at = start;
  const bulk = end - 7;
  while (at < bulk) {
    const low =
      crc ^
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24));
    crc =
      (t[1792 + (low & 255)] as number) ^
      (t[1536 + ((low >>> 8) & 255)] as number) ^
      (t[1280 + ((low >>> 16) & 255)] as number) ^
      (t[1024 + (low >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
    at += 8;
  }
  while (at < end) {
    crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 255] as number);
    at++;
  }
  return ~crc >>> 0;
}
