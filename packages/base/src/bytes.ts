/**
 * Keys are one-byte (latin1) strings inside etsd: one character per byte, so that comparing strings orders exactly as
 * comparing bytes does, at half the cost (see docs/architecture.md). These helpers are the bridge to buffers and to
 * etcd's conventions for ranges.
 */
export type Key = string;

export const EMPTY = Buffer.alloc(0);

/** The key held in `bytes[start, end)`. */
export function keyFromBytes(bytes: Buffer, start = 0, end = bytes.length): Key {
  return bytes.toString('latin1', start, end);
}

/** The bytes of a key, in a buffer of their own. */
export function keyToBytes(key: Key): Buffer {
  return Buffer.from(key, 'latin1');
}

/** `range_end` of one zero byte: everything from the key on. */
export const OPEN_END: Key = '\0';

/** The smallest key above every key with this prefix, or `OPEN_END` where there is none (etcd's rule for prefixes). */
export function prefixEnd(prefix: Key): Key {
  let length = prefix.length;
  while (length > 0 && prefix.charCodeAt(length - 1) === 0xff) length--;
  if (length === 0) return OPEN_END;
  return prefix.slice(0, length - 1) + String.fromCharCode(prefix.charCodeAt(length - 1) + 1);
}

/** The smallest key above this one. */
export function successor(key: Key): Key {
  return `${key}\0`;
}

/**
 * Whether `candidate` lies in the range that etcd writes as (key, rangeEnd): an empty end is the single key, an end of
 * one zero byte is open, anything else is half-open.
 */
export function inRange(candidate: Key, key: Key, rangeEnd: Key): boolean {
  if (rangeEnd === '') return candidate === key;
  if (candidate < key) return false;
  return rangeEnd === OPEN_END || candidate < rangeEnd;
}

/** Whether the range (key, rangeEnd) can hold no key at all. */
export function isEmptyRange(key: Key, rangeEnd: Key): boolean {
  return rangeEnd !== '' && rangeEnd !== OPEN_END && key >= rangeEnd;
}
