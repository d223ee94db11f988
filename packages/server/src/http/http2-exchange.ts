import type { HttpExchange, HttpReceiver } from '@etsd/rpc';
import { BodyGatherer, type BodyReceiver, type WebExchange } from './web-exchange.ts';

/** Over the HTTP/2 of `rpc`. */
export class Http2Exchange implements WebExchange, HttpReceiver {
  onGone: (() => void) | null = null;
  onDrained: (() => void) | null = null;
  private readonly inner: HttpExchange;
  private body: BodyReceiver | null = null;

  constructor(inner: HttpExchange) {
    this.inner = inner;
    inner.receiver = this;
  }

  get method(): string {
    return this.inner.method;
  }

  get target(): string {
    return this.inner.path;
  }

  get isSecure(): boolean {
    return this.inner.socket.encrypted;
  }

  get peerCommonName(): string {
    return this.inner.socket.peerCertificate?.commonName ?? '';
  }

  get peer(): string {
    return this.inner.socket.remoteAddress;
  }

  header(name: string): string | undefined {
    return name === 'host' ? this.inner.request.authority : this.inner.header(name);
  }

  get isOpen(): boolean {
    return this.inner.isOpen;
  }

  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  readBody(limit: number, done: (body: Buffer | null) => void): void {
    this.body = new BodyGatherer(limit, done);
  }

  receiveBody(receiver: BodyReceiver): void {
    // The body of a stream may take as long as the stream does.
    this.inner.inputSinceMs = 0;
    this.body = receiver;
  }

  respond(status: number, headers: readonly string[], body: string | Buffer): void {
    if (status === 204 || status === 304) {
      this.begin(status, headers);
      this.end();
      return;
    }
    this.inner.respond(status, lowerCased(headers), typeof body === 'string' ? Buffer.from(body) : body);
  }

  begin(status: number, headers: readonly string[]): void {
    this.inner.sendHead(status, lowerCased(headers));
  }

  /** The head has been sent. */
  flush(): void {}

  write(text: string | Buffer): void {
    if (this.method !== 'HEAD') this.inner.write(typeof text === 'string' ? Buffer.from(text) : text);
  }

  end(): void {
    this.inner.end();
  }

  abort(): void {
    if (this.inner.isOpen) this.inner.abort();
  }

  // ── what the transport tells ──────────────────────────────────────────────────────────────────────────────────────

  data(bytes: Buffer, start: number, end: number): void {
    this.body?.data(bytes, start, end);
  }

  ended(): void {
    this.body?.ended();
  }

  aborted(): void {
    this.onGone?.();
  }

  drained(): void {
    this.onDrained?.();
  }
}

/** Names of HTTP/2 headers are in lower case. */
function lowerCased(headers: readonly string[]): string[] {
  return headers.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text));
}
