import { Peer, type Target } from './peer.ts';
import { Bit, type Field, frame, literal, Setting, Type } from './wire.ts';

/** A rule of a document, and how to see whether a server keeps it. */
export interface Case {
  /** Document and section: `9113/6.5.2`, `7541/4.2`. */
  readonly section: string;
  readonly title: string;
  readonly run: (context: Context) => Promise<void>;
}

/** Thrown where a rule cannot be tried on this server. */
export class NotApplicable extends Error {}

export interface Verdict {
  readonly section: string;
  readonly title: string;
  readonly status: 'passed' | 'failed' | 'skipped';
  /** Why it failed or was skipped. */
  readonly reason: string;
}

/** What a case has at hand: connections to the server, and the expectations the documents know. */
export class Context {
  readonly target: Target;
  private readonly peers: Peer[] = [];

  constructor(target: Target) {
    this.target = target;
  }

  /** A connection ready for requests. */
  async open(...pairs: (readonly [number, number])[]): Promise<Peer> {
    const peer = await Peer.open(this.target, ...pairs);
    this.peers.push(peer);
    return peer;
  }

  /** A connection on which nothing was said yet. */
  async connect(): Promise<Peer> {
    const peer = await Peer.connect(this.target);
    this.peers.push(peer);
    return peer;
  }

  close(): void {
    for (const peer of this.peers) peer.close();
  }

  /** The fields of a request the server serves, with changes: a value of null takes a field out. */
  fields(changes: Record<string, string | null> = {}, more: readonly Field[] = []): Field[] {
    const usual: Record<string, string | null> = {
      ':method': 'POST',
      ':scheme': this.target.tls ? 'https' : 'http',
      ':path': this.target.path,
      ':authority': `${this.target.host}:${this.target.port}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...changes,
    };
    const list = Object.entries(usual).filter((entry): entry is [string, string] => entry[1] !== null);
    return [...list, ...more];
  }

  block(changes: Record<string, string | null> = {}, more: readonly Field[] = []): Buffer {
    return literal(this.fields(changes, more));
  }

  /** HEADERS of such a request; by default DATA has to follow. */
  headers(stream: number, flags: number = Bit.END_HEADERS, block: Buffer = this.block()): Buffer {
    return frame(Type.HEADERS, flags, stream, block);
  }

  /** A whole request that the server answers. */
  request(stream: number): Buffer {
    return Buffer.concat([this.headers(stream), frame(Type.DATA, Bit.END_STREAM, stream, this.target.body)]);
  }

  /** GOAWAY with one of these codes, then the end of the connection. */
  async connectionError(peer: Peer, ...codes: number[]): Promise<void> {
    await peer.until(() => peer.goaway() !== null);
    const goaway = peer.goaway();
    if (goaway === null) throw new Error(`no GOAWAY came, expected code ${codes.join(' or ')}; ${peer.summary()}`);
    if (!codes.includes(goaway.code)) {
      throw new Error(`GOAWAY has code ${goaway.code} (${goaway.debug}), expected ${codes.join(' or ')}`);
    }
    if (!(await peer.until(() => peer.isClosed)) && !peer.isClosed) {
      throw new Error('the connection stays open after the GOAWAY of an error (RFC 9113 section 5.4.1)');
    }
  }

  /** RST_STREAM with one of these codes; the connection goes on. An error of the connection would be allowed too. */
  async streamError(peer: Peer, stream: number, ...codes: number[]): Promise<void> {
    await peer.until(() => peer.resetCode(stream) !== null || peer.goaway() !== null);
    const reset = peer.resetCode(stream);
    const goaway = peer.goaway();
    if (reset === null && goaway === null) {
      throw new Error(`no RST_STREAM came, expected code ${codes.join(' or ')}; ${peer.summary()}`);
    }
    const code = reset ?? goaway?.code ?? -1;
    if (!codes.includes(code)) throw new Error(`code ${code} came, expected ${codes.join(' or ')}; ${peer.summary()}`);
    if (goaway === null) await peer.alive();
  }

  /** The request is answered: headers came, the stream was ended, and it was not reset for an error. */
  async response(peer: Peer, stream: number): Promise<void> {
    await peer.expect(`a response on stream ${stream}`, () => peer.hasEnded(stream) || peer.resetCode(stream) !== null);
    const reset = peer.resetCode(stream);
    if (peer.find(Type.HEADERS, stream) === undefined || (reset !== null && reset !== 0)) {
      throw new Error(`stream ${stream} was not answered; ${peer.summary()}`);
    }
  }

  /** The request came through without an error of HTTP/2, whatever the server thinks of it. */
  async accepted(peer: Peer, stream: number): Promise<void> {
    await peer.expect(`any answer on stream ${stream}`, () => peer.find(Type.HEADERS, stream) !== undefined);
    await peer.alive();
  }

  /** The server's value of a setting, or what holds without one. */
  setting(peer: Peer, id: number): number {
    const initial: Record<number, number> = {
      [Setting.HEADER_TABLE_SIZE]: 4096,
      [Setting.MAX_CONCURRENT_STREAMS]: 0xffffffff,
      [Setting.INITIAL_WINDOW_SIZE]: 65_535,
      [Setting.MAX_FRAME_SIZE]: 16_384,
    };
    let value = initial[id] ?? 0xffffffff;
    for (const { type, flags, payload } of peer.frames) {
      if (type !== Type.SETTINGS || flags !== 0) continue;
      for (let at = 0; at + 6 <= payload.length; at += 6) {
        if (payload.readUInt16BE(at) === id) value = payload.readUInt32BE(at + 2);
      }
    }
    return value;
  }
}

/** Tries one rule. */
export async function judge(entry: Case, target: Target): Promise<Verdict> {
  const { section, title } = entry;
  const context = new Context(target);
  try {
    await entry.run(context);
    return { section, title, status: 'passed', reason: '' };
  } catch (error) {
    const status = error instanceof NotApplicable ? 'skipped' : 'failed';
    return { section, title, status, reason: (error as Error).message };
  } finally {
    context.close();
  }
}
