import type { Socket } from '@etsd/runtime';
import type { HeaderBlock } from './hpack/decoder.ts';
import type { Connection } from './http2/connection.ts';
import { ErrorCode } from './http2/errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './http2/frame.ts';
import { type AbortCause, Stream, StreamState } from './http2/stream.ts';
import type { Request } from './request.ts';

/** Serves requests over HTTP/2 that are not gRPC. */
export interface HttpHandler {
  /** A request's headers came. The body follows to `exchange.receiver` or `exchange.readBody`, to be set in here. */
  request(exchange: HttpExchange): void;
}

/** Takes a request's body as it comes. */
export interface HttpReceiver {
  /** `bytes[start, end)` is valid during the call only. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The body is complete. */
  ended(): void;
  /** The exchange broke off: the client gave up or is gone. Nothing can be sent any more. */
  aborted?(): void;
  /** What was written has gone out to below the low-water mark. */
  drained?(): void;
}

/** One request and its response. */
export class HttpExchange extends Stream {
  readonly request: Request;
  readonly socket: Socket;
  receiver: HttpReceiver | null = null;
  /** The handler's own slot. */
  context: unknown = null;
  /** The response can still be written. */
  isOpen = true;
  readonly endsWithData = true;
  private headSent = false;
  private dataBytes = 0;
  private inputDone = false;

  constructor(connection: Connection, id: number, request: Request) {
    super(connection, id, connection.limits.streamWindowBytes);
    this.request = request;
    this.socket = connection.socket;
    this.headerBytes = request.size;
  }

  protected override queuedMore(bytes: number): void {
    this.connection.queuedMore(bytes);
  }

  get method(): string {
    return this.request.method;
  }

  /** Path and query. */
  get path(): string {
    return this.request.path;
  }

  /** First value of a header, by lower-case name. */
  header(name: string): string | undefined {
    return this.request.header(name);
  }

  // ── the body that comes in ────────────────────────────────────────────────────────────────────────────────────────

  /** Gathers the whole body, then calls `done`: with null where it is longer than `limit` or broke off. */
  readBody(limit: number, done: (body: Buffer | null) => void): void {
    this.receiver = new BodyReader(limit, done);
    if (this.inputDone) this.receiver.ended();
  }

  override receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void {
    this.dataBytes += end - start;
    const promised = this.request.contentLength;
    if (promised >= 0 && (this.dataBytes > promised || (endStream && this.dataBytes !== promised))) {
      this.connection.resetStream(this, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (end > start) this.receiver?.data(bytes, start, end);
    if (endStream) this.inputEnded();
    else if (this.receiver !== null && this.state !== StreamState.CLOSED) this.credit();
  }

  private credit(): void {
    const window = this.connection.limits.streamWindowBytes;
    if (this.receiveWindow < window >> 1) this.connection.receive.creditStream(this, window - this.receiveWindow);
  }

  override receiveTrailers(_block: HeaderBlock): void {
    this.inputEnded();
  }

  /** The request is complete; also called for one that ends with its headers. */
  inputEnded(): void {
    this.inputDone = true;
    this.inputSinceMs = 0;
    this.receiver?.ended();
  }

  // ── the response that goes out ────────────────────────────────────────────────────────────────────────────────────

  /** A whole response at once. `headers` are lower-case names and values in turn. */
  respond(status: number, headers: readonly string[], body: Buffer): void {
    if (!this.isOpen || this.headSent) return;
    const fields = [':status', String(status), ...headers, 'content-length', String(body.length)];
    if (this.request.method === 'HEAD' || body.length === 0) {
      this.writeHead(fields, true);
      return;
    }
    this.writeHead(fields, false);
    this.write(body);
    this.end();
  }

  /** Status and headers of a response whose body is written piece by piece. */
  sendHead(status: number, headers: readonly string[]): void {
    if (this.isOpen && !this.headSent) this.writeHead([':status', String(status), ...headers], false);
  }

  private writeHead(fields: readonly string[], last: boolean): void {
    this.headSent = true;
    this.connection.writeFields(this.id, fields, last);
    if (last) this.outputDone();
  }

  /** Adds to the body. The bytes must not change any more. Look at `queuedBytes`, and wait for `drained`. */
  write(bytes: Buffer): void {
    if (!this.isOpen || bytes.length === 0) return;
    this.enqueue(bytes);
    this.connection.enring(this);
  }

  end(): void {
    if (!this.isOpen) return;
    this.endQueued = true;
    this.isOpen = false;
    this.connection.enring(this);
  }

  override writeEnd(): void {
    const { out } = this.connection;
    out.reserve(FRAME_HEADER_BYTES);
    out.offset = writeFrameHeader(out.buffer, out.offset, 0, FrameType.DATA, Flag.END_STREAM, this.id);
    this.outputDone();
  }

  private outputDone(): void {
    this.isOpen = false;
    this.connection.outputEnded(this);
    this.connection.touch();
    if (this.state === StreamState.HALF_CLOSED_LOCAL) this.connection.cancelStream(this, ErrorCode.NO_ERROR);
  }

  /** Breaks off. */
  abort(code: ErrorCode = ErrorCode.INTERNAL_ERROR): void {
    this.isOpen = false;
    this.connection.cancelStream(this, code);
  }

  override aborted(_code: number, _cause: AbortCause): void {
    this.isOpen = false;
    this.receiver?.aborted?.();
  }

  override queueDrained(): void {
    if (this.isOpen) this.receiver?.drained?.();
  }
}

/** Gathers a body up to a limit. */
class BodyReader implements HttpReceiver {
  private readonly limit: number;
  private done: ((body: Buffer | null) => void) | null;
  private readonly parts: Buffer[] = [];
  private length = 0;

  constructor(limit: number, done: (body: Buffer | null) => void) {
    this.limit = limit;
    this.done = done;
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.done === null) return;
    this.length += end - start;
    if (this.length > this.limit) this.finish(null);
    else this.parts.push(Buffer.from(bytes.subarray(start, end)));
  }

  ended(): void {
    this.finish(Buffer.concat(this.parts));
  }

  aborted(): void {
    this.finish(null);
  }

  private finish(body: Buffer | null): void {
    const done = this.done;
    this.done = null;
    done?.(body);
  }
}
