import { PREFIX_BYTES } from './grpc/message.ts';
import type { Metadata } from './grpc/metadata.ts';
import { StatusCode, statusOfHttp, statusOfReset } from './grpc/status.ts';
import { GrpcStream } from './grpc-stream.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import type { Field } from './hpack/table.ts';
import type { Connection } from './http2/connection.ts';
import { ErrorCode, errorCodeName } from './http2/errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './http2/frame.ts';
import { AbortCause, StreamState } from './http2/stream.ts';
import { Encoding } from './request.ts';
import { Response } from './response.ts';

/** Who is told what becomes of a call. One receiver may serve many calls, one after the other or at a time. */
export interface CallReceiver {
  /** The response's headers came. */
  headers?(call: ClientCall, fields: readonly Field[]): void;
  /** A message came. `bytes[start, end)` is valid during the call only. */
  message(call: ClientCall, bytes: Buffer, start: number, end: number): void;
  /** The call is over; exactly once, the last callback. */
  closed(call: ClientCall, code: number, message: string, trailers: readonly Field[]): void;
  /** The queued bytes of this call fell under the low-water mark. */
  drained?(call: ClientCall): void;
}

/** What a call needs of its channel. */
export interface CallOwner {
  /** The call is over; it may have been waiting, running, or neither. */
  callClosed(call: ClientCall): void;
  /** The server refused the call without working on it; start it again. */
  repeat(call: ClientCall): void;
  /** Writes the header block of a call that has just been given a stream. */
  writeCallHeaders(call: ClientCall): void;
}

const NO_FIELDS: readonly Field[] = [];

/**
 * One gRPC call as the client sees it. Born without a stream (`id` 0): what is sent before the connection stands waits in
 * the queue.
 */
export class ClientCall extends GrpcStream {
  readonly path: string;
  readonly metadata: Metadata | null;
  readonly receiver: CallReceiver;
  /** The caller's own slot. */
  context: unknown = null;
  /** −1: none. */
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  /** Whether the call waits through failed attempts to connect, instead of failing with the first. */
  readonly waitForReady: boolean;
  readonly endsWithData = true;

  private readonly owner: CallOwner;
  isClosed = false;
  /** Something of the request may have left. */
  private sentSomething = false;
  /** The request, where it consists of one message sent by `sendLast`. */
  private onlyMessage: Buffer | null = null;
  private response: Response | null = null;

  constructor(owner: CallOwner, options: ClientCallOptions, unassigned: Connection) {
    super(unassigned, 0, 0);
    this.owner = owner;
    this.path = options.path;
    this.metadata = options.metadata;
    this.receiver = options.receiver;
    this.timeoutMs = options.timeoutMs;
    this.deadlineMs = options.deadlineMs;
    this.waitForReady = options.waitForReady;
  }

  /** Response header by lower-case name; undefined before they came. */
  header(name: string): string | undefined {
    for (const field of this.response?.fields ?? NO_FIELDS) if (field.name === name) return field.value;
    return undefined;
  }

  /** Gives the call its stream. The headers go out with the first message, or now where messages wait already. */
  assign(connection: Connection, id: number): void {
    this.connection = connection;
    this.id = id;
    this.sendCredit = 0;
    this.receiveWindow = connection.limits.streamWindowBytes;
    this.state = StreamState.OPEN;
    connection.addStream(this);
    this.ensureHeaders();
    if (this.queuedBytes > 0 || this.endQueued) connection.enring(this);
  }

  protected override writeHeaders(): void {
    this.headersSent = true;
    this.owner.writeCallHeaders(this);
  }

  // ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends one message and ends our side with it: the usual way of a unary call. */
  sendLast(message: Buffer): void {
    if (!this.isOpen) return;
    if (!this.sentSomething) this.onlyMessage = message;
    if (this.id === 0 || !this.connection.canWriteNow(this, PREFIX_BYTES + message.length)) {
      this.send(message);
      this.halfClose();
      return;
    }
    this.beginLast(message.length);
    message.copy(this.target.buffer, this.target.offset);
    this.commitLast();
  }

  override commit(): void {
    this.sentSomething = true;
    super.commit();
  }

  protected override enqueueMessage(chunks: readonly Buffer[], totalBytes: number, compressed: boolean): void {
    if (this.id !== 0) this.sentSomething = true;
    super.enqueueMessage(chunks, totalBytes, compressed);
  }

  /** As `begin`, for the last message. */
  beginLast(size: number): void {
    this.beginMessage(size, true);
  }

  commitLast(): void {
    if (!this.isOpen) return;
    this.sentSomething = true;
    if (this.commitMessage()) {
      this.isOpen = false;
      this.connection.outputEnded(this);
    } else this.halfClose();
  }

  /** No more messages from us. */
  halfClose(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.endQueued = true;
    if (this.id === 0) return;
    if (this.queuedBytes === 0) {
      this.endQueued = false;
      this.writeEnd();
    } else this.connection.enring(this);
  }

  override writeEnd(): void {
    const { out } = this.connection;
    out.reserve(FRAME_HEADER_BYTES);
    out.offset = writeFrameHeader(out.buffer, out.offset, 0, FrameType.DATA, Flag.END_STREAM, this.id);
    this.connection.touch();
    this.connection.outputEnded(this);
  }

  /** The server is to hold back what follows; what its window allows still comes, a message that it has begun too. */
  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (!this.isClosed && this.id !== 0) this.afterData();
  }

  /** Gives up; the receiver is told CANCELLED. */
  cancel(): void {
    this.abandon(StatusCode.CANCELLED, 'context canceled');
  }

  override expired(): void {
    this.abandon(StatusCode.DEADLINE_EXCEEDED, 'context deadline exceeded');
  }

  /** Ends the call with an outcome of our own; the server is told to stop. */
  abandon(code: number, message: string): void {
    if (this.isClosed) return;
    if (this.id !== 0) this.connection.cancelStream(this, ErrorCode.CANCEL);
    this.finish(code, message, NO_FIELDS);
  }

  // ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get isListening(): boolean {
    return !this.isClosed;
  }

  protected override get waitsForEnd(): boolean {
    return false;
  }

  protected override get receivedEncoding(): Encoding {
    return this.response?.encoding ?? Encoding.IDENTITY;
  }

  protected override deliversAtOnce(): boolean {
    return this.response !== null;
  }

  protected override deliver(bytes: Buffer, start: number, end: number): void {
    this.receiver.message(this, bytes, start, end);
  }

  protected override refuseMessage(code: StatusCode, text: string): void {
    this.abandon(code, text);
  }

  override receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void {
    if (this.response === null) {
      this.abandon(StatusCode.INTERNAL, 'DATA before response headers');
      return;
    }
    if (this.response.status === 200 && this.response.isGrpc) super.receiveData(bytes, start, end, endStream);
    else if (endStream) this.inputEnded();
  }

  /** A header block of the response: headers, then trailers. */
  receiveBlock(block: HeaderBlock, endStream: boolean): void {
    if (this.isClosed) return;
    block.meaning ??= new Response(block);
    const response = block.meaning as Response;
    if (response.tooLarge) {
      this.abandon(StatusCode.INTERNAL, 'response header list too large');
    } else if (response.malformed || (this.response === null ? response.status === 0 : !endStream)) {
      this.abandon(StatusCode.INTERNAL, 'malformed response headers');
    } else if (this.response === null && response.status < 200 && !endStream) {
      // interim (RFC 9110 §15.2)
    } else if (endStream) this.receiveStatus(response);
    else {
      this.response = response;
      if (response.encoding === Encoding.UNKNOWN) {
        const text = `grpc: Decompressor is not installed for grpc-encoding "${response.encodingName}"`;
        this.abandon(StatusCode.UNIMPLEMENTED, text);
      } else this.receiver.headers?.(this, response.fields);
    }
  }

  private receiveStatus(trailers: Response): void {
    const first = this.response ?? trailers;
    if (this.reader !== null && this.reader.heldBytes > 0) {
      this.finish(StatusCode.INTERNAL, 'unexpected EOF', trailers.fields);
    } else if (trailers.grpcStatus >= 0) this.finish(trailers.grpcStatus, trailers.grpcMessage, trailers.fields);
    else this.finishWithoutStatus(first, trailers.fields);
    this.stopSending();
  }

  private finishWithoutStatus(first: Response, trailers: readonly Field[]): void {
    if (first.status !== 200) {
      const text = `unexpected HTTP status code received from server: ${first.status}`;
      this.finish(statusOfHttp(first.status), text, trailers);
    } else if (!first.isGrpc) {
      const text = `transport: received unexpected content-type "${first.contentType ?? ''}"`;
      this.finish(StatusCode.UNKNOWN, text, trailers);
    } else this.finish(StatusCode.INTERNAL, 'server closed the stream without sending trailers', trailers);
  }

  /** The server is done with the call before we are. */
  private stopSending(): void {
    if (this.state === StreamState.HALF_CLOSED_REMOTE || this.state === StreamState.OPEN) {
      this.connection.cancelStream(this, ErrorCode.CANCEL);
    }
  }

  override receiveTrailers(block: HeaderBlock): void {
    this.receiveBlock(block, true);
  }

  override inputEnded(): void {
    if (this.isClosed) return;
    if (this.response === null) this.finish(StatusCode.INTERNAL, 'stream ended without a response', NO_FIELDS);
    else this.finishWithoutStatus(this.response, NO_FIELDS);
    this.stopSending();
  }

  override aborted(code: number, cause: AbortCause): void {
    if (cause === AbortCause.PEER && code === ErrorCode.REFUSED_STREAM && this.isRepeatable) {
      this.owner.repeat(this);
    } else if (cause === AbortCause.CONNECTION) {
      this.finish(StatusCode.UNAVAILABLE, `connection lost: ${this.connection.lossReason}`, NO_FIELDS);
    } else {
      const whose = cause === AbortCause.PEER ? 'stream terminated by RST_STREAM' : 'stream reset';
      this.finish(statusOfReset(code), `${whose} with error code: ${errorCodeName(code)}`, NO_FIELDS);
    }
  }

  /** The server said that it will not serve this call, and the request cannot be sent again. */
  abandonUnserved(): void {
    this.finish(StatusCode.UNAVAILABLE, 'the server is going away', NO_FIELDS);
  }

  /** Whether the call can be started anew: the server did not work on it, and what was sent is still at hand. */
  get isRepeatable(): boolean {
    return !this.isClosed && this.response === null && (!this.sentSomething || this.onlyMessage !== null);
  }

  /** Back to the state before `assign`, so that it can be assigned again. */
  unassign(unassigned: Connection): void {
    const message = this.onlyMessage;
    this.connection = unassigned;
    this.id = 0;
    this.headersSent = false;
    if (message === null) return;
    this.clearQueue();
    this.isOpen = true;
    this.sentSomething = false;
    this.sendLast(message);
  }

  override queueDrained(): void {
    if (!this.isClosed) this.receiver.drained?.(this);
  }

  private finish(code: number, message: string, trailers: readonly Field[]): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isOpen = false;
    this.owner.callClosed(this);
    this.receiver.closed(this, code, message, trailers);
  }
}

export interface ClientCallOptions {
  readonly path: string;
  readonly metadata: Metadata | null;
  readonly receiver: CallReceiver;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly waitForReady: boolean;
}
