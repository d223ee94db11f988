/**
 * The protobuf wire format (https://protobuf.dev/programming-guides/encoding): varints, tags and lengths, as free
 * functions over a Buffer for writing and a `Reader` for reading. 64-bit counts are numbers (exact to 2^53, the nearest
 * number beyond), 64-bit ids are `U64`.
 *
 * Writers trust their caller: the target must have room for what the matching `…Size` function said. Readers trust
 * nobody: whatever the bytes, they return or throw `ProtoError`.
 */
import { type U64, U64_ZERO, u64FromHalves } from '@etsd/base';

/** The bytes are no message: truncated, malformed or nested too deep. */
export class ProtoError extends Error {
  override readonly name = 'ProtoError';
}

// Shared, so that a flood of bad messages does not cost a stack trace each.
const truncated = new ProtoError('unexpected end of message');
const overlong = new ProtoError('varint overflows 64 bits');
const badTag = new ProtoError('illegal tag');
const badWireType = new ProtoError('illegal wire type');
const tooDeep = new ProtoError('message nested too deep');

/** Throws the shared error for a message that ends too early. */
export function throwTruncated(): never {
  throw truncated;
}

/** Throws the shared error for a varint of more than 64 bits. */
export function throwOverlong(): never {
  throw overlong;
}

/** Throws the shared error for a tag that names field 0 or does not fit 32 bits. */
export function throwBadTag(): never {
  throw badTag;
}

/** Messages within messages, at most; the same bound as in other implementations. */
export const DEPTH_MAX = 100;

const TWO_32 = 0x1_0000_0000;
const TWO_63 = 0x8000_0000_0000_0000;

export const WIRE_VARINT = 0;
export const WIRE_FIXED64 = 1;
export const WIRE_BYTES = 2;
export const WIRE_FIXED32 = 5;

// -- sizes ------------------------------------------------------------------------------------------------------------

/** Bytes of a varint for a non-negative integer. Numbers of 2^64 and more count as 2^64 - 1. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  if (value < 0x8_0000_0000) return 5;
  if (value < 0x400_0000_0000) return 6;
  if (value < 0x2_0000_0000_0000) return 7;
  if (value < 0x100_0000_0000_0000) return 8;
  if (value < TWO_63) return 9;
  return 10;
}

/** Bytes of a varint for a signed integer: ten for anything negative. Numbers of 2^63 and more count as 2^63 - 1. */
export function intSize(value: number): number {
  if (value < 0) return 10;
  return value < TWO_63 ? varintSize(value) : 9;
}

/** Bytes of a varint for two 32-bit halves. */
export function halvesSize(high: number, low: number): number {
  const upper = high >>> 0;
  if (upper === 0) return varintSize(low >>> 0);
  if (upper < 0x8) return 5;
  if (upper < 0x400) return 6;
  if (upper < 0x2_0000) return 7;
  if (upper < 0x100_0000) return 8;
  return upper < 0x8000_0000 ? 9 : 10;
}

/** Bytes of a varint for an id. */
export function u64Size(id: U64): number {
  if (id === U64_ZERO) return 1;
  return halvesSize(hexHalf(id, 0), hexHalf(id, 8));
}

/** Bytes of a length followed by that many bytes. */
export function lengthDelimitedSize(length: number): number {
  return varintSize(length) + length;
}

/** Bytes of a text in UTF-8 with its length before it. */
export function stringSize(text: string): number {
  return lengthDelimitedSize(Buffer.byteLength(text, 'utf8'));
}

// -- writing: every function returns the offset behind what it wrote --------------------------------------------------

/** A non-negative integer. */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  if (value < 0x80) {
    target[offset] = value;
    return offset + 1;
  }
  if (value >= TWO_32) return writeHalves(target, offset, upperHalf(value), value % TWO_32);
  let rest = value;
  let at = offset;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

function upperHalf(value: number): number {
  const upper = Math.floor(value / TWO_32);
  return upper < TWO_32 ? upper : 0xffff_ffff;
}

/** A signed integer; below zero in two's complement over 64 bits. */
export function writeInt(target: Buffer, offset: number, value: number): number {
  if (value >= 0) {
    return value < TWO_63 ? writeVarint(target, offset, value) : writeHalves(target, offset, 0x7fff_ffff, 0xffff_ffff);
  }
  if (value < -TWO_63) return writeHalves(target, offset, 0x8000_0000, 0);
  const upper = Math.floor(value / TWO_32);
  return writeHalves(target, offset, upper >>> 0, value - upper * TWO_32);
}

/** Two 32-bit halves, either signed or unsigned. */
export function writeHalves(target: Buffer, offset: number, high: number, low: number): number {
  let upper = high >>> 0;
  let lower = low >>> 0;
  let at = offset;
  while (upper !== 0) {
    target[at++] = (lower & 0x7f) | 0x80;
    lower = ((lower >>> 7) | (upper << 25)) >>> 0;
    upper >>>= 7;
  }
  while (lower >= 0x80) {
    target[at++] = (lower & 0x7f) | 0x80;
    lower >>>= 7;
  }
  target[at++] = lower;
  return at;
}

/** An id. */
export function writeU64(target: Buffer, offset: number, id: U64): number {
  if (id === U64_ZERO) {
    target[offset] = 0;
    return offset + 1;
  }
  return writeHalves(target, offset, hexHalf(id, 0), hexHalf(id, 8));
}

/** 32 bits from eight lowercase hexadecimal digits, signed. */
function hexHalf(id: U64, from: number): number {
  let value = 0;
  for (let index = from; index < from + 8; index++) {
    const code = id.charCodeAt(index);
    value = (value << 4) | (code < 58 ? code - 48 : code - 87);
  }
  return value;
}

/** Whether `expected` stands there. For a few bytes: a call into `Buffer.compare` costs more than they do. */
function isAt(bytes: Buffer, start: number, expected: Buffer): boolean {
  for (let index = 0; index < expected.length; index++) if (bytes[start + index] !== expected[index]) return false;
  return true;
}

/** `source` with its length before it. */
export function writeBytes(target: Buffer, offset: number, source: Buffer): number {
  const at = writeVarint(target, offset, source.length);
  return copyBytes(target, at, source, 0, source.length);
}

/** `source[start, end)` as it is. Short pieces are copied here: a call into `Buffer.copy` costs more than 30 bytes. */
export function copyBytes(target: Buffer, offset: number, source: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length <= 32) {
    for (let index = 0; index < length; index++) target[offset + index] = source[start + index] as number;
  } else {
    source.copy(target, offset, start, end);
  }
  return offset + length;
}

/** A key, one byte per character, without a length. */
export function writeLatin1(target: Buffer, offset: number, text: string): number {
  const length = text.length;
  if (length <= 24) {
    for (let index = 0; index < length; index++) target[offset + index] = text.charCodeAt(index);
  } else {
    target.write(text, offset, length, 'latin1');
  }
  return offset + length;
}

/** A text in UTF-8 with its length before it. */
export function writeString(target: Buffer, offset: number, text: string): number {
  const length = Buffer.byteLength(text, 'utf8');
  const at = writeVarint(target, offset, length);
  if (length !== 0) target.write(text, at, length, 'utf8');
  return at + length;
}

// -- reading ----------------------------------------------------------------------------------------------------------

/*
 * Ids repeat: a member's, a leader's, a lease's. Handing out the same string again saves making it, and equal strings
 * that are the same object compare at once. Bounded: one slot for each of 256 mixed hashes.
 */
const seenHigh = new Int32Array(256);
const seenLow = new Int32Array(256);
const seenIds: U64[] = new Array<U64>(256).fill(U64_ZERO);

/** The id of two 32-bit halves, from a small cache where possible. */
export function u64Interned(high: number, low: number): U64 {
  const slot = (low ^ (low >>> 8) ^ high ^ (high >>> 24)) & 255;
  if (seenHigh[slot] === (high | 0) && seenLow[slot] === (low | 0)) return seenIds[slot] as U64;
  const id = u64FromHalves(high, low);
  seenHigh[slot] = high;
  seenLow[slot] = low;
  seenIds[slot] = id;
  return id;
}

/**
 * Reads one message from `bytes[start, end)`, field by field. `bytes()` hands out views of the input, which live as long
 * as the input does.
 */
export class Reader {
  /** What is read. Set by the constructor and `reset` only. */
  bytes: Buffer;
  /** Position of the next unread byte. */
  at: number;
  /** End of the message being read; that of the inner one while inside a sub-message. */
  end: number;
  /** Where the bytes passed over by `span` begin. */
  spanStart = 0;
  /** The halves of the varint last read by `halves`, signed. */
  high = 0;
  low = 0;
  private depth = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    if (!(start >= 0 && start <= end && end <= bytes.length)) throw truncated;
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Starts over on other bytes, for readers that are kept. */
  reset(bytes: Buffer, start: number, end: number): void {
    if (!(start >= 0 && start <= end && end <= bytes.length)) throw truncated;
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.depth = 0;
  }

  /** A tag: field number times eight plus wire type. */
  tag(): number {
    const first = this.at < this.end ? (this.bytes[this.at] as number) : throwTruncated();
    if (first < 0x80) {
      this.at++;
      if (first < 8) throw badTag;
      return first;
    }
    this.halves();
    if (this.high !== 0 || this.low >>> 0 < 8) throw badTag;
    return this.low >>> 0;
  }

  /** Reads a varint into `high` and `low`. */
  halves(): void {
    const bytes = this.bytes;
    const end = this.end;
    let at = this.at;
    let low = 0;
    let byte = 0;
    let shift = 0;
    for (; shift < 28; shift += 7) {
      if (at >= end) throw truncated;
      byte = bytes[at++] as number;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = at;
        this.high = 0;
        this.low = low;
        return;
      }
    }
    if (at >= end) throw truncated;
    byte = bytes[at++] as number;
    low |= (byte & 0x0f) << 28;
    let high = (byte & 0x7f) >>> 4;
    for (shift = 3; byte >= 0x80; shift += 7) {
      if (at >= end) throw truncated;
      byte = bytes[at++] as number;
      if (shift === 31 && byte > 1) throw overlong;
      high |= (byte & 0x7f) << shift;
    }
    this.at = at;
    this.high = high;
    this.low = low;
  }

  /** An unsigned integer of up to 64 bits. */
  uint(): number {
    if (this.at < this.end) {
      const first = this.bytes[this.at] as number;
      if (first < 0x80) {
        this.at++;
        return first;
      }
    }
    this.halves();
    return (this.high >>> 0) * TWO_32 + (this.low >>> 0);
  }

  /** A signed integer of up to 64 bits. */
  int(): number {
    if (this.at < this.end) {
      const first = this.bytes[this.at] as number;
      if (first < 0x80) {
        this.at++;
        return first;
      }
    }
    this.halves();
    return (this.high | 0) * TWO_32 + (this.low >>> 0);
  }

  /** The lower 32 bits of a varint, unsigned. */
  uint32(): number {
    this.halves();
    return this.low >>> 0;
  }

  /** The lower 32 bits of a varint, signed: enumerations. */
  int32(): number {
    this.halves();
    return this.low | 0;
  }

  bool(): boolean {
    this.halves();
    return (this.low | this.high) !== 0;
  }

  /** An id. */
  u64(): U64 {
    this.halves();
    return u64Interned(this.high, this.low);
  }

  /** The length of what follows, which is known to be there. */
  length(): number {
    const length = this.uint();
    if (length > this.end - this.at) throw truncated;
    return length;
  }

  /** A view of the next length-delimited bytes. */
  bytesField(): Buffer {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return this.bytes.subarray(start, this.at);
  }

  /** Passes over length-delimited bytes and returns their end; `spanStart` is where they begin. */
  span(): number {
    const length = this.length();
    this.spanStart = this.at;
    this.at += length;
    return this.at;
  }

  /** A text in UTF-8; malformed sequences become U+FFFD. */
  string(): string {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return length === 0 ? '' : this.bytes.toString('utf8', start, this.at);
  }

  /** Passes over a length-delimited field if its content is exactly `expected`; otherwise stays before it. */
  skipIfEqual(expected: Buffer): boolean {
    const before = this.at;
    const length = this.length();
    const start = this.at;
    if (length === expected.length && isAt(this.bytes, start, expected)) {
      this.at = start + length;
      return true;
    }
    this.at = before;
    return false;
  }

  /** Goes into a sub-message; the result belongs to `leave`. */
  enter(): number {
    const length = this.length();
    if (++this.depth > DEPTH_MAX) throw tooDeep;
    const outer = this.end;
    this.end = this.at + length;
    return outer;
  }

  /** Goes on behind the sub-message, which has been read to its end. */
  leave(outer: number): void {
    this.depth--;
    this.end = outer;
  }

  /** Passes over a field nobody knows. Groups are refused: no message of ours ever had one. */
  skip(tag: number): void {
    switch (tag & 7) {
      case WIRE_VARINT:
        this.halves();
        return;
      case WIRE_FIXED64:
        this.advance(8);
        return;
      case WIRE_BYTES:
        this.advance(this.length());
        return;
      case WIRE_FIXED32:
        this.advance(4);
        return;
      default:
        throw badWireType;
    }
  }

  private advance(count: number): void {
    if (count > this.end - this.at) throw truncated;
    this.at += count;
  }
}
