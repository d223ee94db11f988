/**
 * Lines of the audit log, written to where they wait for the disk. Most of a line is the same for all that a client asks of a
 * method, and the rest of its beginning the same for all lines of a second; both are kept as words, which are copied in place:
 *
 *     {"time":"2026-11-21T17:23:29.   666   Z","member":…,"peer":"10.0.0.7:48478","request":{"key":"   app/1   "}
 *     └────────── second ─────────┘         └──────────────────────── head ───────────────────────┘
 */
import { GrpcCode } from '@etsd/proto';
import type { Identity } from '../access.ts';
import type { AuditBuffer } from './audit-buffer.ts';
import { quoted } from './request-fields.ts';

/** Who asked. */
export interface Asker {
  readonly identity: Identity;
  readonly peer: string;
  /** In the client's certificate; empty where there is none. */
  readonly commonName: string;
}

/** What is told of a request, behind who asked what. */
export interface LineOfRequest extends Asker {
  /** When it came and when it was over, by the monotonic clock. */
  readonly sinceMs: number;
  readonly endMs: number;
  readonly code: number;
  readonly revision: number;
  /** A member of the JSON object with a comma in front, or empty. */
  readonly fields: string;
}

/** Clients remembered for one method. */
const HEADS_MAX = 4096;

/** `{"time":"2026-11-21T17:23:29.`, and the milliseconds behind it. */
const SECOND_BYTES = 29;
const TIME_BYTES = SECOND_BYTES + 3;
const KEY_HEAD = ',"request":{"key":"';

/** Eight bytes a word. */
export const WORD_BYTES = 8;

/**
 * A short text of ASCII as words of eight bytes, which are stored as what they would be as floating point numbers: the fastest
 * that the engine does in place, where a call to copy costs as much as thirty bytes. No such number is one of those that
 * are not preserved (NaN has bytes above 0x7f). The last word may reach behind the text, into what is written next.
 */
class Words {
  readonly length: number;
  private readonly words: Float64Array;

  constructor(text: string) {
    this.length = text.length;
    const count = Math.ceil(text.length / WORD_BYTES);
    const bytes = Buffer.from(text.padEnd(count * WORD_BYTES), 'latin1');
    this.words = Float64Array.from({ length: count }, (_, word) => bytes.readDoubleLE(word * WORD_BYTES));
  }

  /** Where it ends. */
  write(target: DataView, offset: number): number {
    const { words } = this;
    for (let word = 0, at = offset; word < words.length; word++, at += WORD_BYTES) {
      target.setFloat64(at, words[word] as number, true);
    }
    return offset + this.length;
  }
}

/** What is the same in all lines about requests of one client to one method. */
export class Head implements Asker {
  readonly identity: Identity;
  readonly peer: string;
  readonly commonName: string;
  /** From behind the time to where a key begins. */
  readonly text: Words;
  private readonly heads: LineHeads;

  constructor({ identity, peer, commonName }: Asker, heads: LineHeads) {
    this.identity = identity;
    this.peer = peer;
    this.commonName = commonName;
    this.heads = heads;
    const name = commonName === '' ? '' : `,"cn":${quoted(commonName)}`;
    const who = `${quoted(identity.user)},"by":"${identity.by}"${name},"peer":"${peer}"`;
    this.text = new Words(`${heads.what}${who}${KEY_HEAD}`);
  }

  /** Of lines of this kind about somebody who is known to have the same address. */
  isFor(heads: LineHeads, identity: Identity): boolean {
    return heads === this.heads && this.isBy(identity);
  }

  isOf(identity: Identity, peer: string, commonName: string): boolean {
    return peer === this.peer && commonName === this.commonName && this.isBy(identity);
  }

  private isBy(identity: Identity): boolean {
    const own = this.identity;
    return identity === own || (identity.user === own.user && identity.by === own.by);
  }
}

/** The heads of lines about one method, by the client's address. */
export class LineHeads {
  readonly what: string;
  private readonly byPeer = new Map<string, Head>();
  private last: Head | null = null;

  /** `what`: the line from behind the time to where the user's name begins. */
  constructor(what: string) {
    this.what = what;
  }

  of(identity: Identity, peer: string, commonName: string): Head {
    const { byPeer, last } = this;
    // Requests of one connection come together.
    if (last?.isOf(identity, peer, commonName)) return last;
    let head = byPeer.get(peer);
    if (head === undefined || !head.isOf(identity, peer, commonName)) {
      head = new Head({ identity, peer, commonName }, this);
      if (byPeer.size >= HEADS_MAX) byPeer.clear();
      byPeer.set(peer, head);
    }
    this.last = head;
    return head;
  }
}

const CODES: readonly Words[] = Object.keys(GrpcCode).map((name) => new Words(codeText(`"${name}"`)));
/** Of a key that went well, which is most of them: the end of the key, the code, and what comes behind it. */
const KEY_TAIL = new Words('"}');
const KEY_TAIL_OK = new Words(`"}${codeText('"OK"')}`);
const TIME_TAIL = new Words(',"us":');
/** What a line takes at most besides its head and its fields: time, code, two numbers, the rest of a word. */
const REST_BYTES_MAX = 160;
const ZERO = 0x30;
/** Numbers below are divided by ten with whole numbers only. */
const SMALL_MAX = 0x7fff_ffff;

function codeText(code: string): string {
  return `,"code":${code},"revision":`;
}

/** Text of one byte a character, without looking at the kind of encoding. */
interface Latin1Target {
  latin1Write(text: string, offset: number): number;
}

export class LineWriter {
  private readonly clock: { nowMs(): number; wallMs(): number };
  private readonly buffer: AuditBuffer;
  /** When the present second of the wall clock began, by the monotonic one; how its lines begin. */
  private secondAtMs = Number.NaN;
  private second = new Words('');

  constructor(clock: { nowMs(): number; wallMs(): number }, buffer: AuditBuffer) {
    this.clock = clock;
    this.buffer = buffer;
  }

  write(heads: LineHeads, line: LineOfRequest): void {
    const { buffer } = this;
    const { fields, code, revision, sinceMs, endMs } = line;
    const head = heads.of(line.identity, line.peer, line.commonName);
    const start = buffer.begin(lineBytesMax(head, fields.length));
    if (start < 0) return;
    const out = buffer.bytes;
    let at = this.begin(head, start, endMs) - KEY_HEAD.length;
    if (fields !== '') at += (out as Buffer & Latin1Target).latin1Write(fields, at);
    at = codeOf(code).write(buffer.view, at);
    this.end(at, revision, durationUs(sinceMs, endMs));
  }

  /**
   * The line of a request that shows a key and nothing else; the key stands in `keys` as `writeKey` writes it, with seven bytes
   * behind it that are no more than ASCII.
   */
  writeKeyed(
    head: Head,
    keys: DataView,
    keyStart: number,
    keyEnd: number,
    code: number,
    endMs: number,
    us: number,
    revision: number,
  ): void {
    const { buffer } = this;
    const lineStart = buffer.begin(lineBytesMax(head, keyEnd - keyStart));
    if (lineStart < 0) return;
    const { view } = buffer;
    let at = this.begin(head, lineStart, endMs);
    for (let from = keyStart, to = at; from < keyEnd; from += WORD_BYTES, to += WORD_BYTES) {
      view.setFloat64(to, keys.getFloat64(from, true), true);
    }
    at += keyEnd - keyStart;
    if (code === GrpcCode.OK) at = KEY_TAIL_OK.write(view, at);
    else at = codeOf(code).write(view, KEY_TAIL.write(view, at));
    this.end(at, revision, us);
  }

  /** Up to where a key begins. */
  private begin(head: Head, start: number, endMs: number): number {
    const { bytes, view } = this.buffer;
    const ms = this.timed(endMs);
    this.second.write(view, start);
    writeThree(bytes, start + SECOND_BYTES, ms);
    return head.text.write(view, start + TIME_BYTES);
  }

  private end(start: number, revision: number, us: number): void {
    const { buffer } = this;
    const out = buffer.bytes;
    let at = writeNumber(out, start, revision);
    at = TIME_TAIL.write(buffer.view, at);
    at = writeNumber(out, at, us);
    out[at++] = 0x7d;
    buffer.end(at);
  }

  /** Finds the second, the wall clock looked at once in it; the milliseconds in it. */
  private timed(nowMs: number): number {
    const ms = Math.floor(nowMs - this.secondAtMs);
    if (ms >= 0 && ms < 1000) return ms;
    // What `nowMs` says is over by a turn at most.
    const wallMs = this.clock.wallMs() - (this.clock.nowMs() - nowMs);
    const second = Math.floor(wallMs / 1000) * 1000;
    this.secondAtMs = nowMs - (wallMs - second);
    this.second = new Words(`{"time":"${new Date(second).toISOString().slice(0, 20)}`);
    return Math.floor(wallMs - second);
  }
}

/** Bytes of a line that shows so much of its request, its end included. */
export function lineBytesMax(head: Head, shownMax: number): number {
  return REST_BYTES_MAX + head.text.length + shownMax;
}

/** In whole microseconds. */
export function durationUs(sinceMs: number, endMs: number): number {
  return Math.max(0, Math.round((endMs - sinceMs) * 1000));
}

function codeOf(code: number): Words {
  return CODES[code] ?? new Words(codeText(`"${code}"`));
}

function writeThree(out: Buffer, at: number, number: number): void {
  const hundreds = (number / 100) | 0;
  const tens = (number / 10) | 0;
  out[at] = ZERO + hundreds;
  out[at + 1] = ZERO + (tens - hundreds * 10);
  out[at + 2] = ZERO + (number - tens * 10);
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
  const end = at + digits;
  let place = end - 1;
  for (; left > SMALL_MAX; place--) {
    const tenth = Math.floor(left / 10);
    out[place] = ZERO + (left - tenth * 10);
    left = tenth;
  }
  let small = left | 0;
  for (; place >= at; place--) {
    const tenth = (small / 10) | 0;
    out[place] = ZERO + (small - tenth * 10);
    small = tenth;
  }
  return end;
}
