/** Values in the form in which programs written in Go read and print them; scripts rely on it to the letter. */
import { type U64, u64FromDecimal, u64FromHex } from '@etsd/base';

// ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What Go's strconv says of text that is no such number. */
export function syntaxError(parser: string, text: string, reason = 'invalid syntax'): string {
  return `strconv.${parser}: parsing ${quote(Buffer.from(text))}: ${reason}`;
}

/** A signed decimal number, or the reason why it is none. */
export function parseInteger(text: string): number | string {
  if (!/^[+-]?\d+$/.test(text)) return syntaxError('ParseInt', text);
  if (u64FromDecimal(text.replace('+', '')) === undefined) return syntaxError('ParseInt', text, 'value out of range');
  return Number(text);
}

/** An id in hexadecimal, signed or unsigned, or the reason why it is none. */
export function parseHexId(text: string, parser: 'ParseInt' | 'ParseUint'): { id: U64 } | { problem: string } {
  const match = (parser === 'ParseInt' ? /^([+-]?)([0-9a-fA-F]+)$/ : /^()([0-9a-fA-F]+)$/).exec(text);
  if (match === null) return { problem: syntaxError(parser, text) };
  const digits = (match[2] as string).replace(/^0+(?=.)/, '');
  const id = u64FromHex(digits);
  const tooLarge = id === undefined || (parser === 'ParseInt' && id >= '8000000000000000');
  if (tooLarge) return { problem: syntaxError(parser, text, 'value out of range') };
  if (match[1] !== '-') return { id };
  return { id: u64FromDecimal(`-${BigInt(`0x${digits}`)}`) as U64 };
}

// ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const ESCAPES: Record<number, string> = { 7: '\\a', 8: '\\b', 9: '\\t', 10: '\\n', 11: '\\v', 12: '\\f', 13: '\\r' };
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** `%q`: in double quotes, with escapes for what cannot be printed; bytes that are no UTF-8 show as \xHH. */
export function quote(bytes: Buffer): string {
  let out = '"';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    const byte = bytes[at] as number;
    if (length === 0) {
      out += `\\x${byte.toString(16).padStart(2, '0')}`;
      at++;
      continue;
    }
    const character = bytes.toString('utf8', at, at + length);
    const code = character.codePointAt(0) as number;
    at += length;
    if (character === '"' || character === '\\') out += `\\${character}`;
    else if (PRINTABLE.test(character)) out += character;
    else if (ESCAPES[code] !== undefined) out += ESCAPES[code];
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (code < 0x1_0000) out += `\\u${code.toString(16).padStart(4, '0')}`;
    else out += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return `${out}"`;
}

/** Bytes of the UTF-8 sequence that begins here, 0 if none does. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  const length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length < 2) return length;
  if (first < 0xc2 || at + length > bytes.length) return 0;
  const text = bytes.toString('utf8', at, at + length);
  return text.includes('�') && bytes.toString('hex', at, at + 3) !== 'efbfbd' ? 0 : length;
}

/** The bytes that a quoted string of Go stands for, or null where it is none. */
export function unquote(text: string): Buffer | null {
  if (text.length < 2 || text[0] !== '"' || text.at(-1) !== '"') return null;
  const out: Buffer[] = [];
  const body = text.slice(1, -1);
  const pattern = /\\(?:([abfnrtv\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))|([^"\\\n]+)/y;
  const simple: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
  while (pattern.lastIndex < body.length) {
    const match = pattern.exec(body);
    if (match === null) return null;
    const [, letter, byte, short, long, octal, plain] = match;
    if (plain !== undefined) out.push(Buffer.from(plain));
    else if (letter !== undefined) out.push(Buffer.from(simple[letter] ?? letter));
    else if (byte !== undefined) out.push(Buffer.from([Number.parseInt(byte, 16)]));
    else if (octal !== undefined) out.push(Buffer.from([Number.parseInt(octal, 8) & 255]));
    else out.push(Buffer.from(String.fromCodePoint(Number.parseInt((short ?? long) as string, 16))));
  }
  return Buffer.concat(out);
}

/** `\x66\x6f`: every byte as hexadecimal. */
export function hexBytes(bytes: Buffer): string {
  return bytes.toString('hex').replace(/../g, '\\x$&');
}

// ── time and size ───────────────────────────────────────────────────────────────────────────────────────────────────

const UNIT_NS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 6e10, h: 3.6e12 };

/** Milliseconds of a duration such as `1m30s`, or undefined. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1;
  const body = text.replace(/^[+-]/, '');
  if (body === '0') return 0;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(body)) return undefined;
  let total = 0;
  for (const [, amount, unit] of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNIT_NS[unit as string] as number);
  }
  return (sign * total) / 1e6;
}

/** A duration as Go prints it: `2.846816ms`, `1m30.5s`. */
export function formatDuration(ms: number): string {
  const ns = Math.round(ms * 1e6);
  if (ns === 0) return '0s';
  if (ns < 1e3) return `${ns}ns`;
  if (ns < 1e6) return `${trimmed(ns / 1e3, 3)}µs`;
  if (ns < 1e9) return `${trimmed(ns / 1e6, 6)}ms`;
  const seconds = ns / 1e9;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${trimmed(seconds % 60, 9)}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

function trimmed(value: number, digits: number): string {
  return value.toFixed(digits).replace(/\.?0+$/, '');
}

const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Bytes for people, in steps of 1000: `25 kB`, `2.1 GB`. */
export function formatSize(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  const step = Math.min(SIZE_UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(1000)));
  const value = Math.floor((bytes / 1000 ** step) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : roundedToEven(value)} ${SIZE_UNITS[step]}`;
}

/** A half goes to the even neighbour, as Go has it. */
function roundedToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}
