/**
 * A request that goes on over a WebSocket (RFC 6455), as etcd's gateway has it: the messages of the client are the
 * request's body, one behind the other, and each line of the answer is a message. Browsers can not stream a body or set
 * headers otherwise; a token comes as the subprotocols `Bearer, TOKEN`.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { commonNameOf } from './http1-exchange.ts';
import { BodyGatherer, type BodyReceiver, type WebExchange } from './web-exchange.ts';
import { CloseCode, FrameReader, type FrameReceiver, Opcode, writeClose, writeFrame } from './websocket-frames.ts';

/** RFC 6455 §1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const LINE_FEED = Buffer.from('\n');
/** A client that takes nothing for this long is cut off. */
const WRITE_STALL_MS = 60_000;
/** After our last word, until the connection is cut. */
const LINGER_MS = 2_000;

/** Why an upgrade is refused: the status; null where nothing is wrong with it. */
export function refusedUpgrade(request: IncomingMessage): number | null {
  const { headers } = request;
  if (headers.upgrade?.toLowerCase() !== 'websocket' || headers['sec-websocket-version'] !== '13') return 400;
  if (request.method !== 'GET') return 405;
  const key = headers['sec-websocket-key'] ?? '';
  return /^[A-Za-z0-9+/]{22}==$/.test(key) ? null : 400;
}

/** The answer that makes a connection a WebSocket. */
function handshake(request: IncomingMessage): string {
  const key = request.headers['sec-websocket-key'] ?? '';
  const accept = createHash('sha1')
    .update(key + ACCEPT_SUFFIX)
    .digest('base64');
  const bearer = protocolsOf(request).startsWith('Bearer') ? 'Sec-WebSocket-Protocol: Bearer\r\n' : '';
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${bearer}\r\n`;
}

function protocolsOf(request: IncomingMessage): string {
  return request.headers['sec-websocket-protocol'] ?? '';
}

export class WebSocketExchange implements WebExchange, FrameReceiver {
  /** Whatever the handshake was, the call it stands for is one. */
  readonly method = 'POST';
  readonly target: string;
  readonly isSecure: boolean;
  readonly peerCommonName: string;
  readonly peer: string;
  isOpen = true;
  onGone: (() => void) | null = null;
  onDrained: (() => void) | null = null;
  private readonly request: IncomingMessage;
  private readonly socket: Duplex;
  private readonly frames: FrameReader;
  private body: BodyReceiver | null = null;
  private line = '';
  private stall: NodeJS.Timeout | null = null;
  private hasClosed = false;
  private isBodyOver = false;

  /** `messageBytesMax` bounds what a client may send at a time. */
  constructor(request: IncomingMessage, socket: Duplex, head: Buffer, messageBytesMax: number) {
    this.request = request;
    this.socket = socket;
    this.target = request.url ?? '/';
    const secure = socket as Partial<TLSSocket>;
    this.isSecure = secure.encrypted === true;
    this.peerCommonName = commonNameOf(secure);
    this.peer = `${request.socket.remoteAddress ?? ''}:${request.socket.remotePort ?? 0}`;
    this.frames = new FrameReader(messageBytesMax, this);
    socket.on('error', () => {});
    socket.on('close', () => this.gone());
    socket.on('end', () => this.closed());
    socket.write(handshake(request));
    socket.on('data', (chunk: Buffer) => this.frames.push(chunk));
    if (head.length > 0) socket.unshift(head);
    // Nothing is read before the exchange has its receiver.
    socket.pause();
  }

  header(name: string): string | undefined {
    if (name === 'authorization') return this.token ?? this.request.headers.authorization;
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  private get token(): string | undefined {
    const protocols = protocolsOf(this.request);
    const comma = protocols.indexOf('Bearer,');
    return comma < 0 ? undefined : `Bearer ${protocols.slice(comma + 'Bearer,'.length).trim()}`;
  }

  get queuedBytes(): number {
    return this.socket.writableLength;
  }

  // ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Here a body has no end but the connection's: the first message is all that a single request is. */
  readBody(limit: number, done: (body: Buffer | null) => void): void {
    const gatherer = new BodyGatherer(limit, done);
    this.receiveBody({
      data: (bytes, start, end) => {
        gatherer.data(bytes, start, end);
        if (end - start !== 1 || bytes !== LINE_FEED) return;
        this.body = null;
        gatherer.ended();
      },
      ended: () => gatherer.ended(),
    });
  }

  receiveBody(receiver: BodyReceiver): void {
    this.body = receiver;
    this.socket.resume();
  }

  message(bytes: Buffer): void {
    this.body?.data(bytes, 0, bytes.length);
    this.body?.data(LINE_FEED, 0, 1);
  }

  ping(payload: Buffer): void {
    // A client that asks and does not read is not answered any more.
    if (!this.hasClosed && this.socket.writableLength < WRITE_QUEUE_MAX) this.send(Opcode.PONG, payload);
  }

  /** The client takes its leave: nobody reads on. */
  closed(): void {
    if (this.isBodyOver) return;
    this.isBodyOver = true;
    this.close(CloseCode.NORMAL);
  }

  failed(code: number): void {
    this.close(code);
  }

  // ── what goes ─────────────────────────────────────────────────────────────────────────────────────────────────────

  respond(_status: number, _headers: readonly string[], body: string | Buffer): void {
    this.write(body);
    this.end();
  }

  /** A WebSocket has no place for a status or headers: an error shows in the text. */
  begin(_status: number, _headers: readonly string[]): void {}

  flush(): void {}

  write(text: string | Buffer): void {
    if (!this.isOpen) return;
    const lines = (this.line + text.toString()).split('\n');
    this.line = lines.pop() as string;
    for (const line of lines) if (line !== '') this.send(Opcode.TEXT, Buffer.from(line));
  }

  end(): void {
    if (!this.isOpen) return;
    if (this.line !== '') this.send(Opcode.TEXT, Buffer.from(this.line));
    this.line = '';
    this.isOpen = false;
    this.close(CloseCode.NORMAL);
  }

  abort(): void {
    this.isOpen = false;
    this.socket.destroy();
  }

  private send(opcode: number, payload: Buffer): void {
    if (this.socket.write(writeFrame(opcode, payload)) || this.stall !== null) return;
    this.stall = setTimeout(() => this.socket.destroy(), WRITE_STALL_MS).unref();
    this.socket.once('drain', () => {
      this.stopWaiting();
      if (this.isOpen) this.onDrained?.();
    });
  }

  /** Our last word. */
  private close(code: number): void {
    if (this.hasClosed) return;
    this.hasClosed = true;
    this.socket.end(writeClose(code));
    this.socket.resume();
    setTimeout(() => this.socket.destroy(), LINGER_MS).unref();
    this.left();
  }

  private gone(): void {
    this.stopWaiting();
    this.left();
  }

  private left(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.onGone?.();
  }

  private stopWaiting(): void {
    if (this.stall !== null) clearTimeout(this.stall);
    this.stall = null;
  }
}

/** Queued bytes from which pings are passed over. */
const WRITE_QUEUE_MAX = 64 * 1024;
