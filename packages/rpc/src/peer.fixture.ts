import type { Socket, SocketReceiver, Timer } from '@etsd/runtime';
import { Decoder } from './hpack/decoder.ts';
import { Encoder, fieldBound } from './hpack/encoder.ts';
import { CLIENT_PREFACE, Flag, FrameType, readU31, readU32, writeFrameHeader } from './http2/frame.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import type { RpcWorld } from './world.ts';

/** Time that stands still until a test moves it, and turns of an event loop that a test takes by hand. */
export class ManualWorld {
  nowMs = 1000;
  private ends: (() => void)[] = [];
  private timers: { at: number; every: number; run: () => void; live: boolean }[] = [];
  readonly world: RpcWorld;
  /** Sockets that were dialled; a test opens them by calling their receiver. */
  readonly dialled: MemorySocket[] = [];

  constructor() {
    const add = (ms: number, every: number, run: () => void): Timer => {
      const timer = { at: this.nowMs + ms, every, run, live: true };
      this.timers.push(timer);
      return {
        cancel: () => {
          timer.live = false;
        },
      };
    };
    this.world = {
      clock: { nowMs: () => this.nowMs, wallMs: () => this.nowMs },
      timers: {
        after: (ms, run) => add(ms, 0, run),
        every: (ms, run) => add(ms, ms, run),
        endOfTurn: (run) => void this.ends.push(run),
        soon: (run) => void this.ends.push(run),
      },
      random: { u32: () => 4, float: () => 0.5, bytes: (n) => Buffer.alloc(n) },
      network: {
        listen: () => Promise.reject(new Error('no network here')),
        dial: () => {
          const socket = new MemorySocket();
          this.dialled.push(socket);
          return socket;
        },
      },
    };
  }

  /** Ends the turn: what was put off to its end happens. */
  turn(): void {
    while (this.ends.length > 0) {
      const ends = this.ends;
      this.ends = [];
      for (const run of ends) run();
    }
  }

  /** Lets time pass, firing timers in order. */
  advance(ms: number): void {
    const until = this.nowMs + ms;
    for (;;) {
      this.timers = this.timers.filter((timer) => timer.live);
      const due = this.timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, due.at);
      if (due.every > 0) due.at += due.every;
      else due.live = false;
      due.run();
      this.turn();
    }
    this.nowMs = until;
    this.turn();
  }
}

/** One end of a connection in memory: what is written is kept, what comes is handed in by the test. */
export class MemorySocket implements Socket {
  readonly remoteAddress = '10.0.0.1:1';
  readonly localAddress = '10.0.0.2:2';
  readonly encrypted = false;
  readonly alpn = '';
  readonly peerCertificate = null;
  receiver: SocketReceiver | null = null;
  sent: Buffer[] = [];
  writes = 0;
  /** False: the kernel's buffer is full; writes stay pending until `drain`. */
  accepts = true;
  private pending: { bytes: Buffer; start: number; end: number } | null = null;
  paused = false;
  ended = false;
  destroyed = false;

  start(receiver: SocketReceiver): void {
    this.receiver = receiver;
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    if (this.pending !== null) throw new Error('a second write before the first was taken');
    if (this.ended || this.destroyed) throw new Error('a write after the end');
    this.writes++;
    if (!this.accepts) {
      this.pending = { bytes, start, end };
      return false;
    }
    this.sent.push(Buffer.from(bytes.subarray(start, end)));
    return true;
  }

  get isPending(): boolean {
    return this.pending !== null;
  }

  /** The kernel takes what is pending. Its bytes are read now, as a kernel would. */
  drain(): void {
    const { pending } = this;
    if (pending === null) return;
    this.pending = null;
    this.sent.push(Buffer.from(pending.bytes.subarray(pending.start, pending.end)));
    this.receiver?.written();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.ended = true;
  }

  destroy(error?: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.receiver?.closed(error ?? null);
  }

  asked(): void {}

  commitToFastReads(): void {}

  detach(): unknown {
    return this;
  }
}

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, id: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  writeFrameHeader(bytes, 0, payload.length, type, flags, id);
  payload.copy(bytes, 9);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function grpcMessage(body: Buffer | string, compressed = false): Buffer {
  const bytes = Buffer.from(body as string);
  return Buffer.concat([Buffer.from([compressed ? 1 : 0]), u32(bytes.length), bytes]);
}

/** The other side of a connection under test, frame by frame. */
export class TestPeer {
  readonly socket: MemorySocket;
  readonly encoder = new Encoder();
  private readonly decoder = new Decoder(DEFAULT_LIMITS, 4096);
  private readonly manual: ManualWorld;

  constructor(socket: MemorySocket, manual: ManualWorld) {
    this.socket = socket;
    this.manual = manual;
  }

  /** Sends the client's preface and SETTINGS, and takes the server's. */
  open(settings: Buffer = Buffer.alloc(0)): void {
    this.send(CLIENT_PREFACE, frame(FrameType.SETTINGS, 0, 0, settings));
    this.send(frame(FrameType.SETTINGS, Flag.ACK, 0));
    this.take();
  }

  /** Plays the server: opens the dialled socket, sends SETTINGS, and takes the client's preface and SETTINGS. */
  openAsServer(settings: Buffer = Buffer.alloc(0)): void {
    this.socket.receiver?.opened?.();
    this.manual.turn();
    this.dropPreface();
    this.send(frame(FrameType.SETTINGS, 0, 0, settings), frame(FrameType.SETTINGS, Flag.ACK, 0));
  }

  private dropPreface(): void {
    const bytes = Buffer.concat(this.socket.sent);
    if (!bytes.subarray(0, CLIENT_PREFACE.length).equals(CLIENT_PREFACE)) throw new Error('no preface');
    this.socket.sent = [bytes.subarray(CLIENT_PREFACE.length)];
  }

  /** A header block of a server. */
  answer(id: number, fields: readonly string[], endStream = false): Buffer {
    return frame(FrameType.HEADERS, Flag.END_HEADERS | (endStream ? Flag.END_STREAM : 0), id, this.block(fields));
  }

  /** Hands bytes in, all in one read, and ends the turn. */
  send(...parts: Buffer[]): void {
    const bytes = Buffer.concat(parts);
    this.socket.receiver?.data(bytes, 0, bytes.length);
    this.manual.turn();
  }

  block(fields: readonly string[]): Buffer {
    let bound = 16;
    for (let i = 0; i < fields.length; i += 2) bound += fieldBound(fields[i] as string, fields[i + 1] as string);
    const bytes = Buffer.alloc(bound);
    let at = this.encoder.begin(bytes, 0);
    for (let i = 0; i < fields.length; i += 2) {
      at = this.encoder.field(bytes, at, fields[i] as string, fields[i + 1] as string, false);
    }
    return bytes.subarray(0, at);
  }

  headers(id: number, path: string, flags: number = Flag.END_HEADERS, extra: readonly string[] = []): Buffer {
    const fields = [':method', 'POST', ':scheme', 'http', ':path', path, ':authority', 'test'];
    fields.push('content-type', 'application/grpc', 'te', 'trailers', ...extra);
    return frame(FrameType.HEADERS, flags, id, this.block(fields));
  }

  data(id: number, payload: Buffer, endStream = false): Buffer {
    return frame(FrameType.DATA, endStream ? Flag.END_STREAM : 0, id, payload);
  }

  /** A whole unary request. */
  call(id: number, path: string, body: Buffer | string = 'x'): Buffer {
    return Buffer.concat([this.headers(id, path), this.data(id, grpcMessage(body), true)]);
  }

  /** The frames that came since the last time. */
  take(): SeenFrame[] {
    const bytes = Buffer.concat(this.socket.sent);
    this.socket.sent = [];
    const frames: SeenFrame[] = [];
    let at = 0;
    while (at < bytes.length) {
      const end = at + 9 + bytes.readUIntBE(at, 3);
      const type = bytes[at + 3] as number;
      frames.push({
        type,
        flags: bytes[at + 4] as number,
        id: readU31(bytes, at + 5),
        payload: bytes.subarray(at + 9, end),
      });
      at = end;
    }
    if (at !== bytes.length) throw new Error('what was written does not end with a frame');
    return frames;
  }

  /** The fields of a header block, as an object. */
  fields(payload: Buffer): Record<string, string> {
    const block = this.decoder.decode(payload, 0, payload.length);
    if (block === null) throw new Error('a header block that cannot be decoded');
    return Object.fromEntries(block.fields.map((field) => [field.name, field.value]));
  }

  /** Frames as short text, for transcripts. */
  transcript(frames: SeenFrame[] = this.take()): string[] {
    return frames.map((seen) => this.describe(seen));
  }

  private describe(seen: SeenFrame): string {
    const end = (seen.flags & Flag.END_STREAM) !== 0 ? ' end' : '';
    switch (seen.type) {
      case FrameType.DATA:
        return `DATA ${seen.id} ${seen.payload.length}${end}`;
      case FrameType.HEADERS: {
        const fields = this.fields(seen.payload);
        const status = fields['grpc-status'] === undefined ? '' : ` grpc-status=${fields['grpc-status']}`;
        const http = fields[':status'] === undefined ? '' : ` ${fields[':status']}`;
        return `HEADERS ${seen.id}${http}${status}${end}`;
      }
      case FrameType.RST_STREAM:
        return `RST_STREAM ${seen.id} ${readU32(seen.payload, 0)}`;
      case FrameType.SETTINGS:
        return seen.flags & Flag.ACK ? 'SETTINGS ack' : 'SETTINGS';
      case FrameType.PING:
        return seen.flags & Flag.ACK ? 'PING ack' : 'PING';
      case FrameType.GOAWAY: {
        const debug = seen.payload.toString('latin1', 8);
        return `GOAWAY ${readU31(seen.payload, 0)} ${readU32(seen.payload, 4)}${debug === '' ? '' : ` ${debug}`}`;
      }
      case FrameType.WINDOW_UPDATE:
        return `WINDOW_UPDATE ${seen.id} ${readU31(seen.payload, 0)}`;
      default:
        return `type ${seen.type} ${seen.id}`;
    }
  }
}
