import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { BodyGatherer, type BodyReceiver, type WebExchange } from './web-exchange.ts';

/** A client that takes nothing of its answer for this long is cut off. */
const WRITE_STALL_MS = 60_000;
/** What is left of a body that nobody wants is read up to this length, so that the connection can be used again. */
const UNREAD_BYTES_MAX = 256 * 1024;
/** Of a longer one, this long what comes is read and thrown away, so that the client gets to read its answer. */
const LINGER_MS = 2000;

/** Over `node:http`. */
export class Http1Exchange implements WebExchange {
  readonly method: string;
  readonly target: string;
  readonly isSecure: boolean;
  isOpen = true;
  onGone: (() => void) | null = null;
  onDrained: (() => void) | null = null;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private stall: NodeJS.Timeout | null = null;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.method = request.method ?? 'GET';
    this.target = request.url ?? '/';
    this.isSecure = (request.socket as Partial<TLSSocket>).encrypted === true;
    // A connection that breaks closes the response; nobody is left who could be told more.
    request.on('error', nobodyLeft);
    response.on('error', nobodyLeft);
    response.on('close', () => this.closed());
  }

  get peerCommonName(): string {
    return commonNameOf(this.request.socket as Partial<TLSSocket>);
  }

  get peer(): string {
    const { remoteAddress = '', remotePort = 0 } = this.request.socket;
    return `${remoteAddress}:${remotePort}`;
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  get queuedBytes(): number {
    return this.response.writableLength;
  }

  readBody(limit: number, done: (body: Buffer | null) => void): void {
    this.receiveBody(new BodyGatherer(limit, done));
  }

  receiveBody(receiver: BodyReceiver): void {
    const { request } = this;
    request.on('data', (chunk: Buffer) => receiver.data(chunk, 0, chunk.length));
    request.on('end', () => receiver.ended());
  }

  respond(status: number, headers: readonly string[], body: string | Buffer): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    // These have no body, and to tell the length of none would say something else (RFC 9110 §8.6).
    const isBodiless = status === 204 || status === 304;
    this.head(status, isBodiless ? headers : [...headers, 'Content-Length', String(length)]);
    const sent = this.method === 'HEAD' ? '' : body;
    if (this.isBodyLeft()) this.linger(sent);
    else this.response.end(sent);
  }

  /**
   * Closing at once, while more of the body comes, would reset the connection, and a client that is still sending
   * would lose the answer that says why (RFC 9112 §9.6). The answer's length tells the client that it is whole.
   */
  private linger(body: string | Buffer): void {
    const { request, response } = this;
    if (body.length > 0) response.write(body);
    else response.flushHeaders();
    request.resume();
    const end = (): void => {
      response.end();
    };
    const timer = setTimeout(end, LINGER_MS).unref();
    request.once('end', end);
    response.once('close', () => clearTimeout(timer));
  }

  begin(status: number, headers: readonly string[]): void {
    if (this.isOpen && !this.response.headersSent) this.head(status, headers);
  }

  flush(): void {
    if (this.isOpen) this.response.flushHeaders();
  }

  private head(status: number, headers: readonly string[]): void {
    if (this.isBodyLeft()) this.response.shouldKeepAlive = false;
    this.response.writeHead(status, headers as string[]);
  }

  /** A short rest of the body is read, so that the connection can serve on; for a long one it is not worth it. */
  private isBodyLeft(): boolean {
    const { request } = this;
    if (this.isOpen || request.complete) return false;
    return Number(request.headers['content-length'] ?? 0) > UNREAD_BYTES_MAX || 'transfer-encoding' in request.headers;
  }

  write(text: string | Buffer): void {
    if (!this.isOpen || this.method === 'HEAD' || text.length === 0) return;
    if (this.response.write(text) || this.stall !== null) return;
    this.stall = setTimeout(() => this.response.destroy(), WRITE_STALL_MS).unref();
    this.response.once('drain', () => {
      this.stopWaiting();
      if (this.isOpen) this.onDrained?.();
    });
  }

  end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.response.end();
  }

  abort(): void {
    this.isOpen = false;
    this.response.destroy();
  }

  private stopWaiting(): void {
    if (this.stall !== null) clearTimeout(this.stall);
    this.stall = null;
  }

  private closed(): void {
    this.stopWaiting();
    if (!this.isOpen) return;
    this.isOpen = false;
    this.onGone?.();
  }
}

function nobodyLeft(): void {}

/** Of a client's certificate that the handshake has checked. */
export function commonNameOf(socket: Partial<TLSSocket>): string {
  if (socket.encrypted !== true || socket.authorized !== true) return '';
  const name = socket.getPeerCertificate?.().subject?.CN as string | readonly string[] | undefined;
  return (typeof name === 'string' ? name : name?.[0]) ?? '';
}
