/**
 * Whether a record that does not check is the unfinished write of a crash, or was changed later. A disk writes a sector
 * wholly or not at all, and a sector that was never written holds zeros throughout: so does one of a value of zeros, and
 * that one must not be taken for the end of the log when a byte of it rots.
 */
import { crc32c } from '@etsd/base';

/** What a disk writes wholly or not at all. */
export const SECTOR_BYTES = 512;

/** In larger records, chance would explain too many unfinished writes by one changed byte: there it must be one bit. */
const ANY_BYTE_MAX = 4096;

export function sectorEnd(position: number): number {
  return position - (position % SECTOR_BYTES) + SECTOR_BYTES;
}

/**
 * The first sector behind that of `position` with nothing but zeros, up to the one with the byte before `end`; or -1.
 * `bytes` begin at `position` and go to the end of that last sector, or of the file.
 */
export function unwrittenSector(bytes: Buffer, position: number, end: number): number {
  for (let sector = sectorEnd(position); sector < end; sector += SECTOR_BYTES) {
    if (isZero(bytes.subarray(sector - position, sector - position + SECTOR_BYTES))) return sector;
  }
  return -1;
}

export function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Checksums of one byte, and by its highest byte which one it is: all of them differ in that. */
const ONE_BYTE = new Uint32Array(256);
const BY_HIGHEST = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  ONE_BYTE[byte] = crc >>> 0;
  BY_HIGHEST[crc >>> 24] = byte;
}

/**
 * The byte which has to be changed, of `length` bytes of data or of the checksum kept with them, to make `found` into
 * `kept`: its place in the data, `length` for the checksum, −1 where no single byte does it. CRCs are linear, so the difference of the two does not depend on the data: it is that of a changed byte, moved on by a zero
 * for every byte behind it, and so is looked for backwards.
 */
export function changedByte(found: number, kept: number, length: number): number {
  let difference = (found ^ kept) >>> 0;
  for (let shift = 0; shift < 32; shift += 8) if ((difference & ~(0xff << shift)) === 0) return length;
  for (let left = length; left > 0; left--) {
    const changed = BY_HIGHEST[difference >>> 24] as number;
    const checksum = ONE_BYTE[changed] as number;
    if (checksum === difference && (length <= ANY_BYTE_MAX || isOneBit(changed))) return left - 1;
    difference = (((difference ^ checksum) << 8) | changed) >>> 0;
  }
  return -1;
}

function isOneBit(byte: number): boolean {
  return (byte & (byte - 1)) === 0;
}

/** What goes on behind a record: intact ones have the checksum of all before them, too. */
export function continues(crc: number, next: { readonly data: Buffer; readonly crc: number }): boolean {
  return crc32c(next.data, 0, next.data.length, crc) === next.crc;
}
