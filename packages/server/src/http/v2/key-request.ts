import { type U64, U64_ZERO } from '@etsd/base';
import { V2Request } from '@etsd/proto';
import { KEYS_ROOT, momentOf } from '@etsd/state';
import { V2Error } from './errors.ts';
import type { Form } from './form.ts';

/** Bytes of a key's path, and directories it lies in: each becomes a node, with its path. Not in etcd. */
export const PATH_BYTES_MAX = 8192;
export const PATH_DEPTH_MAX = 256;

const TRUE: readonly string[] = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE: readonly string[] = ['0', 'f', 'F', 'FALSE', 'false', 'False'];
const UINT64_MAX = '18446744073709551615';

/** What a request on a key asks for. */
export interface KeyRequest {
  /** From the root of the keys: `/a/b`. */
  readonly path: string;
  readonly isRecursive: boolean;
  readonly isQuorum: boolean;
  readonly isWait: boolean;
  readonly isStream: boolean;
  /** 0: from now on. */
  readonly waitIndex: number;
  readonly isValueLeftOut: boolean;
  /** For the log; its id is still to be set. */
  readonly entry: V2Request;
}

/** Reads it; throws a `V2Error`. The order of the checks is that of etcd, which shows where several things are wrong. */
export function readKeyRequest(method: string, path: string, form: Form, nowMs: number): KeyRequest {
  if (form.error !== '') throw new V2Error(210, form.error);
  checkPath(path);
  const prevIndex = indexOf(form, 'prevIndex');
  const waitIndex = indexOf(form, 'waitIndex');
  const isRecursive = flagOf(form, 'recursive');
  const isSorted = flagOf(form, 'sorted');
  const isWait = flagOf(form, 'wait');
  const isDir = flagOf(form, 'dir');
  const isQuorum = flagOf(form, 'quorum');
  const isStream = flagOf(form, 'stream');
  if (isWait && method !== 'GET') throw new V2Error(209, '"wait" can only be used with GET requests');
  const prevValue = form.get('prevValue');
  if (prevValue === '') throw new V2Error(201, '"prevValue" cannot be empty');
  const isValueLeftOut = flagOf(form, 'noValueOnSuccess');
  const ttl = ttlOf(form);
  const prevExist = choiceOf(form, 'prevExist');
  const refresh = choiceOf(form, 'refresh');
  const value = form.get('value') ?? '';
  if (refresh === true) {
    if (value !== '') throw new V2Error(211, 'A value was provided on a refresh');
    if (ttl === null) throw new V2Error(212, 'No TTL value set');
  }
  const entry = V2Request.create({
    method,
    path: path === '/' ? KEYS_ROOT : KEYS_ROOT + path,
    val: value,
    dir: isDir,
    prevValue: prevValue ?? '',
    prevIndex,
    prevExist,
    expiration: ttl === null ? U64_ZERO : expirationOf(ttl, nowMs),
    recursive: isRecursive,
    sorted: isSorted,
    quorum: isQuorum,
    stream: isStream,
    refresh,
  });
  return { path, isRecursive, isQuorum, isWait, isStream, waitIndex, isValueLeftOut, entry };
}

function checkPath(path: string): void {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new V2Error(210, `the path of a key has at most ${PATH_BYTES_MAX} bytes`);
  }
  if (path.split('/').length - 1 > PATH_DEPTH_MAX) {
    throw new V2Error(210, `the path of a key has at most ${PATH_DEPTH_MAX} parts`);
  }
}

/** A 64-bit number without sign; what a double can not hold becomes the largest that it can, which no index ever is. */
function numberOf(text: string): number | null {
  if (!/^\d+$/.test(text)) return null;
  const digits = text.replace(/^0+(?=\d)/, '');
  const isTooLong = digits.length > UINT64_MAX.length || (digits.length === UINT64_MAX.length && digits > UINT64_MAX);
  return isTooLong ? null : Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}

function indexOf(form: Form, name: string): number {
  const text = form.get(name);
  const number = text === undefined ? 0 : numberOf(text);
  if (number === null) throw new V2Error(203, `invalid value for "${name}"`);
  return number;
}

/** Seconds; null where there is to be no end. */
function ttlOf(form: Form): number | null {
  const text = form.get('ttl') ?? '';
  if (text === '') return null;
  const number = numberOf(text);
  if (number === null) throw new V2Error(202, 'invalid value for "ttl"');
  return number;
}

function boolOf(text: string): boolean | null {
  if (TRUE.includes(text)) return true;
  return FALSE.includes(text) ? false : null;
}

function flagOf(form: Form, name: string): boolean {
  const text = form.get(name);
  const value = text === undefined ? false : boolOf(text);
  if (value === null) throw new V2Error(209, `invalid value for "${name}"`);
  return value;
}

/** Null where the caller does not say. */
function choiceOf(form: Form, name: string): boolean | null {
  const text = form.get(name);
  if (text === undefined) return null;
  const value = boolOf(text);
  if (value === null) throw new V2Error(209, `invalid value for ${name}`);
  return value;
}

/** Nanoseconds since 1970; none where that is later than those can tell. */
function expirationOf(ttlSeconds: number, nowMs: number): U64 {
  const seconds = Math.floor(nowMs / 1000);
  const micros = Math.round((nowMs - seconds * 1000) * 1000);
  return momentOf(seconds + ttlSeconds, micros * 1000);
}
