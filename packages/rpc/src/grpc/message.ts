import { readU32 } from '../http2/frame.ts';

/** Compressed flag and length in front of every gRPC message. */
export const PREFIX_BYTES = 5;

/** Takes what a `MessageReader` finds. */
export interface MessageSink {
  /** One whole message, still compressed if `compressed`. False: nothing more is wanted. Bytes valid during the call. */
  messageRead(bytes: Buffer, start: number, end: number, compressed: boolean): boolean;
  /** The length in front of a message is over the limit; nothing more will be read. */
  messageTooLarge(length: number): void;
}

/**
 * Cuts a stream of DATA payloads into messages. A message that lies whole in one payload is handed on where it lies; one
 * that does not is gathered in a buffer that grows with what really came, never with what a length field promised.
 */
export class MessageReader {
  private readonly limit: number;
  private held: Buffer = NO_BYTES;
  /** Bytes of the unfinished message, prefix included, that came so far. */
  heldBytes = 0;
  private failed = false;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes still missing of the message begun, as far as known: at least the prefix. */
  get missingBytes(): number {
    if (this.heldBytes < PREFIX_BYTES) return this.heldBytes === 0 ? 0 : PREFIX_BYTES - this.heldBytes;
    return PREFIX_BYTES + readU32(this.held, 1) - this.heldBytes;
  }

  push(bytes: Buffer, start: number, end: number, sink: MessageSink): void {
    let at = start;
    while (at < end && !this.failed) {
      if (this.heldBytes > 0) {
        at = this.complete(bytes, at, end, sink);
        continue;
      }
      if (end - at < PREFIX_BYTES) {
        this.hold(bytes, at, end);
        return;
      }
      const length = readU32(bytes, at + 1);
      if (length > this.limit) {
        this.tooLarge(length, sink);
        return;
      }
      const next = at + PREFIX_BYTES + length;
      if (next > end) {
        this.hold(bytes, at, end);
        return;
      }
      if (!sink.messageRead(bytes, at + PREFIX_BYTES, next, bytes[at] !== 0)) this.failed = true;
      at = next;
    }
  }

  private tooLarge(length: number, sink: MessageSink): void {
    this.failed = true;
    sink.messageTooLarge(length);
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const needed = this.heldBytes + end - start;
    if (needed > this.held.length) {
      let capacity = Math.max(256, needed, 2 * this.held.length);
      if (needed >= PREFIX_BYTES && this.heldBytes >= PREFIX_BYTES) {
        capacity = Math.min(capacity, PREFIX_BYTES + readU32(this.held, 1));
      }
      const bigger = Buffer.allocUnsafe(capacity);
      this.held.copy(bigger, 0, 0, this.heldBytes);
      this.held = bigger;
    }
    bytes.copy(this.held, this.heldBytes, start, end);
    this.heldBytes = needed;
  }

  private complete(bytes: Buffer, start: number, end: number, sink: MessageSink): number {
    let at = start;
    if (this.heldBytes < PREFIX_BYTES) {
      const take = Math.min(PREFIX_BYTES - this.heldBytes, end - at);
      this.hold(bytes, at, at + take);
      at += take;
      if (this.heldBytes < PREFIX_BYTES) return at;
      const length = readU32(this.held, 1);
      if (length > this.limit) {
        this.tooLarge(length, sink);
        return end;
      }
    }
    const whole = PREFIX_BYTES + readU32(this.held, 1);
    const take = Math.min(whole - this.heldBytes, end - at);
    if (take > 0) this.hold(bytes, at, at + take);
    at += take;
    if (this.heldBytes < whole) return at;
    const message = this.held;
    this.held = NO_BYTES;
    this.heldBytes = 0;
    if (!sink.messageRead(message, PREFIX_BYTES, whole, message[0] !== 0)) this.failed = true;
    return at;
  }
}

const NO_BYTES = Buffer.alloc(0);
