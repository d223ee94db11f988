import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { PREFACE, ping, SETTINGS_ACK, settings, Type } from './wire.ts';

/** Where the server listens, and what a request it serves looks like. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** Path of a call that is answered, with at least one DATA frame. */
  readonly path: string;
  /** The DATA of such a call. */
  readonly body: Buffer;
  /** How long an answer may take. */
  readonly patienceMs: number;
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/**
 * A client of HTTP/2 that does what it is told. It splits what comes into frames and keeps them all; what a test waits
 * for is a condition on those frames. Nothing is acknowledged but SETTINGS.
 */
export class Peer {
  readonly target: Target;
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  isClosed = false;
  /** Set to leave the server's SETTINGS without acknowledgement. */
  keepsSilent = false;
  private rest: Buffer = Buffer.alloc(0);
  private waiting: { test: () => boolean; done: (held: boolean) => void }[] = [];
  private pings = 0;

  private constructor(target: Target, socket: Socket) {
    this.target = target;
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.gather(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isClosed = true;
      this.wake();
    });
  }

  /** A connection on which nothing was sent yet. */
  static connect(target: Target): Promise<Peer> {
    const { host, port } = target;
    return new Promise((resolve, reject) => {
      const socket = target.tls
        ? connectTls({ host, port, ALPNProtocols: ['h2'], rejectUnauthorized: false })
        : connectTcp(port, host);
      socket.setNoDelay(true);
      socket.once('error', reject);
      socket.once(target.tls ? 'secureConnect' : 'connect', () => {
        socket.off('error', reject);
        resolve(new Peer(target, socket));
      });
    });
  }

  /** A connection whose preface and SETTINGS are exchanged. */
  static async open(target: Target, ...pairs: (readonly [number, number])[]): Promise<Peer> {
    const peer = await Peer.connect(target);
    peer.send(PREFACE, settings(...pairs));
    await peer.expect('SETTINGS and their acknowledgement', () => {
      const all = peer.frames.filter((frame) => frame.type === Type.SETTINGS);
      return all.some((frame) => frame.flags === 0) && all.some((frame) => frame.flags === 1);
    });
    return peer;
  }

  send(...parts: Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  /** Whether the condition came to hold before time was up or the connection closed. */
  async until(test: () => boolean, ms = this.target.patienceMs): Promise<boolean> {
    if (test()) return true;
    if (this.isClosed) return false;
    return await new Promise((resolve) => {
      const entry = { test, done: (held: boolean) => finish(held) };
      const timer = setTimeout(() => finish(test()), ms);
      const finish = (held: boolean): void => {
        clearTimeout(timer);
        this.waiting = this.waiting.filter((other) => other !== entry);
        resolve(held);
      };
      this.waiting.push(entry);
    });
  }

  /** As `until`, but it is an error if the condition does not hold; the message lists what came. */
  async expect(what: string, test: () => boolean, ms?: number): Promise<void> {
    if (!(await this.until(test, ms))) throw new Error(`${what}: did not come; ${this.summary()}`);
  }

  find(type: number, stream: number): Frame | undefined {
    return this.frames.find((frame) => frame.type === type && frame.stream === stream);
  }

  /** The server answers a ping: it has read everything sent before, and the connection lives. */
  async alive(ms?: number): Promise<void> {
    const mark = `mark${String(++this.pings).padStart(4, '0')}`;
    this.send(ping(mark));
    await this.expect(
      'the answer to a ping',
      () => this.frames.some((frame) => frame.type === Type.PING && frame.payload.toString() === mark),
      ms,
    );
    const goaway = this.goaway();
    if (goaway !== null) throw new Error(`the server sent GOAWAY ${goaway.code} (${goaway.debug})`);
  }

  /** Code of the RST_STREAM for this stream; null without one. */
  resetCode(stream: number): number | null {
    return this.find(Type.RST_STREAM, stream)?.payload.readUInt32BE(0) ?? null;
  }

  /** The last GOAWAY; null without one. */
  goaway(): { lastStream: number; code: number; debug: string } | null {
    const found = this.frames.findLast((frame) => frame.type === Type.GOAWAY);
    if (found === undefined) return null;
    const { payload } = found;
    return {
      lastStream: payload.readUInt32BE(0),
      code: payload.readUInt32BE(4),
      debug: payload.toString('latin1', 8),
    };
  }

  /** Bytes of DATA payload that came on this stream. */
  dataBytes(stream: number): number {
    let sum = 0;
    for (const frame of this.frames)
      if (frame.type === Type.DATA && frame.stream === stream) sum += frame.payload.length;
    return sum;
  }

  /** The stream was ended by the server. */
  hasEnded(stream: number): boolean {
    return this.frames.some((frame) => frame.stream === stream && frame.type < 2 && (frame.flags & 1) !== 0);
  }

  close(): void {
    this.socket.destroy();
  }

  /** What came, for a failure's message. */
  summary(): string {
    const names = Object.entries(Type);
    const list = this.frames.slice(-12).map((frame) => {
      const name = names.find(([, type]) => type === frame.type)?.[0] ?? `type ${frame.type}`;
      const code = frame.type === Type.RST_STREAM ? ` code ${frame.payload.readUInt32BE(0)}` : '';
      const goaway =
        frame.type === Type.GOAWAY ? ` code ${frame.payload.readUInt32BE(4)} ${frame.payload.subarray(8)}` : '';
      return `${name}(${frame.stream}, flags ${frame.flags}, ${frame.payload.length} bytes${code}${goaway})`;
    });
    return `came: ${list.join(' ') || 'nothing'}${this.isClosed ? ', then the connection was closed' : ''}`;
  }

  private gather(chunk: Buffer): void {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    while (this.rest.length - at >= 9) {
      const length = this.rest.readUIntBE(at, 3);
      if (this.rest.length - at - 9 < length) break;
      const frame: Frame = {
        type: this.rest[at + 3] as number,
        flags: this.rest[at + 4] as number,
        stream: this.rest.readUInt32BE(at + 5) & 0x7fffffff,
        payload: this.rest.subarray(at + 9, at + 9 + length),
      };
      at += 9 + length;
      this.frames.push(frame);
      if (frame.type === Type.SETTINGS && (frame.flags & 1) === 0 && !this.keepsSilent) this.send(SETTINGS_ACK);
    }
    this.rest = this.rest.subarray(at);
    this.wake();
  }

  private wake(): void {
    for (const entry of [...this.waiting]) {
      if (entry.test()) entry.done(true);
      else if (this.isClosed) entry.done(false);
    }
  }
}
