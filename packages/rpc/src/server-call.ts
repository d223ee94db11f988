import type { Socket } from '@etsd/runtime';
import { gunzip } from './grpc/compression.ts';
import { MessageReader, type MessageSink, PREFIX_BYTES } from './grpc/message.ts';
import { encodeStatusMessage, StatusCode } from './grpc/status.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import { BLOCK_START_BYTES, fieldBound } from './hpack/encoder.ts';
import type { Connection } from './http2/connection.ts';
import { ErrorCode } from './http2/errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, patchFrameLength, writeFrameHeader, writeU32 } from './http2/frame.ts';
import { Stream, StreamState } from './http2/stream.ts';
import type { WriteTarget } from './outbox.ts';
import { Encoding, type Request } from './request.ts';

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

/** Where a message goes that cannot go straight into the outbox. */
class LooseTarget implements WriteTarget {
  buffer: Buffer = Buffer.alloc(0);
  offset = 0;
}
const LOOSE = new LooseTarget();

const CONTENT_TYPE = 'application/grpc';
const PINNED_CONTENT_TYPE = `content-type\0${CONTENT_TYPE}`;
const PINNED_OK = 'grpc-status\x000';
/** Bound of a response's header block: table updates, status, content type, encoding. */
const RESPONSE_HEADERS_BYTES = FRAME_HEADER_BYTES + BLOCK_START_BYTES + 96;
/** Longer status messages are cut: they go into one frame. */
const STATUS_MESSAGE_BYTES = 8192;

/** One gRPC call as the server sees it. */
export class ServerCall extends Stream implements MessageSink {
  readonly request: Request;
  readonly handler: MethodHandler;
  readonly socket: Socket;
  /** The handler's own slot. */
  context: unknown = null;
  /** After `begin`: where the message's bytes go. Shared by all calls; read it again after every `begin`. */
  target: WriteTarget = LOOSE;
  /** Messages can be sent. False once the call was ended by either side. */
  isOpen = true;
  readonly endsWithData = false;

  /** Intrusive links of the deadline wheel; null while no deadline runs. */
  wheelNext: ServerCall | null = null;
  wheelPrevious: ServerCall | null = null;

  private headersSent = false;
  private closedCalled = false;
  private statusCode: number = StatusCode.OK;
  private statusMessage = '';
  /** Gathers messages that came in pieces; null until one did. */
  private reader: MessageReader | null = null;
  /** Unary: the message, held until the client has finished; null before. */
  private held: Buffer | null = null;
  private messages = 0;
  private dataBytes = 0;
  private beginSize = 0;
  private beginDirect = false;

  constructor(connection: Connection, id: number, request: Request, handler: MethodHandler) {
    super(connection, id, connection.limits.streamWindowBytes);
    this.request = request;
    this.handler = handler;
    this.socket = connection.socket;
  }

  /** First value of a request header, by lower-case name. */
  header(name: string): string | undefined {
    return this.request.header(name);
  }

  /** The client's address. */
  get peer(): string {
    return this.socket.remoteAddress;
  }

  // ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts a message of exactly `size` bytes: write them at `target.buffer[target.offset…]`, then `commit`. */
  begin(size: number): void {
    const framed = PREFIX_BYTES + size;
    this.beginSize = size;
    const connection = this.connection;
    if (this.isOpen && connection.canWriteNow(this, framed)) {
      const out = connection.out;
      out.reserve(RESPONSE_HEADERS_BYTES + FRAME_HEADER_BYTES + framed);
      if (!this.headersSent) this.writeHeaders();
      let at = writeFrameHeader(out.buffer, out.offset, framed, FrameType.DATA, 0, this.id);
      out.buffer[at] = 0;
      at = writeU32(out.buffer, at + 1, size);
      out.offset = at;
      this.target = out;
      this.beginDirect = true;
      return;
    }
    this.beginDirect = false;
    LOOSE.buffer = Buffer.allocUnsafe(framed);
    LOOSE.buffer[0] = 0;
    LOOSE.offset = writeU32(LOOSE.buffer, 1, size);
    this.target = LOOSE;
  }

  /** The bytes promised by `begin` are written. */
  commit(): void {
    const framed = PREFIX_BYTES + this.beginSize;
    const connection = this.connection;
    if (this.beginDirect) {
      const out = connection.out;
      out.offset += this.beginSize;
      connection.sendWindow -= framed;
      this.sendCredit -= framed;
      connection.touch();
      return;
    }
    const message = LOOSE.buffer;
    LOOSE.buffer = NO_BYTES;
    if (!this.isOpen) return;
    this.ensureHeaders();
    this.enqueue(message);
    connection.enring(this);
  }

  /** Sends one message; its bytes are copied or kept, so it must not change any more. */
  send(message: Buffer): void {
    if (!this.isOpen) return;
    const framed = PREFIX_BYTES + message.length;
    if (!this.connection.canWriteNow(this, framed)) {
      CHUNK[0] = message;
      this.sendChunks(CHUNK, message.length);
      return;
    }
    this.begin(message.length);
    message.copy(this.target.buffer, this.target.offset);
    this.commit();
  }

  /** Sends one message given in pieces, without joining them. They must not change any more. */
  sendChunks(chunks: readonly Buffer[], totalBytes: number): void {
    if (!this.isOpen) return;
    if (totalBytes > this.connection.limits.sendMessageBytes) {
      const limit = this.connection.limits.sendMessageBytes;
      const text = `trying to send message larger than max (${totalBytes} vs. ${limit})`;
      this.fail(StatusCode.RESOURCE_EXHAUSTED, text);
      return;
    }
    this.ensureHeaders();
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
    prefix[0] = 0;
    writeU32(prefix, 1, totalBytes);
    this.enqueue(prefix);
    for (const chunk of chunks) if (chunk.length > 0) this.enqueue(chunk);
    this.connection.enring(this);
  }

  /** Sends the response headers now, though no message is ready. */
  sendHeaders(): void {
    if (this.isOpen) this.ensureHeaders();
  }

  private ensureHeaders(): void {
    if (this.headersSent) return;
    this.connection.out.reserve(RESPONSE_HEADERS_BYTES);
    this.writeHeaders();
    this.connection.touch();
  }

  /** Status 200 and the content type, two bytes once the table knows them. Room must have been made. */
  private writeHeaders(): void {
    this.headersSent = true;
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
    this.statusCode = code;
    this.statusMessage = message;
    if (this.queuedBytes === 0) this.writeEnd();
    else this.endQueued = true;
  }

  /** Trailers; with them the call is over for us. */
  override writeEnd(): void {
    const connection = this.connection;
    const { out, encoder } = connection;
    const message = this.statusMessage === '' ? '' : this.encodedMessage();
    out.reserve(RESPONSE_HEADERS_BYTES + 64 + fieldBound('grpc-message', message));
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
    connection.touch();
    connection.outputEnded(this);
    // The rest of the request is of no interest: tell the client to stop sending it (RFC 9113 §8.1).
    if (this.state === StreamState.HALF_CLOSED_LOCAL) connection.cancelStream(this, ErrorCode.NO_ERROR);
    this.callClosed();
  }

  private encodedMessage(): string {
    const text = encodeStatusMessage(this.statusMessage);
    return text.length <= STATUS_MESSAGE_BYTES ? text : text.slice(0, STATUS_MESSAGE_BYTES).replace(/%.?$/, '');
  }

  private callClosed(): void {
    if (this.closedCalled) return;
    this.closedCalled = true;
    this.isOpen = false;
    this.handler.closed?.(this);
  }

  // ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  override receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void {
    if (!this.isOpen) return;
    if (this.request.contentLength >= 0 && !this.lengthFits(end - start, endStream)) return;
    const length = end - start;
    if (
      this.reader === null &&
      length >= PREFIX_BYTES &&
      bytes[start] === 0 &&
      (((bytes[start + 1] as number) << 24) |
        ((bytes[start + 2] as number) << 16) |
        ((bytes[start + 3] as number) << 8) |
        (bytes[start + 4] as number)) ===
        length - PREFIX_BYTES &&
      length - PREFIX_BYTES <= this.connection.limits.receiveMessageBytes &&
      (endStream || this.handler.kind === 'stream')
    ) {
      this.messages++;
      if (this.messages > 1 && this.handler.kind === 'unary') {
        this.tooManyMessages();
        return;
      }
      this.handler.message(this, bytes, start + PREFIX_BYTES, end);
    } else if (length > 0) {
      this.reader ??= new MessageReader(this.connection.limits.receiveMessageBytes);
      this.reader.push(bytes, start, end, this);
    }
    if (endStream) this.inputEnded();
    else if (this.isOpen) this.creditIfNeeded();
  }

  private creditIfNeeded(): void {
    const window = this.connection.limits.streamWindowBytes;
    if (this.receiveWindow < window >> 1) this.connection.creditStream(this, window - this.receiveWindow);
  }

  /** Content-Length, where a client gives one, must match (RFC 9113 §8.1.1). */
  private lengthFits(bytes: number, endStream: boolean): boolean {
    this.dataBytes += bytes;
    const promised = this.request.contentLength;
    if (this.dataBytes <= promised && (!endStream || this.dataBytes === promised)) return true;
    this.connection.resetStream(this, ErrorCode.PROTOCOL_ERROR);
    return false;
  }

  messageRead(bytes: Buffer, start: number, end: number, compressed: boolean): boolean {
    let message = bytes;
    let from = start;
    let to = end;
    if (compressed) {
      const plain = this.decompress(bytes.subarray(start, end));
      if (plain === null) return false;
      message = plain;
      from = 0;
      to = plain.length;
    }
    this.messages++;
    if (this.handler.kind === 'stream') this.handler.message(this, message, from, to);
    else if (this.messages > 1) this.tooManyMessages();
    else this.held = Buffer.from(message.subarray(from, to));
    return this.isOpen;
  }

  private tooManyMessages(): void {
    const text = 'cardinality violation: received multiple request messages for non-client-streaming RPC';
    this.fail(StatusCode.INTERNAL, text);
  }

  private decompress(bytes: Buffer): Buffer | null {
    const request = this.request;
    if (request.encoding === Encoding.IDENTITY) {
      this.fail(StatusCode.INTERNAL, 'grpc: compressed flag set with identity or empty encoding');
      return null;
    }
    const limit = this.connection.limits.receiveMessageBytes;
    const plain = gunzip(bytes, limit);
    if (typeof plain !== 'string') return plain;
    if (plain === 'too large') {
      this.fail(StatusCode.RESOURCE_EXHAUSTED, `grpc: received message after decompression larger than max ${limit}`);
    } else this.fail(StatusCode.INTERNAL, 'grpc: failed to decompress the received message');
    return null;
  }

  messageTooLarge(length: number): void {
    const limit = this.connection.limits.receiveMessageBytes;
    this.fail(StatusCode.RESOURCE_EXHAUSTED, `grpc: received message larger than max (${length} vs. ${limit})`);
  }

  override receiveTrailers(_block: HeaderBlock): void {
    if (!this.isOpen) return;
    if (this.request.contentLength >= 0 && !this.lengthFits(0, true)) return;
    this.inputEnded();
  }

  /** The client has finished; also called for a request that ends with its headers. */
  inputEnded(): void {
    if (this.reader !== null && this.reader.heldBytes > 0) {
      if (this.isOpen) this.fail(StatusCode.INTERNAL, 'unexpected EOF');
      return;
    }
    if (!this.isOpen) return;
    if (this.handler.kind === 'stream') this.handler.halfClosed?.(this);
    else if (this.held !== null) {
      const message = this.held;
      this.held = null;
      this.handler.message(this, message, 0, message.length);
    } else if (this.messages === 0) {
      const text = 'cardinality violation: received no request message from non-client-streaming RPC';
      this.fail(StatusCode.INTERNAL, text);
    }
  }

  override aborted(_code: number, _byPeer: boolean): void {
    this.isOpen = false;
    this.callClosed();
  }

  override queueDrained(): void {
    if (this.isOpen) this.handler.drained?.(this);
  }
}

const CHUNK: [Buffer] = [Buffer.alloc(0)];
const NO_BYTES = Buffer.alloc(0);
