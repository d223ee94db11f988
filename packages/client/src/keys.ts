import { EMPTY, keyFromBytes, keyToBytes, prefixEnd } from '@etsd/base';

/** Text (as UTF-8) or bytes. */
export type Bytes = string | Uint8Array;

/** Keys from `key` up to, but not including, `rangeEnd`; in etcd's convention for both. */
export interface KeyRange {
  readonly key: Buffer;
  /** Empty for the one key; one zero byte for no end. */
  readonly rangeEnd: Buffer;
}

const ZERO = Buffer.from([0]);

/** Throws `TypeError` for anything else, which only a program without types can pass. */
export function toBytes(bytes: Bytes): Buffer {
  if (typeof bytes === 'string') return Buffer.from(bytes, 'utf8');
  if (Buffer.isBuffer(bytes)) return bytes;
  if (!ArrayBuffer.isView(bytes)) {
    throw new TypeError(`keys and values are text or bytes; this is ${bytes === null ? 'null' : typeof bytes}`);
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One key, or the range itself. */
export function toRange(keys: Bytes | KeyRange): KeyRange {
  if (typeof keys === 'object' && keys !== null && 'rangeEnd' in keys) return keys;
  return { key: toBytes(keys), rangeEnd: EMPTY };
}

/** All keys that begin with this; with an empty prefix, all keys. */
export function prefix(text: Bytes): KeyRange {
  const key = toBytes(text);
  if (key.length === 0) return { key: ZERO, rangeEnd: ZERO };
  return { key, rangeEnd: keyToBytes(prefixEnd(keyFromBytes(key))) };
}

/** This key and all behind it. */
export function from(start: Bytes): KeyRange {
  const key = toBytes(start);
  return { key: key.length === 0 ? ZERO : key, rangeEnd: ZERO };
}

/** From the first key up to, but not including, the second. */
export function between(start: Bytes, end: Bytes): KeyRange {
  return { key: toBytes(start), rangeEnd: toBytes(end) };
}
