import type { Socket } from '@etsd/runtime';
import type { DeadlineWheel } from './deadline-wheel.ts';
import { gzip } from './grpc/compression.ts';
import type { Metadata } from './grpc/metadata.ts';
import { encodeStatusMessage, StatusCode } from './grpc/status.ts';
import { GrpcStream, HEADERS_BYTES } from './grpc-stream.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import { fieldBound } from './hpack/encoder.ts';
import type { Connection } from './http2/connection.ts';
import { ErrorCode } from './http2/errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, patchFrameLength, writeFrameHeader } from './http2/frame.ts';
import { StreamState } from './http2/stream.ts';
import type { MethodFigures } from './method-figures.ts';
import type { Encoding, Request } from './request.ts';

/** What serves the calls of one method. The same object serves all of them; what belongs to one call hangs on it. */
export interface MethodHandler {
  /** `unary`: exactly one message comes in, and it is handed on when the client has finished. */
  readonly kind: 'unary' | 'stream';
  /** Streams: the call began. */
  opened?(call: ServerCall): void;
  /** A message came. `bytes[start, end)` is valid during the call only. */
  message(call: ServerCall, bytes: Buffer, start: number, end: number): void;
  /** Streams: the client will send no more messages. */
  halfClosed?(call: ServerCall): void;
  /** The call is over: finished, cancelled, past its deadline, connection lost. Exactly once. */
  closed?(call: ServerCall): void;
  /** The queued bytes of this call fell under the low-water mark. */
  drained?(call: ServerCall): void;
}

/** Where notes hang. */
export interface NotedCall {
  notes: CallNotes | null;
}

/** What is noted of a call on its way, by whoever wants to tell later where its time went. */
export interface CallNotes {
  /** It waited before its handler was given it, up to now. The call may get notes of its own. */
  waited(call: NotedCall, requestBytes: number): void;
  /** What it reads is up to date now. */
  readable(key: string, rangeEnd: string): void;
  /** What it asked is done; its answer is made now. */
  answering(): void;
}

const CONTENT_TYPE = 'application/grpc';
const PINNED_CONTENT_TYPE = `content-type\0${CONTENT_TYPE}`;
const PINNED_OK = 'grpc-status\x000';
/** Longer status messages are cut: they go into one frame. */
const STATUS_MESSAGE_BYTES = 8192;

/** One gRPC call as the server sees it. */
export class ServerCall extends GrpcStream {
  readonly request: Request;
  readonly handler: MethodHandler;
  readonly socket: Socket;
  /** The handler's own slot. */
  context: unknown = null;
  /** Slots of those who stand before the handler. */
  guard: unknown = null;
  guardBytes = 0;
  audit: unknown = null;
  /** Null where nobody notes anything. */
  notes: CallNotes | null = null;
  /** What the handler put into the log for it; null where that is nothing. */
  entry: Buffer | null = null;
  /** How the call ended, as a status code; -1 while it goes on. */
  outcome = -1;
  /** Sent with the response's headers, if set before they go out. */
  headers: Metadata | null = null;
  /** Sent with the status, if set before the call ends. */
  trailers: Metadata | null = null;
  readonly endsWithData = false;
  private compresses = false;

  private readonly wheel: DeadlineWheel;
  private readonly figures: MethodFigures;
  /** When the call began, in milliseconds; below 0 where it is not timed. */
  private readonly sinceMs: number;
  private closedCalled = false;
  private statusCode: number = StatusCode.OK;
  private statusMessage = '';
  /** Unary: the message, held until the client has finished; null before. */
  private held: Buffer | null = null;
  private messages = 0;
  private dataBytes = 0;

  constructor(
    connection: Connection,
    id: number,
    request: Request,
    handler: MethodHandler,
    figures: MethodFigures,
    wheel: DeadlineWheel,
  ) {
    super(connection, id, connection.limits.streamWindowBytes);
    this.request = request;
    this.handler = handler;
    this.figures = figures;
    this.sinceMs = figures.begin() ? connection.host.clock.nowMs() : -1;
    this.socket = connection.socket;
    this.wheel = wheel;
    this.headerBytes = request.size;
  }

  protected override queuedMore(bytes: number): void {
    this.connection.queuedMore(bytes);
  }

  /** When what is being read came; to be asked for while its message is handed on. */
  get receivedMs(): number {
    return this.connection.host.readMs;
  }

  /** A slot that all calls of a connection share, for what is known of the client. */
  get ofPeer(): unknown {
    return this.connection.ofPeer;
  }

  set ofPeer(known: unknown) {
    this.connection.ofPeer = known;
  }

  /** Frames are made in the connection's own buffer. */
  get isCopying(): boolean {
    return true;
  }

  /** So much waits to be read, by this client or by all, that a long answer had better be made as it is taken. */
  get isCongested(): boolean {
    return this.connection.isCongested;
  }

  /** Nothing can be sent now, however short: the client's window is shut. */
  get isShut(): boolean {
    return this.connection.isShut(this);
  }

  /** The handler's `drained` is to be called as soon as the client's window is open. */
  awaitWindow(): void {
    if (!this.isOpen) return;
    this.awaitsWindow = true;
    this.connection.enring(this);
  }

  /** The first message of an answer that would wait behind too many others is refused in its place. */
  protected override mayQueue(): boolean {
    if (this.headersSent || this.handler.kind === 'stream' || !this.connection.readsTooLittle) return true;
    this.fail(StatusCode.RESOURCE_EXHAUSTED, 'etsd: too many answers wait to be read');
    return false;
  }

  /** First value of a request header, by lower-case name. */
  header(name: string): string | undefined {
    return this.request.header(name);
  }

  /** The client's address. */
  get peer(): string {
    return this.socket.remoteAddress;
  }

  /** Common name in the client's certificate, which the handshake has checked; empty where there is none. */
  get peerCommonName(): string {
    return this.socket.peerCertificate?.commonName ?? '';
  }

  // ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends the response headers now, though no message is ready. */
  sendHeaders(): void {
    if (this.isOpen) this.ensureHeaders();
  }

  /**
   * Compress what `sendCompressed` sends, if the client accepts gzip; must come before the first message. Returns whether
   * it does.
   */
  useGzip(): boolean {
    if (!this.headersSent && this.isOpen) this.compresses = this.request.acceptsGzip;
    return this.compresses;
  }

  override commit(): void {
    if (this.isOpen) this.figures.messageSent(this.beginSize);
    super.commit();
  }

  protected override enqueueMessage(chunks: readonly Buffer[], totalBytes: number, compressed: boolean): void {
    super.enqueueMessage(chunks, totalBytes, compressed);
    if (this.isOpen) this.figures.messageSent(totalBytes);
  }

  /** As `send`, compressed if `useGzip` said so. */
  sendCompressed(message: Buffer): void {
    if (!this.compresses) {
      this.send(message);
      return;
    }
    const compressed = gzip(message);
    this.enqueueMessage([compressed], compressed.length, true);
  }

  /** Status 200 and the content type, two bytes once the table knows them. Room must have been made. */
  protected override writeHeaders(): void {
    this.headersSent = true;
    if (this.headers !== null || this.compresses) {
      this.connection.writeFields(this.id, this.headerFields(), false);
      return;
    }
    const { out, encoder } = this.connection;
    const start = out.offset;
    let at = encoder.begin(out.buffer, start + FRAME_HEADER_BYTES);
    out.buffer[at++] = 0x88;
    const index = encoder.pinnedIndex(PINNED_CONTENT_TYPE);
    if (index !== 0) out.buffer[at++] = 0x80 | index;
    else at = encoder.field(out.buffer, at, 'content-type', CONTENT_TYPE, true);
    writeFrameHeader(out.buffer, start, at - start - FRAME_HEADER_BYTES, FrameType.HEADERS, Flag.END_HEADERS, this.id);
    out.offset = at;
  }

  private headerFields(): string[] {
    const fields = [':status', '200', 'content-type', CONTENT_TYPE];
    if (this.compresses) fields.push('grpc-encoding', 'gzip');
    if (this.headers !== null) fields.push(...this.headers.entries);
    return fields;
  }

  /** Ends the call with status OK, behind what was sent before. */
  end(): void {
    this.finish(StatusCode.OK, '');
  }

  /** Ends the call with an error, behind what was sent before. */
  fail(code: number, message: string): void {
    this.finish(code, message);
  }

  private finish(code: number, message: string): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.outcome = code;
    this.statusCode = code;
    this.statusMessage = message;
    if (this.queuedBytes === 0) this.writeEnd();
    else this.endQueued = true;
  }

  /** Trailers; with them the call is over for us. */
  override writeEnd(): void {
    const message = this.statusMessage === '' ? '' : this.encodedMessage();
    if (this.trailers === null && (this.headers === null || this.headersSent)) this.writeTrailers(message);
    else this.writeTrailersWithMetadata(message);
    const { connection } = this;
    connection.touch();
    connection.outputEnded(this);
    // The rest of the request is of no interest: tell the client to stop sending it (RFC 9113 §8.1).
    if (this.state === StreamState.HALF_CLOSED_LOCAL) connection.cancelStream(this, ErrorCode.NO_ERROR);
    this.callClosed();
  }

  private writeTrailersWithMetadata(message: string): void {
    const fields = this.headersSent ? [] : this.headerFields();
    this.headersSent = true;
    fields.push('grpc-status', String(this.statusCode));
    if (message !== '') fields.push('grpc-message', message);
    if (this.trailers !== null) fields.push(...this.trailers.entries);
    this.connection.writeFields(this.id, fields, true);
  }

  /** The usual end: one byte in the table once the first call has put it there. */
  private writeTrailers(message: string): void {
    const { out, encoder } = this.connection;
    out.reserve(HEADERS_BYTES + fieldBound('grpc-message', message));
    const start = out.offset;
    let at = encoder.begin(out.buffer, start + FRAME_HEADER_BYTES);
    if (!this.headersSent) {
      this.headersSent = true;
      out.buffer[at++] = 0x88;
      at = encoder.field(out.buffer, at, 'content-type', CONTENT_TYPE, true);
    }
    const index = this.statusCode === StatusCode.OK ? encoder.pinnedIndex(PINNED_OK) : 0;
    if (index !== 0) out.buffer[at++] = 0x80 | index;
    else at = encoder.field(out.buffer, at, 'grpc-status', String(this.statusCode), this.statusCode === StatusCode.OK);
    if (message !== '') at = encoder.field(out.buffer, at, 'grpc-message', message, false);
    writeFrameHeader(out.buffer, start, 0, FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, this.id);
    patchFrameLength(out.buffer, start, at - start - FRAME_HEADER_BYTES);
    out.offset = at;
  }

  private encodedMessage(): string {
    const text = encodeStatusMessage(this.statusMessage);
    return text.length <= STATUS_MESSAGE_BYTES ? text : text.slice(0, STATUS_MESSAGE_BYTES).replace(/%.?$/, '');
  }

  private callClosed(): void {
    if (this.closedCalled) return;
    this.closedCalled = true;
    this.isOpen = false;
    this.figures.end(this.outcome);
    if (this.sinceMs >= 0) this.figures.times.observe((this.connection.host.clock.nowMs() - this.sinceMs) / 1000);
    if (this.wheelNext !== null) this.wheel.remove(this);
    this.handler.closed?.(this);
  }

  // ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get isListening(): boolean {
    return this.isOpen;
  }

  protected override get waitsForEnd(): boolean {
    return this.handler.kind === 'unary';
  }

  protected override get receivedEncoding(): Encoding {
    return this.request.encoding;
  }

  override receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.request.contentLength >= 0 && this.isOpen && !this.lengthFits(end - start, endStream)) return;
    super.receiveData(bytes, start, end, endStream);
  }

  protected override deliversAtOnce(endStream: boolean): boolean {
    return endStream || this.handler.kind === 'stream';
  }

  /** Content-Length, where a client gives one, must match (RFC 9113 §8.1.1). */
  private lengthFits(bytes: number, endStream: boolean): boolean {
    this.dataBytes += bytes;
    const promised = this.request.contentLength;
    if (this.dataBytes <= promised && (!endStream || this.dataBytes === promised)) return true;
    this.connection.resetStream(this, ErrorCode.PROTOCOL_ERROR);
    return false;
  }

  /** A unary call's first message counts; grpc-go's server does not look at more of them either. */
  protected override deliver(bytes: Buffer, start: number, end: number): void {
    this.messages++;
    this.figures.messageReceived(end - start);
    if (this.state !== StreamState.OPEN) this.inputSinceMs = 0;
    if (this.handler.kind === 'stream' || (this.messages === 1 && this.state !== StreamState.OPEN)) {
      this.handOn(bytes, start, end);
    } else if (this.messages === 1) this.held = Buffer.from(bytes.subarray(start, end));
  }

  private handOn(bytes: Buffer, start: number, end: number): void {
    if (this.sinceMs < 0) {
      this.handler.message(this, bytes, start, end);
      return;
    }
    const { clock } = this.connection.host;
    const sinceMs = clock.nowMs();
    this.handler.message(this, bytes, start, end);
    this.figures.heldSeconds += (clock.nowMs() - sinceMs) / 1000;
  }

  protected override refuseMessage(code: StatusCode, text: string): void {
    this.fail(code, text);
  }

  override receiveTrailers(_block: HeaderBlock): void {
    if (!this.isOpen) return;
    if (this.request.contentLength >= 0 && !this.lengthFits(0, true)) return;
    this.inputEnded();
  }

  /** The client has finished; also called for a request that ends with its headers. */
  override inputEnded(): void {
    if (this.reader !== null && this.reader.heldBytes > 0) {
      this.fail(StatusCode.UNKNOWN, 'unexpected EOF');
      return;
    }
    if (!this.isOpen) return;
    if (this.handler.kind === 'stream') this.handler.halfClosed?.(this);
    else if (this.held !== null) {
      const message = this.held;
      this.held = null;
      this.handOn(message, 0, message.length);
    } else if (this.messages === 0) {
      this.fail(StatusCode.UNKNOWN, 'EOF');
    }
  }

  override expired(): void {
    if (this.queuedBytes > 0) {
      // Nobody waits for what is still queued.
      this.connection.cancelStream(this, ErrorCode.CANCEL);
      this.outcome = StatusCode.DEADLINE_EXCEEDED;
      this.callClosed();
    } else this.fail(StatusCode.DEADLINE_EXCEEDED, 'context deadline exceeded');
  }

  override aborted(): void {
    this.isOpen = false;
    if (this.outcome < 0) this.outcome = StatusCode.CANCELLED;
    this.callClosed();
  }

  override queueDrained(): void {
    if (this.isOpen) this.handler.drained?.(this);
  }
}
