import { ConnectionOutput } from './connection-output.ts';
import { ErrorCode } from './errors.ts';
import { Flag, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES } from './frame.ts';

/**
 * The half of a connection that reads: cuts what the socket brings into frames, handed on where they lie, and puts header
 * blocks together that came in several frames.
 */
export abstract class FrameInput extends ConnectionOutput {
  /** Nothing of the input is looked at any more: `fail` was called or the socket is gone. */
  dead = false;
  /** Bytes came since the last sweep. */
  heard = false;
  /** When the frame or header block not yet complete began, 0 without one. */
  partialSinceMs = 0;
  private partial: Buffer = NO_BYTES;
  private partialLength = 0;

  /** Stream of the header block being continued, 0 without one. */
  protected blockStream = 0;
  private blockFlags = 0;
  private block: Buffer = NO_BYTES;
  private blockLength = 0;
  private blockFrames = 0;

  /** One complete frame: its header at `start`, its payload up to `end`. */
  protected abstract frame(bytes: Buffer, start: number, end: number): void;
  /** A complete header block. */
  protected abstract headerBlock(id: number, flags: number, bytes: Buffer, start: number, end: number): void;
  /** Bytes came that nobody looks at any more. */
  protected abstract unheeded(bytes: number): void;
  /** Ends the connection with a GOAWAY. */
  abstract fail(code: ErrorCode, debug: string): void;

  data(bytes: Buffer, start: number, end: number): void {
    if (this.dead) {
      this.unheeded(end - start);
      return;
    }
    this.heard = true;
    this.host.bytesRead += end - start;
    let at = start;
    if (this.partialLength > 0) at = this.completePartial(bytes, at, end);
    while (!this.dead && end - at >= FRAME_HEADER_BYTES) {
      const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
      if (length > FRAME_PAYLOAD_BYTES) {
        this.fail(ErrorCode.FRAME_SIZE_ERROR, 'frame larger than SETTINGS_MAX_FRAME_SIZE');
        return;
      }
      const next = at + FRAME_HEADER_BYTES + length;
      if (next > end) break;
      this.frame(bytes, at, next);
      at = next;
    }
    if (at < end && !this.dead) this.keepPartial(bytes, at, end);
  }

  /** Adds to the frame begun in an earlier read; returns the offset behind what belonged to it. */
  private completePartial(bytes: Buffer, start: number, end: number): number {
    let at = start;
    if (this.partialLength < FRAME_HEADER_BYTES) {
      const take = Math.min(FRAME_HEADER_BYTES - this.partialLength, end - at);
      bytes.copy(this.partial, this.partialLength, at, at + take);
      this.partialLength += take;
      at += take;
      if (this.partialLength < FRAME_HEADER_BYTES) return at;
    }
    const head = this.partial;
    const length = ((head[0] as number) << 16) | ((head[1] as number) << 8) | (head[2] as number);
    if (length > FRAME_PAYLOAD_BYTES) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'frame larger than SETTINGS_MAX_FRAME_SIZE');
      return end;
    }
    const whole = FRAME_HEADER_BYTES + length;
    if (whole > this.partial.length) {
      this.partial = Buffer.allocUnsafe(whole);
      head.copy(this.partial, 0, 0, this.partialLength);
    }
    const take = Math.min(whole - this.partialLength, end - at);
    bytes.copy(this.partial, this.partialLength, at, at + take);
    this.partialLength += take;
    at += take;
    if (this.partialLength === whole) {
      const frame = this.partial;
      this.partial = NO_BYTES;
      this.partialLength = 0;
      if (this.blockStream === 0) this.partialSinceMs = 0;
      this.frame(frame, 0, whole);
    }
    return at;
  }

  private keepPartial(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    let whole = 64;
    if (length >= FRAME_HEADER_BYTES) {
      whole =
        FRAME_HEADER_BYTES +
        (((bytes[start] as number) << 16) | ((bytes[start + 1] as number) << 8) | (bytes[start + 2] as number));
    }
    this.partial = Buffer.allocUnsafe(whole);
    bytes.copy(this.partial, 0, start, end);
    this.partialLength = length;
    if (this.partialSinceMs === 0) this.partialSinceMs = this.host.clock.nowMs();
  }

  protected beginBlock(id: number, flags: number, bytes: Buffer, start: number, stop: number): void {
    this.blockStream = id;
    this.blockFlags = flags;
    this.blockFrames = 0;
    this.blockLength = 0;
    if (this.partialSinceMs === 0) this.partialSinceMs = this.host.clock.nowMs();
    this.appendBlock(bytes, start, stop);
  }

  private appendBlock(bytes: Buffer, start: number, stop: number): void {
    const length = this.blockLength + stop - start;
    if (length > this.limits.headerBlockBytes) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'header block too large');
      return;
    }
    if (length > this.block.length) {
      const bigger = Buffer.allocUnsafe(Math.max(length, 2 * this.block.length));
      this.block.copy(bigger, 0, 0, this.blockLength);
      this.block = bigger;
    }
    bytes.copy(this.block, this.blockLength, start, stop);
    this.blockLength = length;
  }

  protected continuationFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
    if (this.blockStream === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS');
      return;
    }
    this.blockFrames++;
    if (this.blockFrames > this.limits.continuationFrames) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many CONTINUATION frames');
      return;
    }
    this.appendBlock(bytes, payload, end);
    if (this.dead || (flags & Flag.END_HEADERS) === 0) return;
    const block = this.block;
    const length = this.blockLength;
    this.blockStream = 0;
    this.block = NO_BYTES;
    this.blockLength = 0;
    this.partialSinceMs = 0;
    this.headerBlock(id, this.blockFlags, block, 0, length);
  }
}

const NO_BYTES = Buffer.alloc(0);
