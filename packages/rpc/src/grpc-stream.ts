import type { Expiring } from './deadline-wheel.ts';
import { gunzip } from './grpc/compression.ts';
import { MessageReader, type MessageSink, PREFIX_BYTES } from './grpc/message.ts';
import { StatusCode } from './grpc/status.ts';
import type { Connection } from './http2/connection.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader, writeU32 } from './http2/frame.ts';
import { Stream } from './http2/stream.ts';
import type { WriteTarget } from './outbox.ts';
import { Encoding } from './request.ts';

/** Where a message goes that cannot go straight into the outbox. */
class LooseTarget implements WriteTarget {
  buffer: Buffer = NO_BYTES;
  offset = 0;
}

const NO_BYTES = Buffer.alloc(0);
const NO_CHUNKS: readonly Buffer[] = [];
const LOOSE = new LooseTarget();
const CHUNK: [Buffer] = [NO_BYTES];

/** Room for a header block that consists of a few table entries and one or two short literals. */
export const HEADERS_BYTES = 256;

/** The message layer of a gRPC call, the same for both sides: messages cut out of DATA, and framed into it. */
export abstract class GrpcStream extends Stream implements MessageSink, Expiring {
  /** After `begin`: where the message's bytes go. Shared by all calls; read it again after every `begin`. */
  target: WriteTarget = LOOSE;
  /** Messages can be sent. False once our side has ended, or the whole call. */
  isOpen = true;
  /** Links of the deadline wheel. */
  wheelNext: Expiring | null = null;
  wheelPrevious: Expiring | null = null;
  wheelTick = 0;

  /** Whether the message being delivered came compressed. */
  messageWasCompressed = false;

  protected headersSent = false;
  /** Gathers messages that came in pieces; null until one did. */
  protected reader: MessageReader | null = null;
  protected beginSize = 0;
  private beginDirect = false;

  constructor(connection: Connection, id: number, receiveWindow: number) {
    super(connection, id, receiveWindow);
  }

  /** Writes the header block that opens our side. `HEADERS_BYTES` of room have been made. */
  protected abstract writeHeaders(): void;
  /** Whether the other side's end is still owed after its message. */
  protected abstract get waitsForEnd(): boolean;
  /** Whether the other side's messages still matter. */
  protected abstract get isListening(): boolean;
  /** How the other side compresses. */
  protected abstract get receivedEncoding(): Encoding;
  /** A whole message, decompressed. */
  protected abstract deliver(bytes: Buffer, start: number, end: number): void;
  /** Whether a message that came in one piece may be delivered at once. */
  protected abstract deliversAtOnce(endStream: boolean): boolean;
  /** What came is not an acceptable message. */
  protected abstract refuseMessage(code: StatusCode, text: string): void;
  /** The other side sends no more. */
  abstract inputEnded(): void;
  abstract expired(): void;

  // ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts a message of exactly `size` bytes: write them at `target.buffer[target.offset…]`, then `commit`. */
  begin(size: number): void {
    this.beginMessage(size, false);
  }

  protected beginMessage(size: number, last: boolean): void {
    const framed = PREFIX_BYTES + size;
    this.beginSize = size;
    const connection = this.connection;
    if (this.isOpen && this.id !== 0 && connection.canWriteNow(this, framed)) {
      const out = connection.out;
      out.reserve(HEADERS_BYTES + FRAME_HEADER_BYTES + framed);
      if (!this.headersSent) this.writeHeaders();
      const at = writeFrameHeader(out.buffer, out.offset, framed, FrameType.DATA, last ? Flag.END_STREAM : 0, this.id);
      out.buffer[at] = 0;
      out.offset = writeU32(out.buffer, at + 1, size);
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
    this.commitMessage();
  }

  /** Returns whether the message is framed already; otherwise it is queued. */
  protected commitMessage(): boolean {
    const connection = this.connection;
    if (this.beginDirect) {
      const framed = PREFIX_BYTES + this.beginSize;
      connection.out.offset += this.beginSize;
      connection.sendWindow -= framed;
      this.sendCredit -= framed;
      connection.sentSincePing = true;
      connection.touch();
      return true;
    }
    const message = LOOSE.buffer;
    LOOSE.buffer = NO_BYTES;
    if (!this.isOpen || !this.mayQueue()) return false;
    this.ensureHeaders();
    this.enqueue(message);
    if (this.id !== 0) connection.enring(this);
    return false;
  }

  /** Sends one message. Its bytes are copied or kept: they must not change any more. */
  send(message: Buffer): void {
    if (!this.isOpen) return;
    if (this.id === 0 || !this.connection.canWriteNow(this, PREFIX_BYTES + message.length)) {
      CHUNK[0] = message;
      this.sendChunks(CHUNK, message.length);
      CHUNK[0] = NO_BYTES;
      return;
    }
    this.begin(message.length);
    message.copy(this.target.buffer, this.target.offset);
    this.commit();
  }

  /** Sends one message given in pieces, without joining them. They must not change any more. */
  sendChunks(chunks: readonly Buffer[], totalBytes: number): void {
    this.enqueueMessage(chunks, totalBytes, false);
  }

  /**
   * Announces a message of `totalBytes` of which nothing is there yet: exactly so many bytes must follow by `sendPart`.
   * So a message of any size needs little memory at a time. Returns whether it was announced.
   */
  beginParts(totalBytes: number): boolean {
    this.enqueueMessage(NO_CHUNKS, totalBytes, false);
    return this.isOpen;
  }

  /** The next bytes of the message announced. They must not change any more. */
  sendPart(bytes: Buffer): void {
    if (!this.isOpen || bytes.length === 0) return;
    this.enqueue(bytes);
    if (this.id !== 0) this.connection.enring(this);
  }

  protected enqueueMessage(chunks: readonly Buffer[], totalBytes: number, compressed: boolean): void {
    if (!this.isOpen) return;
    const limit = this.connection.limits.sendMessageBytes;
    if (totalBytes > limit) {
      const text = `trying to send message larger than max (${totalBytes} vs. ${limit})`;
      this.refuseMessage(StatusCode.RESOURCE_EXHAUSTED, text);
      return;
    }
    if (!this.mayQueue()) return;
    this.ensureHeaders();
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
    prefix[0] = compressed ? 1 : 0;
    writeU32(prefix, 1, totalBytes);
    this.enqueue(prefix);
    for (const chunk of chunks) if (chunk.length > 0) this.enqueue(chunk);
    if (this.id !== 0) this.connection.enring(this);
  }

  /** Whether a message that can not be sent yet may wait; where not, the call has been ended. */
  protected mayQueue(): boolean {
    return true;
  }

  protected ensureHeaders(): void {
    if (this.headersSent || this.id === 0) return;
    this.connection.out.reserve(HEADERS_BYTES);
    this.writeHeaders();
    this.connection.touch();
  }

  // ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The other side is not let send on beyond its window, for a message that it has begun excepted. */
  protected isPaused = false;

  override receiveData(bytes: Buffer, start: number, end: number, endStream: boolean): void {
    if (!this.isListening) return;
    const length = end - start - PREFIX_BYTES;
    if (
      this.reader === null &&
      length >= 0 &&
      bytes[start] === 0 &&
      (((bytes[start + 1] as number) << 24) |
        ((bytes[start + 2] as number) << 16) |
        ((bytes[start + 3] as number) << 8) |
        (bytes[start + 4] as number)) ===
        length &&
      length <= this.connection.limits.receiveMessageBytes &&
      this.deliversAtOnce(endStream)
    ) {
      this.deliver(bytes, start + PREFIX_BYTES, end);
    } else if (end > start) {
      this.reader ??= new MessageReader(this.connection.limits.receiveMessageBytes);
      this.reader.push(bytes, start, end, this);
    }
    if (endStream) this.inputEnded();
    else if (this.isListening) this.afterData();
  }

  /** Accounts for what is held of an unfinished message, and lets the other side send on. */
  protected afterData(): void {
    const { connection, reader } = this;
    const held = reader === null ? 0 : reader.heldBytes;
    if (held !== this.heldBytes && !connection.receive.hold(this, held)) return;
    if (held === 0) {
      if (!this.waitsForEnd) this.inputSinceMs = 0;
    } else if (this.inputSinceMs === 0) this.inputSinceMs = connection.host.clock.nowMs();
    if (this.grantedBytes > 0 && held === 0) connection.receive.endGrant(this);
    const window = connection.limits.streamWindowBytes;
    const missing = held === 0 || reader === null ? 0 : reader.missingBytes;
    if (missing > this.receiveWindow) {
      if (missing > window) connection.receive.grant(this, missing - this.receiveWindow);
      else connection.receive.creditStream(this, (this.isPaused ? missing : window) - this.receiveWindow);
    } else if (held === 0 && !this.isPaused && this.receiveWindow < window >> 1) {
      connection.receive.creditStream(this, window - this.receiveWindow);
    }
  }

  messageRead(bytes: Buffer, start: number, end: number, compressed: boolean): boolean {
    this.messageWasCompressed = compressed;
    if (!compressed) {
      this.deliver(bytes, start, end);
      return this.isListening;
    }
    const plain = this.decompress(bytes.subarray(start, end));
    if (plain === null) return false;
    this.deliver(plain, 0, plain.length);
    return this.isListening;
  }

  private decompress(bytes: Buffer): Buffer | null {
    if (this.receivedEncoding === Encoding.IDENTITY) {
      this.refuseMessage(StatusCode.INTERNAL, 'grpc: compressed flag set with identity or empty encoding');
      return null;
    }
    const limit = this.connection.limits.receiveMessageBytes;
    const plain = gunzip(bytes, limit);
    if (typeof plain !== 'string') return plain;
    if (plain === 'too large') {
      const text = `grpc: received message after decompression larger than max ${limit}`;
      this.refuseMessage(StatusCode.RESOURCE_EXHAUSTED, text);
    } else this.refuseMessage(StatusCode.INTERNAL, `grpc: failed to decompress the message: ${plain}`);
    return null;
  }

  messageTooLarge(length: number): void {
    const limit = this.connection.limits.receiveMessageBytes;
    const text = `grpc: received message larger than max (${length} vs. ${limit})`;
    this.refuseMessage(StatusCode.RESOURCE_EXHAUSTED, text);
  }
}
