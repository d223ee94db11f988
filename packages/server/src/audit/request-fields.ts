/**
 * What the audit log shows of a request. Shown is what stands in a list of names; a field that is not there, values and
 * passwords among them and whatever is added to the schema one day, never gets out. A test fills every field of every
 * request and looks at what comes through.
 */
import { METHODS, type MessageClass, PutRequestView, RaftRequestField, RangeRequestView, V2Request } from '@etsd/proto';
import { KEYS_ROOT } from '@etsd/state';

/** How keys are written. `escaped`: as text, other bytes as `\xNN`. `omit`: not at all. */
export type KeyStyle = 'escaped' | 'base64' | 'omit';
export const KEY_STYLES: readonly string[] = ['escaped', 'base64', 'omit'];

/** Turns the bytes of a key into a JSON string, its quotes included. */
export type KeyWriter = (bytes: Buffer, start: number, end: number) => string;

/** Bytes of one key that are shown. */
const KEY_BYTES_MAX = 1024;
/** Fields and members of lists that are shown of one request. */
const FIELDS_MAX = 2000;

/** Fields that hold keys, or names which become keys. */
const KEY_FIELDS = new Set(['key', 'rangeEnd']);
/** Fields that are shown as they are: names, numbers and switches. Text only where it is no secret. */
const PLAIN_FIELDS = new Set([
  ...['ID', 'lease', 'TTL', 'name', 'user', 'role', 'peerURLs', 'isLearner', 'targetID', 'memberID', 'alarm', 'action'],
  ...['version', 'revision', 'physical', 'permType', 'noPassword', 'startRevision', 'watchId', 'prevKv', 'service'],
  ...['limit', 'countOnly', 'keysOnly', 'serializable', 'ignoreValue', 'ignoreLease', 'rev', 'keys', 'linearizable'],
  'level',
]);
/** Fields that hold messages, looked into. */
const MESSAGE_FIELDS = new Set([
  ...['compare', 'success', 'failure', 'requestRange', 'requestPut', 'requestDeleteRange', 'requestTxn'],
  ...['createRequest', 'cancelRequest', 'progressRequest', 'perm', 'options', 'leader'],
]);

const SIMPLE = /^[ !#-[\]-~]*$/;

export function keyWriter(style: KeyStyle): KeyWriter {
  if (style === 'base64') return (bytes, start, end) => `"${shown(bytes, start, end).toString('base64')}"`;
  if (style === 'omit') return () => '""';
  return (bytes, start, end) => {
    const text = bytes.toString('latin1', start, Math.min(end, start + KEY_BYTES_MAX));
    return SIMPLE.test(text) ? `"${text}"` : escaped(text);
  };
}

function shown(bytes: Buffer, start: number, end: number): Buffer {
  return bytes.subarray(start, Math.min(end, start + KEY_BYTES_MAX));
}

/** One escape for each byte that is not plain; the backslash of JSON doubles those of the text. */
function escaped(text: string): string {
  let out = '"';
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) out += '\\"';
    else if (code === 0x5c) out += '\\\\\\\\';
    else if (code >= 0x20 && code < 0x7f) out += text[at];
    else out += `\\\\x${code < 16 ? '0' : ''}${code.toString(16)}`;
  }
  return `${out}"`;
}

/** A string in JSON that is ASCII throughout, whatever is in it. */
export function quoted(text: string): string {
  if (text.length <= KEY_BYTES_MAX && SIMPLE.test(text)) return `"${text}"`;
  const json = JSON.stringify(text.slice(0, KEY_BYTES_MAX));
  return json.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What a request shows, as a member of a JSON object with a comma in front; empty where there is nothing to show. */
export type Describe = (bytes: Buffer, start: number, end: number) => string;

/** For one method. */
export function describer(path: string, write: KeyWriter): Describe {
  if (path === '/etcdserverpb.KV/Put') return putFields(write);
  if (path === '/etcdserverpb.KV/Range' || path === '/etcdserverpb.KV/RangeStream') return rangeFields(write);
  if (path === '/etsd.V2/Change') return v2ChangeFields(write);
  if (path.startsWith('/etsd.V2/')) return (bytes, start, end) => `,"request":{"key":${write(bytes, start, end)}}`;
  const type = METHODS.find((method) => method.path === path)?.request;
  return type === undefined ? () => '' : anyFields(type, write);
}

/** Bytes of a key that is written by itself: its length is one byte in the entry. */
export const PLAIN_KEY_BYTES_MAX = 127;
/** Bytes of text that one byte of a key becomes at most. */
export const ESCAPE_BYTES_MAX = 5;
/** How the entry of a put begins in the log, and where in it the fields of a put are that matter here. */
const PUT_TAG = RaftRequestField.Put * 8 + 2;
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;

/**
 * Where the key is in an entry of the log that puts a key and a value and asks for nothing else, as nearly all do. Found by
 * looks at a few bytes, since it is done for each put; what is not so is for `describer`.
 */
export class EntryKey {
  start = 0;
  end = 0;
  /** Behind the number read last. */
  private at = 0;

  /** False where the entry is not of this kind. */
  find(entry: Buffer): boolean {
    if (entry[0] !== PUT_TAG) return false;
    const bodyBytes = this.number(entry, 1);
    const body = this.at;
    const bodyEnd = body + bodyBytes;
    const keyBytes = entry[body + 1] as number;
    this.start = body + 2;
    const keyEnd = this.start + keyBytes;
    this.end = keyEnd;
    if (bodyBytes < 2 || bodyEnd > entry.length || entry[body] !== KEY_TAG) return false;
    if (keyBytes > PLAIN_KEY_BYTES_MAX || keyEnd > bodyEnd) return false;
    if (keyEnd === bodyEnd) return true;
    if (entry[keyEnd] !== VALUE_TAG) return false;
    const valueBytes = this.number(entry, keyEnd + 1);
    return this.at + valueBytes === bodyEnd;
  }

  /** A length of up to 28 bits; what is longer, or cut off, fits nothing. */
  private number(bytes: Buffer, start: number): number {
    let at = start;
    let byte = bytes[at++] as number;
    let number = byte & 0x7f;
    for (let shift = 7; byte >= 0x80 && shift < 28; shift += 7) {
      byte = bytes[at++] as number;
      number |= (byte & 0x7f) << shift;
    }
    this.at = at;
    return byte < 0x80 ? number : Number.POSITIVE_INFINITY;
  }
}

/**
 * Writes a key as it stands between the quotes of JSON, at most `ESCAPE_BYTES_MAX` bytes for each of its bytes; where that
 * ends.
 */
export function writeKey(bytes: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): number {
  let isPlain = 1;
  // Nothing is called here, so that the engine looks once at what it reads and writes, and not at every byte.
  for (let from = start, to = offset; from < end; from++, to++) {
    const byte = bytes[from] as number;
    target[to] = byte;
    isPlain &= IS_PLAIN[byte] as number;
  }
  return isPlain === 1 ? offset + end - start : writeEscaped(bytes, start, end, target, offset);
}

function writeEscaped(bytes: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): number {
  let to = offset;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (IS_PLAIN[byte] === 1) target[to++] = byte;
    else to = writeEscape(byte, target, to);
  }
  return to;
}

/** As `escaped` has it. */
function writeEscape(byte: number, target: Uint8Array, at: number): number {
  let to = at;
  target[to++] = BACKSLASH;
  if (byte === QUOTE) target[to++] = QUOTE;
  else {
    target[to++] = BACKSLASH;
    target[to++] = byte === BACKSLASH ? BACKSLASH : LETTER_X;
    target[to++] = byte === BACKSLASH ? BACKSLASH : hexDigit(byte >> 4);
    if (byte !== BACKSLASH) target[to++] = hexDigit(byte & 15);
  }
  return to;
}

function hexDigit(digit: number): number {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;
/** By byte: 1 where it stands in JSON as it is. */
const IS_PLAIN = Uint8Array.from({ length: 256 }, (_, byte) => (SIMPLE.test(String.fromCharCode(byte)) ? 1 : 0));

function putFields(write: KeyWriter): Describe {
  const view = new PutRequestView();
  return (bytes, start, end) => {
    try {
      view.parse(bytes, start, end);
    } catch {
      return '';
    }
    const lease = view.lease === NO_LEASE ? '' : `,"lease":"${view.lease}"`;
    return `,"request":{"key":${write(bytes, view.keyStart, view.keyEnd)}${lease}}`;
  };
}

/** Of an entry of etcd 2 what is done and to which key; neither values nor what they were compared with. */
function v2ChangeFields(write: KeyWriter): Describe {
  return (bytes, start, end) => {
    try {
      const { method, path } = V2Request.decode(bytes, start, end);
      const key = Buffer.from(path.slice(KEYS_ROOT.length) || '/');
      return `,"request":{"method":${quoted(method)},"key":${write(key, 0, key.length)}}`;
    } catch {
      return '';
    }
  };
}

const NO_LEASE = '0000000000000000';

function rangeFields(write: KeyWriter): Describe {
  const view = new RangeRequestView();
  return (bytes, start, end) => {
    try {
      view.parse(bytes, start, end);
    } catch {
      return '';
    }
    const rangeEnd = view.rangeEnd(bytes);
    const key = `,"request":{"key":${write(bytes, view.keyStart, view.keyEnd)}`;
    if (rangeEnd === '') return `${key}}`;
    return `${key},"rangeEnd":${write(Buffer.from(rangeEnd, 'latin1'), 0, rangeEnd.length)}}`;
  };
}

function anyFields(type: MessageClass<object>, write: KeyWriter): Describe {
  return (bytes, start, end) => {
    let message: object;
    try {
      message = type.decode(bytes, start, end);
    } catch {
      return '';
    }
    const walk = new Walk(write);
    const members = walk.members(message);
    if (members === '') return '';
    return `,"request":{${members}}${walk.left <= 0 ? ',"cut":true' : ''}`;
  };
}

class Walk {
  /** Fields that may still be shown. */
  left = FIELDS_MAX;
  private readonly write: KeyWriter;

  constructor(write: KeyWriter) {
    this.write = write;
  }

  members(message: object): string {
    const shownMembers: string[] = [];
    for (const [name, value] of Object.entries(message)) {
      if (this.left <= 0) break;
      const text = this.value(name, value);
      if (text === null) continue;
      this.left--;
      shownMembers.push(`"${name}":${text}`);
    }
    return shownMembers.join(',');
  }

  private value(name: string, value: unknown): string | null {
    if (Buffer.isBuffer(value)) {
      const isKey = KEY_FIELDS.has(name) || name === 'name';
      return isKey && value.length > 0 ? this.write(value, 0, value.length) : null;
    }
    if (Array.isArray(value)) {
      if (value.length === 0 || !(MESSAGE_FIELDS.has(name) || PLAIN_FIELDS.has(name))) return null;
      const items: string[] = [];
      for (const item of value) {
        if (--this.left <= 0) break;
        items.push(
          typeof item === 'object' && item !== null ? `{${this.members(item)}}` : (this.plain(item) ?? 'null'),
        );
      }
      return `[${items.join(',')}]`;
    }
    if (typeof value === 'object' && value !== null)
      return MESSAGE_FIELDS.has(name) ? `{${this.members(value)}}` : null;
    return PLAIN_FIELDS.has(name) ? this.plain(value) : null;
  }

  /** Null for what is not set. */
  private plain(value: unknown): string | null {
    if (typeof value === 'string') return value === '' || value === NO_LEASE ? null : quoted(value);
    if (typeof value === 'boolean') return value ? 'true' : null;
    return typeof value === 'number' && value !== 0 ? String(value) : null;
  }
}
