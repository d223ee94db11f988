/**
 * One question to the peer port of a member, over HTTP/1.1: what has to be known before this member has connections of
 * its own to the others. A connection for each question; an answer is short, and read whole.
 */
import type { Socket, SocketReceiver, Timer, TlsOptions, World } from '@etsd/runtime';
import { isSecure } from '../config/validate-tls.ts';
import { parseEndpoint } from '../config/values.ts';
import { socketAddressOf } from '../listeners.ts';

/** The longest answer that is read: the members of a cluster many times over. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

export interface PeerAnswer {
  readonly status: number;
  /** By names in small letters. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export interface AskOptions {
  readonly world: Pick<World, 'network' | 'timers'>;
  /** For peers whose URLs are https; null: the system's authorities, no certificate of ours. */
  readonly tls: TlsOptions | null;
  readonly timeoutMs: number;
}

/** GETs `path` at a peer URL; rejects where there is no whole answer in time. */
export function askPeer(url: string, path: string, options: AskOptions): Promise<PeerAnswer> {
  const endpoint = parseEndpoint(url);
  const { network, timers } = options.world;
  const { timeoutMs } = options;
  const tls = isSecure(endpoint) ? { ...(options.tls ?? {}), alpn: ['http/1.1'] } : null;
  const socket = network.dial(socketAddressOf(endpoint), {
    connectTimeoutMs: timeoutMs,
    ...(tls === null ? {} : { tls }),
  });
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  const authority = endpoint.port === 0 ? 'localhost' : `${host}:${endpoint.port}`;
  const request = `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: etsd\r\nConnection: close\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const question = new Question(socket, Buffer.from(request, 'latin1'), resolve, reject);
    question.timer = timers.after(timeoutMs, () =>
      question.fail(new Error(`no answer from ${url} in ${timeoutMs} ms`)),
    );
    socket.start(question);
  });
}

class Question implements SocketReceiver {
  timer: Timer | null = null;
  private readonly socket: Socket;
  private readonly request: Buffer;
  private readonly resolve: (answer: PeerAnswer) => void;
  private readonly reject: (error: Error) => void;
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private isSettled = false;

  constructor(socket: Socket, request: Buffer, resolve: (answer: PeerAnswer) => void, reject: (error: Error) => void) {
    this.socket = socket;
    this.request = request;
    this.resolve = resolve;
    this.reject = reject;
  }

  opened(): void {
    this.socket.write(this.request, 0, this.request.length);
  }

  data(bytes: Buffer, start: number, end: number): void {
    this.size += end - start;
    if (this.size > ANSWER_BYTES_MAX) {
      this.fail(new Error('the answer is too long'));
      return;
    }
    this.chunks.push(Buffer.from(bytes.subarray(start, end)));
    // Not every server ends the connection when it is asked to.
    this.settle(readAnswer(Buffer.concat(this.chunks), false));
  }

  written(): void {}

  ended(): void {
    this.settle(readAnswer(Buffer.concat(this.chunks), true));
    this.fail(new Error('the answer broke off'));
  }

  closed(error: Error | null): void {
    this.fail(error ?? new Error('the connection was closed'));
  }

  fail(error: Error): void {
    if (this.isSettled) return;
    this.finish();
    this.reject(error);
  }

  private settle(answer: PeerAnswer | null): void {
    if (answer === null || this.isSettled) return;
    this.finish();
    this.resolve(answer);
  }

  private finish(): void {
    this.isSettled = true;
    this.timer?.cancel();
    this.socket.destroy();
  }
}

/** The answer in these bytes (RFC 9112), or null while it is not whole; `isEnd`: no more will come. */
export function readAnswer(bytes: Buffer, isEnd: boolean): PeerAnswer | null {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const [first, ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n') as [string, ...string[]];
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1];
  if (status === undefined) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  const rest = bytes.subarray(headEnd + 4);
  const body = headers.get('transfer-encoding') === 'chunked' ? joinedChunks(rest) : wholeBody(rest, headers, isEnd);
  return body === null ? null : { status: Number(status), headers, body };
}

function wholeBody(rest: Buffer, headers: ReadonlyMap<string, string>, isEnd: boolean): Buffer | null {
  const length = headers.get('content-length');
  if (length === undefined) return isEnd ? rest : null;
  return rest.length < Number(length) ? null : rest.subarray(0, Number(length));
}

function joinedChunks(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (!(size >= 0)) return null;
    if (size === 0) return Buffer.concat(parts);
    const start = lineEnd + 2;
    if (bytes.length < start + size + 2) return null;
    parts.push(bytes.subarray(start, start + size));
    at = start + size + 2;
  }
}
