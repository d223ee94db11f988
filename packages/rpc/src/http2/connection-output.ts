import type { Socket } from '@etsd/runtime';
import { BLOCK_START_BYTES, Encoder, fieldBound } from '../hpack/encoder.ts';
import type { RpcLimits } from '../limits.ts';
import { Outbox } from '../outbox.ts';
import type { ConnectionHost, Flushable } from './connection-host.ts';
import {
  DEFAULT_WINDOW,
  Flag,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES,
  FrameType,
  writeFrameHeader,
  writeU32,
} from './frame.ts';
import { PeerSettings, SETTING_BYTES, writeSetting } from './settings.ts';
import type { Stream } from './stream.ts';

/** Writes in one flush beyond which a connection with bulk data lets the others have the turn. */
const WRITES_PER_TURN = 4;

/**
 * The half of a connection that writes. Short messages and control frames go straight into the outbox, which is written
 * once a turn. What is long, or may not be sent yet, waits at its stream; streams with something to frame stand in a
 * ring and have a slice framed in turn, as the kernel takes what was framed before.
 */
export abstract class ConnectionOutput implements Flushable {
  readonly host: ConnectionHost;
  readonly socket: Socket;
  readonly limits: RpcLimits;
  readonly out = new Outbox();
  readonly encoder = new Encoder();
  readonly peer = new PeerSettings();
  /** The socket is gone. */
  gone = false;
  /** Bytes the other side lets us send on the connection. */
  sendWindow = DEFAULT_WINDOW;
  /** When the socket began to take nothing, 0 while it does. */
  writeBlockedSinceMs = 0;
  /** When data began to wait for the connection's window, 0 while none does. */
  windowBlockedSinceMs = 0;
  /** When our SETTINGS went out unacknowledged, 0 after. */
  settingsSentMs = 0;
  /** Headers or data went out since the last ping of the other side. */
  sentSincePing = false;
  /** A GOAWAY of ours names the last stream we will serve; −1 before. */
  goawaySent = -1;
  private isDirty = false;
  private isWriting = false;
  private isFlushing = false;
  /** The socket is to be ended once everything is written. */
  private endAfterWrite = false;
  private socketEnded = false;
  private readingStopped = false;
  /** One of the streams that have something to frame, the one whose turn is next. */
  protected ring: Stream | null = null;

  constructor(host: ConnectionHost, socket: Socket) {
    this.host = host;
    this.socket = socket;
    this.limits = host.limits;
  }

  /** Our side of the stream has ended; called after the frame that says so was written. */
  abstract outputEnded(stream: Stream): void;

  // ── the ring of streams that wait ─────────────────────────────────────────────────────────────────────────────────

  /** Whether a message of so many bytes, framed, may go straight into the outbox. */
  canWriteNow(stream: Stream, bytes: number): boolean {
    if (this.out.offset >= this.limits.outboxBytes && !this.isWriting) this.flush();
    return (
      stream.queuedBytes === 0 &&
      bytes <= FRAME_PAYLOAD_BYTES &&
      bytes <= this.sendWindow &&
      bytes <= this.peer.initialWindowSize + stream.sendCredit &&
      this.out.offset < this.limits.outboxBytes
    );
  }

  /** Whether nothing of this stream's could be sent now, however short. */
  isShut(stream: Stream): boolean {
    return this.sendWindow <= 0 || this.peer.initialWindowSize + stream.sendCredit <= 0;
  }

  /** Something was queued at the stream, or may be framed again. */
  enring(stream: Stream): void {
    stream.blockedSinceMs = 0;
    this.touch();
    if (stream.ringNext !== null) return;
    const first = this.ring;
    if (first === null) {
      stream.ringNext = stream;
      stream.ringPrevious = stream;
      this.ring = stream;
      return;
    }
    const last = first.ringPrevious as Stream;
    last.ringNext = stream;
    stream.ringPrevious = last;
    stream.ringNext = first;
    first.ringPrevious = stream;
    // A short message has its turn first; bulk goes on behind it.
    if (stream.queuedBytes <= this.limits.sliceBytes) this.ring = stream;
  }

  protected unring(stream: Stream): void {
    const next = stream.ringNext as Stream;
    const previous = stream.ringPrevious as Stream;
    stream.ringNext = null;
    stream.ringPrevious = null;
    if (next === stream) {
      this.ring = null;
      return;
    }
    previous.ringNext = next;
    next.ringPrevious = previous;
    if (this.ring === stream) this.ring = next;
  }

  /** Frames queued data, a slice per stream, until the outbox is full or nothing may be sent. */
  private pump(): void {
    const bound = this.limits.outboxBytes >> 1;
    while (this.ring !== null && this.out.offset < bound) {
      const stream = this.ring;
      if (stream.queuedBytes === 0 && !stream.awaitsWindow) {
        this.unring(stream);
        if (stream.endQueued) this.finishOutput(stream);
        continue;
      }
      if (this.isWindowUsedUp()) return;
      const window = this.peer.initialWindowSize + stream.sendCredit;
      if (window <= 0) {
        this.unring(stream);
        stream.blockedSinceMs = this.host.clock.nowMs();
        continue;
      }
      if (stream.awaitsWindow) {
        stream.awaitsWindow = false;
        stream.queueDrained();
        continue;
      }
      this.slice(stream, window);
      // What is left takes its next turn behind the others; an empty queue comes round at once, to end its stream.
      if (stream.ringNext !== null && stream.queuedBytes > 0) this.ring = stream.ringNext;
    }
  }

  /** Whether nothing may be sent for now; if so, remembers since when. */
  private isWindowUsedUp(): boolean {
    if (this.sendWindow > 0) return false;
    if (this.windowBlockedSinceMs === 0) this.windowBlockedSinceMs = this.host.clock.nowMs();
    return true;
  }

  private slice(stream: Stream, window: number): void {
    const size = Math.min(stream.queuedBytes, window, this.sendWindow, this.limits.sliceBytes, FRAME_PAYLOAD_BYTES);
    const last = stream.endQueued && stream.endsWithData && size === stream.queuedBytes;
    const out = this.out;
    out.reserve(FRAME_HEADER_BYTES + size);
    const at = writeFrameHeader(out.buffer, out.offset, size, FrameType.DATA, last ? Flag.END_STREAM : 0, stream.id);
    const before = stream.queuedBytes;
    stream.dequeue(out.buffer, at, size);
    out.offset = at + size;
    this.sendWindow -= size;
    stream.sendCredit -= size;
    this.sentSincePing = true;
    if (last) {
      stream.endQueued = false;
      this.outputEnded(stream);
      return;
    }
    const low = this.limits.drainedBytes;
    if (stream.queuedBytes < low && (before >= low || stream.queuedBytes === 0)) stream.queueDrained();
  }

  private finishOutput(stream: Stream): void {
    stream.endQueued = false;
    stream.writeEnd();
  }

  // ── the socket ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** There is something to write: the host will flush this connection in this turn. */
  touch(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.host.markDirty(this);
  }

  /** One write of everything gathered; more only for bulk data that the kernel takes at once. */
  flush(): void {
    this.isDirty = false;
    if (this.isWriting || this.gone || this.isFlushing) return;
    if (this.socketEnded) {
      this.out.taken();
      return;
    }
    this.isFlushing = true;
    let writes = 0;
    while (this.flushOnce()) {
      writes++;
      if (writes === WRITES_PER_TURN) {
        this.touch();
        break;
      }
    }
    this.isFlushing = false;
    if (this.endAfterWrite && !this.isWriting && this.out.offset === 0) {
      this.socketEnded = true;
      this.socket.end();
    }
  }

  /** Returns whether the kernel took everything and there may be more. */
  private flushOnce(): boolean {
    if (this.ring !== null) this.pump();
    const length = this.out.offset;
    if (length === 0) return false;
    this.host.bytesWritten += length;
    if (this.socket.write(this.out.buffer, 0, length)) {
      this.out.taken();
      return this.ring !== null && !this.isWindowUsedUp();
    }
    this.isWriting = true;
    this.writeBlockedSinceMs = this.host.clock.nowMs();
    this.out.launched();
    return false;
  }

  /** Ends the socket when what was gathered is written. */
  endSocket(): void {
    this.endAfterWrite = true;
    this.flush();
  }

  written(): void {
    this.isWriting = false;
    this.writeBlockedSinceMs = 0;
    this.out.landed();
    if (this.gone) return;
    this.flush();
    if (this.readingStopped && this.out.offset < this.limits.outboxBytes) {
      this.readingStopped = false;
      this.socket.resume();
    }
  }

  // ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A frame without payload. */
  protected writeBare(type: FrameType, flags: number): void {
    this.out.reserve(FRAME_HEADER_BYTES);
    this.out.offset = writeFrameHeader(this.out.buffer, this.out.offset, 0, type, flags, 0);
    this.controlWritten();
  }

  /** Answers pile up behind a socket that takes nothing: read no more until it does (CVE-2019-9512, 9515). */
  protected controlWritten(): void {
    this.touch();
    if (this.out.offset > this.limits.outboxStopReadingBytes && this.isWriting && !this.readingStopped) {
      this.readingStopped = true;
      this.socket.pause();
    }
  }

  protected writeSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    const length = settings.length * SETTING_BYTES;
    this.out.reserve(FRAME_HEADER_BYTES + length);
    let at = writeFrameHeader(this.out.buffer, this.out.offset, length, FrameType.SETTINGS, 0, 0);
    for (const [id, value] of settings) at = writeSetting(this.out.buffer, at, id, value);
    this.out.offset = at;
    this.settingsSentMs = this.host.clock.nowMs();
    this.touch();
  }

  writePing(payload: number): void {
    this.out.reserve(17);
    let at = writeFrameHeader(this.out.buffer, this.out.offset, 8, FrameType.PING, 0, 0);
    at = writeU32(this.out.buffer, at, 0);
    this.out.offset = writeU32(this.out.buffer, at, payload);
    this.touch();
  }

  writeReset(id: number, code: number): void {
    this.out.reserve(13);
    const at = writeFrameHeader(this.out.buffer, this.out.offset, 4, FrameType.RST_STREAM, 0, id);
    this.out.offset = writeU32(this.out.buffer, at, code);
    this.controlWritten();
  }

  writeGoaway(lastStream: number, code: number, debug: string): void {
    this.out.reserve(FRAME_HEADER_BYTES + 8 + debug.length);
    const length = 8 + debug.length;
    let at = writeFrameHeader(this.out.buffer, this.out.offset, length, FrameType.GOAWAY, 0, 0);
    at = writeU32(this.out.buffer, at, lastStream);
    at = writeU32(this.out.buffer, at, code);
    this.out.offset = at + this.out.buffer.write(debug, at, 'latin1');
    this.goawaySent = lastStream;
    this.touch();
  }

  writeWindowUpdate(id: number, increment: number): void {
    this.out.reserve(13);
    const at = writeFrameHeader(this.out.buffer, this.out.offset, 4, FrameType.WINDOW_UPDATE, 0, id);
    this.out.offset = writeU32(this.out.buffer, at, increment);
    this.controlWritten();
  }

  /** Writes a header list (names and values in turn) as HEADERS and, where it is long, CONTINUATION frames. */
  writeFields(id: number, fields: readonly string[], endStream: boolean): void {
    let bound = BLOCK_START_BYTES;
    for (let i = 0; i < fields.length; i += 2) bound += fieldBound(fields[i] as string, fields[i + 1] as string);
    const block = Buffer.allocUnsafe(bound);
    let at = this.encoder.begin(block, 0);
    for (let i = 0; i < fields.length; i += 2) {
      at = this.encoder.field(block, at, fields[i] as string, fields[i + 1] as string, false);
    }
    this.writeBlock(id, block, at, endStream);
  }

  /** Writes an encoded header block. */
  writeBlock(id: number, block: Buffer, length: number, endStream: boolean): void {
    const { out } = this;
    out.reserve(length + FRAME_HEADER_BYTES * (1 + Math.ceil(length / FRAME_PAYLOAD_BYTES)));
    let from = 0;
    do {
      const size = Math.min(length - from, FRAME_PAYLOAD_BYTES);
      const type = from === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
      let flags = from === 0 && endStream ? Flag.END_STREAM : 0;
      if (from + size === length) flags |= Flag.END_HEADERS;
      const at = writeFrameHeader(out.buffer, out.offset, size, type, flags, id);
      block.copy(out.buffer, at, from, from + size);
      out.offset = at + size;
      from += size;
    } while (from < length);
    this.touch();
  }
}
