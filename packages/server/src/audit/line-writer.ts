/**
 * Lines of the audit log, written byte by byte to where they wait for the disk. Most of a line is the same for all that a
 * client asks of a method, and is kept as bytes; a line made as a string and copied cost a put twice as much.
 */
import { GrpcCode } from '@etsd/proto';
import type { Identity } from '../access.ts';
import type { AuditBuffer } from './audit-buffer.ts';
import { quoted } from './request-fields.ts';

/** What is told of a request, behind who asked what. */
export interface LineOfRequest {
  readonly identity: Identity;
  readonly sinceMs: number;
  /** A key that needs no escapes, the only thing to show: its bytes, and how many; −1 where it is not so. */
  readonly key: Uint8Array;
  readonly keyLength: number;
  /** A member of the JSON object with a comma in front, or empty. */
  readonly fields: string;
}

/** Clients remembered for one method. */
const HEADS_MAX = 4096;

class Head {
  readonly identity: Identity;
  readonly commonName: string;
  readonly bytes: Buffer;

  constructor(identity: Identity, commonName: string, bytes: Buffer) {
    this.identity = identity;
    this.commonName = commonName;
    this.bytes = bytes;
  }
}

/** From the end of the time to the client's address, by that address, for one method. */
export class LineHeads {
  private readonly what: string;
  private readonly byPeer = new Map<string, Head>();

  constructor(what: string) {
    this.what = what;
  }

  of(peer: string, identity: Identity, commonName: string): Buffer {
    const known = this.byPeer.get(peer);
    if (
      known !== undefined &&
      known.identity.user === identity.user &&
      known.identity.by === identity.by &&
      known.commonName === commonName
    )
      return known.bytes;
    const name = commonName === '' ? '' : `,"cn":${quoted(commonName)}`;
    const text = `${this.what}${quoted(identity.user)},"by":"${identity.by}"${name},"peer":"${peer}"`;
    const bytes = Buffer.from(text, 'latin1');
    if (this.byPeer.size >= HEADS_MAX) this.byPeer.clear();
    this.byPeer.set(peer, new Head(identity, commonName, bytes));
    return bytes;
  }
}

const CODES: readonly Buffer[] = Object.keys(GrpcCode).map((name) => Buffer.from(`,"code":"${name}","revision":`));
const KEY_HEAD = Buffer.from(',"request":{"key":"');
const KEY_TAIL = Buffer.from('"}');
const TIME_TAIL = Buffer.from(',"us":');
/** What a line takes at most besides its head and its fields: time, code, two numbers. */
const REST_BYTES_MAX = 160;
const ZERO = 0x30;

/** Text of one byte a character, without looking at the kind of encoding. */
interface Latin1Target {
  latin1Write(text: string, offset: number): number;
}

export class LineWriter {
  private readonly clock: { nowMs(): number; wallMs(): number };
  private readonly buffer: AuditBuffer;
  /** When the present second of the wall clock began, by the monotonic one, and how its lines begin. */
  private secondAtMs = Number.NaN;
  private second: Buffer = Buffer.alloc(0);

  constructor(clock: { nowMs(): number; wallMs(): number }, buffer: AuditBuffer) {
    this.clock = clock;
    this.buffer = buffer;
  }

  write(
    heads: LineHeads,
    request: LineOfRequest,
    peer: string,
    commonName: string,
    code: number,
    revision: number,
  ): void {
    const { buffer } = this;
    const head = heads.of(peer, request.identity, commonName);
    const { fields, key, keyLength } = request;
    const start = buffer.begin(REST_BYTES_MAX + head.length + fields.length + key.length);
    if (start < 0) return;
    const nowMs = this.clock.nowMs();
    const out = buffer.bytes;
    let at = this.writeTime(out, start, nowMs);
    out.set(head, at);
    at += head.length;
    if (keyLength >= 0) {
      at = writeShort(out, at, KEY_HEAD);
      for (let index = 0; index < keyLength; index++) out[at + index] = key[index] as number;
      at = writeShort(out, at + keyLength, KEY_TAIL);
    } else if (fields !== '') at += (out as Buffer & Latin1Target).latin1Write(fields, at);
    at = writeShort(out, at, CODES[code] ?? Buffer.from(`,"code":"${code}","revision":`));
    at = writeNumber(out, at, revision);
    at = writeShort(out, at, TIME_TAIL);
    at = writeNumber(out, at, Math.max(0, Math.round((nowMs - request.sinceMs) * 1000)));
    out[at++] = 0x7d;
    buffer.end(at);
  }

  /** RFC 3339 with milliseconds, the wall clock looked at once a second; without the Z. */
  private writeTime(out: Buffer, start: number, nowMs: number): number {
    let ms = Math.floor(nowMs - this.secondAtMs);
    if (!(ms >= 0 && ms < 1000)) {
      const wallMs = this.clock.wallMs();
      const second = Math.floor(wallMs / 1000) * 1000;
      this.secondAtMs = nowMs - (wallMs - second);
      this.second = Buffer.from(`{"time":"${new Date(second).toISOString().slice(0, 20)}`, 'latin1');
      ms = Math.floor(wallMs - second);
    }
    let at = writeShort(out, start, this.second);
    const hundreds = Math.floor(ms / 100);
    const tens = Math.floor(ms / 10) % 10;
    out[at++] = ZERO + hundreds;
    out[at++] = ZERO + tens;
    out[at++] = ZERO + (ms % 10);
    return at;
  }
}

/** So few bytes that a loop is faster than a call into the engine. */
function writeShort(out: Buffer, start: number, bytes: Buffer): number {
  const { length } = bytes;
  for (let index = 0; index < length; index++) out[start + index] = bytes[index] as number;
  return start + length;
}

/** A whole number in decimal digits; below zero with its sign. */
function writeNumber(out: Buffer, start: number, number: number): number {
  let at = start;
  let left = number;
  if (left < 0) {
    out[at++] = 0x2d;
    left = -left;
  }
  let digits = 1;
  for (let bound = 10; bound <= left; bound *= 10) digits++;
  at += digits;
  for (let place = at - 1; digits > 0; digits--, place--) {
    const tenth = Math.floor(left / 10);
    out[place] = ZERO + (left - tenth * 10);
    left = tenth;
  }
  return at;
}
