/** Keys and values as people read them: text where they are UTF-8, base64 under another name where not. */
import { type U64, U64_ZERO, u64FromDecimal, u64ToSignedDecimal } from '@etsd/base';
import type { KeyValue } from '@etsd/proto';
import { badRequest } from './problem.ts';

/** Sets `NAME` to the text that the bytes are, or `NAME_base64` where they are none or `forced`. */
export function setBytes(target: Record<string, unknown>, name: string, bytes: Buffer, forced = false): void {
  const text = forced ? null : textOf(bytes);
  if (text === null) target[`${name}_base64`] = bytes.toString('base64');
  else target[name] = text;
}

/** UTF-8, or null. */
export function textOf(bytes: Buffer): string | null {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : null;
}

export interface ShownKey {
  [name: string]: unknown;
  create_revision: number;
  mod_revision: number;
  version: number;
  lease?: string;
}

export function showKey(kv: KeyValue, options: { base64: boolean; withValue: boolean }): ShownKey {
  const shown: Record<string, unknown> = {};
  setBytes(shown, 'key', kv.key, options.base64);
  if (options.withValue) setBytes(shown, 'value', kv.value, options.base64);
  shown['create_revision'] = kv.createRevision;
  shown['mod_revision'] = kv.modRevision;
  shown['version'] = kv.version;
  if (kv.lease !== U64_ZERO) shown['lease'] = showLease(kv.lease);
  return shown as ShownKey;
}

/** Ids go as text: in the numbers of JSON the lower digits of most would be lost. */
export function showLease(id: U64): string {
  return u64ToSignedDecimal(id);
}

export function readLease(text: string): U64 {
  const id = /^-?\d{1,19}$/.test(text) ? u64FromDecimal(text) : undefined;
  if (id === undefined) throw badRequest(`${text} is no lease id: these are decimal numbers`);
  return id;
}

/** The first key behind all that begin with this; `\0`, the end of all keys, where there is none. */
export function prefixEndOf(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return Buffer.from([0]);
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] as number) + 1;
  return end;
}
