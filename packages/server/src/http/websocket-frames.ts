/** Frames of the WebSocket protocol (RFC 6455 §5) as a server reads and writes them. */

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Status codes of a close frame (RFC 6455 §7.4.1). */
export const CloseCode = { NORMAL: 1000, PROTOCOL_ERROR: 1002, TOO_BIG: 1009 } as const;

const CONTROL_BYTES_MAX = 125;
const HEAD_BYTES_MAX = 14;

/** Whom the reader tells. */
export interface FrameReceiver {
  /** A whole message; the bytes are the receiver's. */
  message(bytes: Buffer): void;
  ping(payload: Buffer): void;
  /** The other side has sent all it will. */
  closed(): void;
  /** What came breaks the rules; nothing more is read. */
  failed(code: number): void;
}

/** Cuts what a client sends into messages, fragments put together, control frames between them set aside. */
export class FrameReader {
  private readonly limit: number;
  private readonly receiver: FrameReceiver;
  private pieces: Buffer[] = [];
  private heldBytes = 0;
  /** Bytes that the frame which is being received needs to be whole, as far as that is known. */
  private wantedBytes = 0;
  private fragments: Buffer[] = [];
  private fragmentBytes = 0;
  private isFragmented = false;
  private isOver = false;

  /** `limit` is the most bytes of one message. */
  constructor(limit: number, receiver: FrameReceiver) {
    this.limit = limit;
    this.receiver = receiver;
  }

  push(bytes: Buffer): void {
    if (this.isOver) return;
    this.pieces.push(Buffer.from(bytes));
    this.heldBytes += bytes.length;
    // Pieces of a long frame are put together once, when the last of them is there.
    if (this.heldBytes < this.wantedBytes) return;
    const held = this.pieces.length === 1 ? (this.pieces[0] as Buffer) : Buffer.concat(this.pieces);
    let at = 0;
    while (!this.isOver) {
      this.wantedBytes = 0;
      const end = this.frame(held, at);
      if (end === at) break;
      at = end;
    }
    this.pieces = at === held.length ? [] : [held.subarray(at)];
    this.heldBytes = held.length - at;
  }

  /** Takes one frame if it is whole; returns where it ends, or where it begins. */
  private frame(held: Buffer, start: number): number {
    if (held.length - start < 2) return start;
    const first = held[start] as number;
    const second = held[start + 1] as number;
    const opcode = first & 0x0f;
    const isFinal = first >= 0x80;
    const isControl = opcode >= 8;
    let length = second & 0x7f;
    // No extension was agreed on, so the reserved bits are zero; what a client sends is masked (§5.2, §5.1).
    const isWrong = (first & 0x70) !== 0 || second < 0x80 || (isControl && (!isFinal || length > CONTROL_BYTES_MAX));
    if (isWrong) return this.fail(CloseCode.PROTOCOL_ERROR, start);
    let at = start + 2;
    if (length === 126) {
      if (held.length < at + 2) return start;
      length = held.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      if (held.length < at + 8) return start;
      if (held.readUInt32BE(at) !== 0) return this.fail(CloseCode.TOO_BIG, start);
      length = held.readUInt32BE(at + 4);
      at += 8;
    }
    if (this.fragmentBytes + length > this.limit) return this.fail(CloseCode.TOO_BIG, start);
    this.wantedBytes = at + 4 + length - start;
    if (held.length < at + 4 + length) return start;
    const payload = unmasked(held, at, length);
    this.take(opcode, isFinal, payload);
    return at + 4 + length;
  }

  private take(opcode: number, isFinal: boolean, payload: Buffer): void {
    switch (opcode) {
      case Opcode.CONTINUATION:
      case Opcode.TEXT:
      case Opcode.BINARY:
        if ((opcode === Opcode.CONTINUATION) !== this.isFragmented) {
          this.fail(CloseCode.PROTOCOL_ERROR, 0);
          return;
        }
        this.isFragmented = !isFinal;
        this.fragments.push(payload);
        this.fragmentBytes += payload.length;
        if (isFinal) this.deliver();
        return;
      case Opcode.PING:
        this.receiver.ping(payload);
        return;
      case Opcode.PONG:
        return;
      case Opcode.CLOSE:
        this.isOver = true;
        this.receiver.closed();
        return;
      default:
        this.fail(CloseCode.PROTOCOL_ERROR, 0);
    }
  }

  private deliver(): void {
    const message = this.fragments.length === 1 ? (this.fragments[0] as Buffer) : Buffer.concat(this.fragments);
    this.fragments = [];
    this.fragmentBytes = 0;
    this.receiver.message(message);
  }

  private fail(code: number, at: number): number {
    this.isOver = true;
    this.receiver.failed(code);
    return at;
  }
}

function unmasked(held: Buffer, maskAt: number, length: number): Buffer {
  const from = maskAt + 4;
  const payload = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) {
    payload[index] = (held[from + index] as number) ^ (held[maskAt + (index & 3)] as number);
  }
  return payload;
}

/** A frame of a server: not masked, not fragmented. */
export function writeFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const frame = Buffer.allocUnsafe(HEAD_BYTES_MAX + length);
  frame[0] = 0x80 | opcode;
  let at = 2;
  if (length < 126) frame[1] = length;
  else if (length < 0x1_0000) {
    frame[1] = 126;
    at = frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeUInt32BE(Math.floor(length / 0x1_0000_0000), 2);
    at = frame.writeUInt32BE(length >>> 0, 6);
  }
  return frame.subarray(0, at + payload.copy(frame, at));
}

/** A close frame. */
export function writeClose(code: number): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return writeFrame(Opcode.CLOSE, payload);
}
