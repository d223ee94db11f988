import { assert } from '@etsd/base';

/**
 * A revision is a pair: the main number counts transactions, the sub number the changes within one. On disk it is
 * 8 bytes main, '_', 8 bytes sub, all big-endian, so that the order of bytes is the order of revisions; the record of a
 * deletion has a 't' behind it.
 */
export const REVISION_BYTES = 17;
export const TOMBSTONE_BYTES = 18;

const UNDERSCORE = 0x5f;
const TOMBSTONE_MARK = 0x74;
const TWO_32 = 0x1_0000_0000;

/** Writes the 17 bytes of a revision to the start of `target`. */
export function writeRevision(target: Buffer, main: number, sub: number): void {
  writeU64(target, 0, main);
  target[8] = UNDERSCORE;
  writeU64(target, 9, sub);
}

/** The key of a record in bytes of its own. */
export function revisionKey(main: number, sub: number, isTombstone = false): Buffer {
  const key = Buffer.allocUnsafe(isTombstone ? TOMBSTONE_BYTES : REVISION_BYTES);
  writeRevision(key, main, sub);
  if (isTombstone) key[REVISION_BYTES] = TOMBSTONE_MARK;
  return key;
}

/** Two reusable keys, so that no record costs one. Valid until the next call. */
const putKey = Buffer.alloc(REVISION_BYTES);
const tombstoneKey = Buffer.alloc(TOMBSTONE_BYTES, TOMBSTONE_MARK);

export function sharedRevisionKey(main: number, sub: number, isTombstone: boolean): Buffer {
  const key = isTombstone ? tombstoneKey : putKey;
  writeRevision(key, main, sub);
  return key;
}

export function revisionMain(key: Buffer): number {
  return readU32(key, 0) * TWO_32 + readU32(key, 4);
}

export function revisionSub(key: Buffer): number {
  return readU32(key, 9) * TWO_32 + readU32(key, 13);
}

export function isTombstoneKey(key: Buffer): boolean {
  return key.length === TOMBSTONE_BYTES && key[REVISION_BYTES] === TOMBSTONE_MARK;
}

/** Whether these bytes have the shape of a record's key at all. */
export function isRevisionKey(key: Buffer): boolean {
  return key[8] === UNDERSCORE && (key.length === REVISION_BYTES || isTombstoneKey(key));
}

function writeU64(target: Buffer, offset: number, value: number): void {
  assert(value >= 0, 'revisions are not negative');
  const high = Math.floor(value / TWO_32);
  const low = value >>> 0;
  target[offset] = high >>> 24;
  target[offset + 1] = high >>> 16;
  target[offset + 2] = high >>> 8;
  target[offset + 3] = high;
  target[offset + 4] = low >>> 24;
  target[offset + 5] = low >>> 16;
  target[offset + 6] = low >>> 8;
  target[offset + 7] = low;
}

function readU32(source: Buffer, offset: number): number {
  return (
    (((source[offset] as number) << 24) |
      ((source[offset + 1] as number) << 16) |
      ((source[offset + 2] as number) << 8) |
      (source[offset + 3] as number)) >>>
    0
  );
}
