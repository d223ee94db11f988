/** Which keys a request means, and how it wants to see them. */
import { badRequest } from './problem.ts';
import type { Question } from './question.ts';
import { prefixEndOf } from './render.ts';

/** Revisions are numbers in JSON: this is the last that one holds. */
export const REVISION_MAX = Number.MAX_SAFE_INTEGER;

/** A range of keys, the end not included; an end of one zero byte is that of all keys. */
export interface KeySpan {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
}

const FIRST = Buffer.from([0]);
const NO_END = Buffer.from([0]);

/** What `prefix`, or `from` and `to`, choose; everything where none is given. */
export function spanOf({ query }: Question): KeySpan {
  const prefix = query.bytes('prefix');
  if (prefix !== undefined) {
    if (query.has('from') || query.has('to')) throw badRequest('prefix excludes from and to');
    return prefix.length === 0 ? { key: FIRST, rangeEnd: NO_END } : { key: prefix, rangeEnd: prefixEndOf(prefix) };
  }
  const from = query.bytes('from') ?? FIRST;
  const to = query.bytes('to') ?? NO_END;
  return { key: from.length === 0 ? FIRST : from, rangeEnd: to.length === 0 ? NO_END : to };
}

/** Whether all bytes shall come as base64, be they text or not. */
export function wantsBase64({ query }: Question): boolean {
  const encoding = query.text('encoding') ?? 'text';
  if (encoding !== 'text' && encoding !== 'base64') throw badRequest(`encoding is text or base64, not ${encoding}`);
  return encoding === 'base64';
}
