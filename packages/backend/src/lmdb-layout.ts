/** Sizes, places, flags and numbers in a file of LMDB (data version 2); drawn in `lmdb-reader.ts`. */

const TWO_32 = 0x1_0000_0000;

/** Of a page. */
export const HEAD_BYTES = 24;
/** Of a record in a page. */
export const NODE_HEAD_BYTES = 8;
/** Of the description of a table. */
export const TABLE_BYTES = 48;
/** Where the pages of a large value are: first page, transaction, number. */
export const PLACE_BYTES = 24;
/** From the beginning of a first page to the number of the last page. */
export const META_LAST_PAGE: number = HEAD_BYTES + 120;

/** Kinds of pages. */
export const BRANCH = 1;
export const LEAF = 2;
export const OVERFLOW = 4;
export const META = 8;

/** Kinds of records: in pages of its own, the description of a table. */
export const NODE_BIG = 1;
export const NODE_TABLE = 2;

/** Of the engine's own table. */
export const SYSTEM_TABLE = 'etsd';
export const FORMAT_KEY = 'format';
export const DIGEST_KEY = 'digest';

export function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + TWO_32 * bytes.readUInt32LE(at + 4);
}

export function i64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + TWO_32 * bytes.readInt32LE(at + 4);
}
