import { RingQueue } from '@etsd/base';
import type { Clock, Socket, SocketReceiver, Timers } from '@etsd/runtime';
import { Decoder, type HeaderBlock } from '../hpack/decoder.ts';
import { BLOCK_START_BYTES, Encoder, fieldBound } from '../hpack/encoder.ts';
import { KnownBlocks } from '../hpack/known-blocks.ts';
import type { RpcLimits } from '../limits.ts';
import { Outbox } from '../outbox.ts';
import { Budget } from './budget.ts';
import { ErrorCode } from './errors.ts';
import {
  DEFAULT_WINDOW,
  Flag,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES,
  FrameType,
  MAX_WINDOW,
  readU31,
  readU32,
  writeFrameHeader,
  writeU32,
} from './frame.ts';
import { PeerSettings, SETTING_BYTES, writeSetting } from './settings.ts';
import { AbortCause, nextState, type Stream, StreamEvent, StreamState } from './stream.ts';

/** What all connections of one server or channel share: the turn's list of connections to write, and the clock. */
export class ConnectionHost {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  private readonly timers: Timers;
  private dirty: Connection[] = [];
  private flushing: Connection[] = [];
  private scheduled = false;
  /** Bytes of half-received messages of all connections. */
  heldBytes = 0;
  private readonly onEndOfTurn: () => void;

  constructor(clock: Clock, timers: Timers, limits: RpcLimits) {
    this.clock = clock;
    this.timers = timers;
    this.limits = limits;
    this.onEndOfTurn = () => {
      this.scheduled = false;
      this.flush();
    };
  }

  /** The connection has something to write: now if `flush` is called, at the end of this turn otherwise. */
  markDirty(connection: Connection): void {
    this.dirty.push(connection);
    if (!this.scheduled) {
      this.scheduled = true;
      this.timers.endOfTurn(this.onEndOfTurn);
    }
  }

  /** Writes what the connections have gathered, one write each. */
  flush(): void {
    if (this.dirty.length === 0) return;
    const connections = this.dirty;
    this.dirty = this.flushing;
    this.flushing = connections;
    for (let i = 0; i < connections.length; i++) (connections[i] as Connection).flush();
    connections.length = 0;
  }
}

/** Writes in one flush beyond which a connection with bulk data lets the others have the turn. */
const WRITES_PER_TURN = 4;
/** Streams that were closed lately are remembered, to tell late frames from forbidden ones. */
const REMEMBERED_STREAMS = 256;

/**
 * One HTTP/2 connection, either side: frames in, states, windows, the queue of streams that have something to frame,
 * and the outbox. Subclasses know what opens a stream.
 *
 * Errors of the connection go through `fail`, errors of a stream through `resetStream`; after `fail` nothing of the input
 * is looked at any more.
 */
export abstract class Connection implements SocketReceiver {
  readonly host: ConnectionHost;
  readonly socket: Socket;
  readonly limits: RpcLimits;
  readonly streams = new Map<number, Stream>();
  readonly out = new Outbox();
  readonly encoder = new Encoder();
  private readonly blocks: KnownBlocks;
  readonly peer = new PeerSettings();
  /** `fail` was called or the socket is gone. */
  dead = false;
  /** The socket is gone. */
  gone = false;
  /** Bytes the other side lets us send on the connection. */
  sendWindow = DEFAULT_WINDOW;
  /** Highest stream the other side opened. */
  lastPeerStream = 0;
  /** A GOAWAY of ours names the last stream we will serve; −1 before. */
  goawaySent = -1;
  goawayReceived = false;
  /** When the socket began to take nothing, 0 while it does. */
  writeBlockedSinceMs = 0;
  /** When the frame or header block not yet complete began, 0 without one. */
  partialSinceMs = 0;
  /** When the sweep last found that bytes had come. */
  lastReadMs: number;
  /** Bytes came since the last sweep. */
  heard = false;
  readonly createdMs: number;
  /** When our SETTINGS went out unacknowledged, 0 after. */
  settingsSentMs = 0;
  /** Why the connection ended, once it has. */
  lossReason = '';
  /** When the connection failed and was only kept to get the GOAWAY out. */
  deadSinceMs = 0;
  settingsReceived = false;
  /** Headers or data went out since the last ping of the other side. */
  sentSincePing = false;
  /** A graceful end was begun: no new streams, and the socket ends with the last one. */
  draining = false;
  /** When the drain began. */
  drainingSinceMs = 0;
  /** Upper bound of every stream's `sendCredit`, to notice windows that a SETTINGS would overflow. */
  private highestCredit = 0;
  private receiveWindow: number;
  private receiveCredit = 0;
  private isDirty = false;
  private isWriting = false;
  private isFlushing = false;
  /** The socket is to be ended once everything is written. */
  private endAfterWrite = false;
  private socketEnded = false;
  private readingStopped = false;
  private ring: Stream | null = null;

  private partial: Buffer = NO_BYTES;
  private partialLength = 0;

  /** Stream of the header block being continued, 0 without one. */
  private blockStream = 0;
  private blockFlags = 0;
  private block: Buffer = NO_BYTES;
  private blockLength = 0;
  private blockFrames = 0;

  private readonly closedStreams = new Int32Array(REMEMBERED_STREAMS);
  private closedCount = 0;

  /** Bytes of half-received messages. */
  heldBytes = 0;
  /** Bytes granted to streams beyond their first window, and the streams that wait for a grant. */
  private grantedBytes = 0;
  private readonly grantQueue = new RingQueue<Stream>();

  private readonly resets: Budget;
  private readonly control: Budget;
  private readonly smallData: Budget;

  constructor(host: ConnectionHost, socket: Socket) {
    this.host = host;
    this.socket = socket;
    const limits = host.limits;
    this.limits = limits;
    const nowMs = host.clock.nowMs();
    this.createdMs = nowMs;
    this.lastReadMs = nowMs;
    this.blocks = new KnownBlocks(new Decoder(limits, this.peer.headerTableSize));
    this.receiveWindow = Math.max(limits.connectionWindowBytes, DEFAULT_WINDOW);
    this.resets = new Budget(limits.resetBurst, limits.resetsPerSecond, nowMs);
    this.control = new Budget(limits.controlBurst, limits.controlPerSecond, nowMs);
    this.smallData = new Budget(limits.smallDataBurst, limits.smallDataPerSecond, nowMs);
  }

  /** Whether the other side is a server, which decides who may open which streams. */
  protected abstract readonly peerIsServer: boolean;
  /** A header block that opens a stream, or belongs to none that is known. */
  protected abstract receiveOpening(id: number, block: HeaderBlock, endStream: boolean): void;
  /** A header block of an open stream. */
  protected abstract receiveFurtherHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void;
  /** `provoked`: we sent headers or data since the last ping. */
  protected abstract receivePing(provoked: boolean): void;
  protected abstract receivePong(payload: Buffer, start: number): void;
  protected abstract receiveGoaway(lastStream: number, code: number, debug: string): void;
  protected abstract settingsChanged(): void;
  /** A stream left the map. */
  protected abstract streamRemoved(stream: Stream): void;
  /** After `closed`: the owner forgets the connection. */
  protected abstract lost(error: Error | null): void;

  // ── input ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  data(bytes: Buffer, start: number, end: number): void {
    if (this.dead) return;
    this.heard = true;
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

  /** One complete frame: its header at `start`, its payload up to `end`. */
  private frame(bytes: Buffer, start: number, end: number): void {
    const type = bytes[start + 3] as number;
    const flags = bytes[start + 4] as number;
    const id = readU31(bytes, start + 5);
    const payload = start + FRAME_HEADER_BYTES;
    if (this.blockStream !== 0 && (type !== FrameType.CONTINUATION || id !== this.blockStream)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'header block interrupted');
      return;
    }
    if (!this.settingsReceived && type !== FrameType.SETTINGS) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'first frame is not SETTINGS');
      return;
    }
    switch (type) {
      case FrameType.DATA:
        this.dataFrame(bytes, payload, end, flags, id);
        break;
      case FrameType.HEADERS:
        this.headersFrame(bytes, payload, end, flags, id);
        break;
      case FrameType.PRIORITY:
        this.priorityFrame(bytes, payload, end, id);
        break;
      case FrameType.RST_STREAM:
        this.resetFrame(bytes, payload, end, id);
        break;
      case FrameType.SETTINGS:
        this.settingsFrame(bytes, payload, end, flags, id);
        break;
      case FrameType.PUSH_PROMISE:
        this.fail(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE is disabled');
        break;
      case FrameType.PING:
        this.pingFrame(bytes, payload, end, flags, id);
        break;
      case FrameType.GOAWAY:
        this.goawayFrame(bytes, payload, end, id);
        break;
      case FrameType.WINDOW_UPDATE:
        this.windowFrame(bytes, payload, end, id);
        break;
      case FrameType.CONTINUATION:
        this.continuationFrame(bytes, payload, end, flags, id);
        break;
      default:
        this.spendControl(); // RFC 9113 §4.1: unknown types are ignored
        break;
    }
  }

  private dataFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
    const length = end - payload;
    if (id === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'DATA on stream 0');
      return;
    }
    let start = payload;
    let stop = end;
    if (flags & Flag.PADDED) {
      if (length === 0) {
        this.fail(ErrorCode.FRAME_SIZE_ERROR, 'padded DATA without pad length');
        return;
      }
      stop = end - (bytes[start] as number);
      start++;
      if (stop < start) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'padding longer than the frame');
        return;
      }
    }
    this.receiveWindow -= length;
    if (this.receiveWindow < 0) {
      this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'connection window exceeded');
      return;
    }
    this.receiveCredit += length;
    if (this.receiveCredit >= this.limits.connectionWindowBytes >> 1) this.creditConnection();
    const endStream = (flags & Flag.END_STREAM) !== 0;
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.frameOfNoStream(id, 'DATA');
      return;
    }
    const next = nextState(stream.state, endStream ? StreamEvent.RECEIVE_END : StreamEvent.RECEIVE_DATA);
    if (next < 0) {
      this.resetStream(stream, -next as ErrorCode);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      this.resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
      return;
    }
    stream.state = next as StreamState;
    stream.receiveData(bytes, start, stop, endStream);
    if (stream.state === StreamState.CLOSED) this.removeStream(stream);
    else if (length < this.limits.smallDataBytes && !endStream && (stop === start || stream.holdsFragment)) {
      // Nothing, or a crumb of a message: each costs a frame's work and little of the window (CVE-2019-9518, 2026-84304).
      if (!this.smallData.spend(this.host.clock.nowMs())) {
        this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many small DATA frames');
      }
    }
  }

  /** A frame for a stream that is not in the map: late, forbidden, or for one never opened. */
  private frameOfNoStream(id: number, what: string): void {
    if (this.isIdle(id)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, `${what} on an idle stream`);
      return;
    }
    if (this.goawaySent >= 0 && id > this.goawaySent) return; // not served, and the other side was told
    if (this.recollect(id) < 0) return; // reset by us, so late frames are to be expected (RFC 9113 §5.1)
    this.spendReset();
    this.writeReset(id, ErrorCode.STREAM_CLOSED);
    this.forget(id, true);
  }

  protected abstract isIdle(id: number): boolean;

  private headersFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
    if (id === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on stream 0');
      return;
    }
    let start = payload;
    let stop = end;
    if (flags & Flag.PADDED) {
      if (stop === start) {
        this.fail(ErrorCode.FRAME_SIZE_ERROR, 'padded HEADERS without pad length');
        return;
      }
      stop -= bytes[start] as number;
      start++;
    }
    let dependsOnItself = false;
    if (flags & Flag.PRIORITY) {
      if (end - start < 5) {
        this.fail(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS too short for its priority');
        return;
      }
      dependsOnItself = readU31(bytes, start) === id;
      start += 5;
    }
    if (stop < start) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'padding longer than the frame');
      return;
    }
    if (dependsOnItself) flags |= SELF_DEPENDENT;
    if (flags & Flag.END_HEADERS) this.headerBlock(id, flags, bytes, start, stop);
    else this.beginBlock(id, flags, bytes, start, stop);
  }

  private beginBlock(id: number, flags: number, bytes: Buffer, start: number, stop: number): void {
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

  private continuationFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
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

  private headerBlock(id: number, flags: number, bytes: Buffer, start: number, end: number): void {
    const block = this.blocks.decode(bytes, start, end);
    if (block === null) {
      this.fail(ErrorCode.COMPRESSION_ERROR, 'header block cannot be decoded');
      return;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.receiveOpening(id, block, endStream);
      if (flags & SELF_DEPENDENT) this.selfDependent(id);
      return;
    }
    if (flags & SELF_DEPENDENT) {
      this.selfDependent(id);
      return;
    }
    const next = nextState(stream.state, endStream ? StreamEvent.RECEIVE_END : StreamEvent.RECEIVE_HEADERS);
    if (next < 0) {
      this.resetStream(stream, -next as ErrorCode);
      return;
    }
    stream.state = next as StreamState;
    this.receiveFurtherHeaders(stream, block, endStream);
    if (stream.state === StreamState.CLOSED) this.removeStream(stream);
  }

  /** RFC 7540 §5.3.1, kept because RFC 9113 leaves the old rules to whoever still knows them. */
  private selfDependent(id: number): void {
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      this.resetStream(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (this.dead || this.recollect(id) !== 0) return;
    this.spendReset();
    this.writeReset(id, ErrorCode.PROTOCOL_ERROR);
  }

  private priorityFrame(bytes: Buffer, payload: number, end: number, id: number): void {
    if (id === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'PRIORITY on stream 0');
      return;
    }
    this.spendControl();
    if (this.dead) return;
    if (end - payload !== 5) {
      const stream = this.streams.get(id);
      if (stream !== undefined) {
        this.resetStream(stream, ErrorCode.FRAME_SIZE_ERROR);
        return;
      }
      this.spendReset();
      this.writeReset(id, ErrorCode.FRAME_SIZE_ERROR);
    } else if (readU31(bytes, payload) === id) this.selfDependent(id);
  }

  private resetFrame(bytes: Buffer, payload: number, end: number, id: number): void {
    if (id === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on stream 0');
      return;
    }
    if (end - payload !== 4) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM is not 4 bytes');
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream');
        return;
      }
      this.spendControl();
      return;
    }
    this.spendReset();
    if (this.dead) return;
    stream.state = StreamState.CLOSED;
    this.removeStream(stream);
    stream.aborted(readU32(bytes, payload), AbortCause.PEER);
  }

  private settingsFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
    const length = end - payload;
    if (id !== 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS on a stream');
      return;
    }
    if (flags & Flag.ACK) {
      if (length !== 0) {
        this.fail(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS ACK with payload');
        return;
      }
      if (!this.settingsReceived) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'first frame is not SETTINGS');
        return;
      }
      if (this.settingsSentMs === 0) this.spendControl();
      this.settingsSentMs = 0;
      return;
    }
    if (length % SETTING_BYTES !== 0) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS length');
      return;
    }
    if (this.settingsReceived) this.spendControl();
    if (this.dead) return;
    const windowBefore = this.peer.initialWindowSize;
    const error = this.peer.update(bytes, payload, end, this.peerIsServer);
    if (error !== ErrorCode.NO_ERROR) {
      this.fail(error, 'SETTINGS value out of range');
      return;
    }
    this.settingsReceived = true;
    if (this.peer.initialWindowSize > windowBefore) this.windowsGrew();
    if (this.dead) return;
    this.encoder.setPeerTableSize(this.peer.headerTableSize);
    this.writeBare(FrameType.SETTINGS, Flag.ACK);
    this.settingsChanged();
  }

  /** The initial window grew: some streams may go on, and none may have overflowed (RFC 9113 §6.9.2). */
  private windowsGrew(): void {
    const window = this.peer.initialWindowSize;
    if (window + this.highestCredit > MAX_WINDOW) {
      this.highestCredit = 0;
      for (const stream of this.streams.values()) {
        if (stream.sendCredit > this.highestCredit) this.highestCredit = stream.sendCredit;
      }
      if (window + this.highestCredit > MAX_WINDOW) {
        this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS overflow a window');
        return;
      }
    }
    for (const stream of this.streams.values()) {
      if (stream.blockedSinceMs !== 0) this.enring(stream);
    }
  }

  private pingFrame(bytes: Buffer, payload: number, end: number, flags: number, id: number): void {
    if (id !== 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'PING on a stream');
      return;
    }
    if (end - payload !== 8) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'PING is not 8 bytes');
      return;
    }
    // Go's clients ping after data of ours to measure the link: those are paid for by what we sent.
    const provoked = this.sentSincePing;
    this.sentSincePing = false;
    if (!provoked) this.spendControl();
    if (this.dead) return;
    if (flags & Flag.ACK) {
      this.receivePong(bytes, payload);
      return;
    }
    this.out.reserve(17);
    const at = writeFrameHeader(this.out.buffer, this.out.offset, 8, FrameType.PING, Flag.ACK, 0);
    bytes.copy(this.out.buffer, at, payload, end);
    this.out.offset = at + 8;
    this.controlWritten();
    this.receivePing(provoked);
  }

  private goawayFrame(bytes: Buffer, payload: number, end: number, id: number): void {
    if (id !== 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'GOAWAY on a stream');
      return;
    }
    if (end - payload < 8) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY is too short');
      return;
    }
    this.spendControl();
    if (this.dead) return;
    this.goawayReceived = true;
    const debug = bytes.toString('latin1', payload + 8, Math.min(end, payload + 8 + 256));
    this.receiveGoaway(readU31(bytes, payload), readU32(bytes, payload + 4), debug);
  }

  private windowFrame(bytes: Buffer, payload: number, end: number, id: number): void {
    if (end - payload !== 4) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE is not 4 bytes');
      return;
    }
    const increment = readU31(bytes, payload);
    if (id === 0) {
      if (increment === 0) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
        return;
      }
      if (this.sendWindow + increment > MAX_WINDOW) {
        this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'connection window overflow');
        return;
      }
      if (increment < 1024) this.spendControl();
      this.sendWindow += increment;
      if (this.ring !== null) this.touch();
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream');
        return;
      }
      this.spendControl();
      return;
    }
    if (increment === 0) {
      this.resetStream(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    const credit = stream.sendCredit + increment;
    if (this.peer.initialWindowSize + credit > MAX_WINDOW) {
      this.resetStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
      return;
    }
    if (increment < 1024) this.spendControl();
    stream.sendCredit = credit;
    if (credit > this.highestCredit) this.highestCredit = credit;
    if (stream.blockedSinceMs !== 0) this.enring(stream);
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

  ended(): void {
    // The other side will never answer nor ask again; what is still running cannot be finished by it.
    if (this.streams.size === 0 || this.dead) this.endSocket();
    else this.socket.destroy();
  }

  closed(error: Error | null): void {
    if (!this.dead) this.lossReason = error?.message ?? 'closed by the other side';
    this.gone = true;
    this.dead = true;
    this.out.discard();
    this.abortAll(ErrorCode.CANCEL);
    this.lost(error);
  }

  private abortAll(code: number): void {
    const streams = [...this.streams.values()];
    this.streams.clear();
    this.ring = null;
    for (const stream of streams) {
      stream.state = StreamState.CLOSED;
      stream.ringNext = null;
      stream.ringPrevious = null;
      this.release(stream);
      this.streamRemoved(stream);
      stream.aborted(code, AbortCause.CONNECTION);
    }
  }

  // ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends the connection: GOAWAY with the reason, then the socket. All streams end now. */
  fail(code: ErrorCode, debug: string): void {
    if (this.dead) return;
    this.writeGoaway(this.goawaySent >= 0 ? this.goawaySent : this.lastPeerStream, code, debug);
    this.dead = true;
    this.lossReason = debug;
    this.deadSinceMs = this.host.clock.nowMs();
    this.failing(code, debug);
    this.abortAll(code);
    this.endSocket();
  }

  /** For logs and metrics; the connection is about to end by our decision. */
  protected abstract failing(code: ErrorCode, debug: string): void;

  /** Ends one stream with RST_STREAM because of what the other side did. Counts against its resets. */
  resetStream(stream: Stream, code: ErrorCode): void {
    this.spendReset();
    if (this.dead) return;
    this.writeReset(stream.id, code);
    if (stream.state === StreamState.CLOSED && !this.streams.has(stream.id)) return;
    stream.state = StreamState.CLOSED;
    this.removeStream(stream, true);
    stream.aborted(code, AbortCause.OURS);
  }

  /** Ends one stream with RST_STREAM by our own decision, without telling it. */
  cancelStream(stream: Stream, code: ErrorCode): void {
    if (this.dead || stream.state === StreamState.CLOSED) return;
    this.writeReset(stream.id, code);
    stream.state = StreamState.CLOSED;
    this.removeStream(stream, true);
  }

  private spendReset(): void {
    if (!this.resets.spend(this.host.clock.nowMs())) this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many resets');
  }

  private spendControl(): void {
    if (!this.control.spend(this.host.clock.nowMs())) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many control frames');
    }
  }

  /** Refuses a stream that was never opened here. */
  protected refuse(id: number, code: ErrorCode): void {
    this.spendReset();
    if (this.dead) return;
    this.writeReset(id, code);
    this.forget(id, true);
  }

  // ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

  addStream(stream: Stream): void {
    this.streams.set(stream.id, stream);
  }

  /** Takes a closed stream out of everything. */
  removeStream(stream: Stream, resetByUs = false): void {
    if (!this.streams.delete(stream.id)) return;
    if (stream.ringNext !== null) this.unring(stream);
    this.release(stream);
    this.forget(stream.id, resetByUs);
    this.streamRemoved(stream);
  }

  /** Gives back all memory a stream accounts for. */
  private release(stream: Stream): void {
    stream.blockedSinceMs = 0;
    if (stream.queuedBytes > 0) stream.clearQueue();
    if (stream.heldBytes > 0) this.hold(stream, 0);
    if (stream.grantedBytes > 0) this.endGrant(stream);
  }

  private forget(id: number, resetByUs: boolean): void {
    this.closedStreams[this.closedCount & (REMEMBERED_STREAMS - 1)] = resetByUs ? -id : id;
    this.closedCount++;
  }

  /** id: closed in order; −id: reset by us; 0: too long ago, or never. */
  protected recollect(id: number): number {
    if (this.closedStreams.includes(-id)) return -id;
    return this.closedStreams.includes(id) ? id : 0;
  }

  // ── output ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** There is something to write: the host will flush this connection in this turn. */
  touch(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.host.markDirty(this);
  }

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

  private unring(stream: Stream): void {
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
      if (stream.queuedBytes === 0) {
        this.unring(stream);
        if (stream.endQueued) this.finishOutput(stream);
        continue;
      }
      if (this.sendWindow === 0) return;
      const window = this.peer.initialWindowSize + stream.sendCredit;
      if (window <= 0) {
        this.unring(stream);
        stream.blockedSinceMs = this.host.clock.nowMs();
        continue;
      }
      this.slice(stream, window);
      // What is left takes its next turn behind the others; an empty queue comes round at once, to end its stream.
      if (stream.ringNext !== null && stream.queuedBytes > 0) this.ring = stream.ringNext;
    }
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

  /** The other side's end came with its headers. */
  inputEnded(stream: Stream): void {
    const next = nextState(stream.state, StreamEvent.RECEIVE_END);
    if (next < 0) return;
    stream.state = next as StreamState;
    if (next === StreamState.CLOSED) this.removeStream(stream);
  }

  /** A stream was answered with one frame and no stream object; what else comes for it is ignored. */
  answered(id: number, endStream: boolean): void {
    if (!endStream) this.writeReset(id, ErrorCode.NO_ERROR);
    this.forget(id, !endStream);
  }

  /** Our side of the stream has ended; call after the frame that says so was written. */
  outputEnded(stream: Stream): void {
    this.sentSincePing = true;
    const next = nextState(stream.state, StreamEvent.SEND_END);
    if (next < 0) return;
    stream.state = next as StreamState;
    if (next === StreamState.CLOSED) this.removeStream(stream);
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
    if (this.socket.write(this.out.buffer, 0, length)) {
      this.out.taken();
      return this.ring !== null && this.sendWindow > 0;
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

  /** A frame without payload. */
  private writeBare(type: FrameType, flags: number): void {
    this.out.reserve(FRAME_HEADER_BYTES);
    this.out.offset = writeFrameHeader(this.out.buffer, this.out.offset, 0, type, flags, 0);
    this.controlWritten();
  }

  /** Answers pile up behind a socket that takes nothing: read no more until it does (CVE-2019-9512, 9515). */
  private controlWritten(): void {
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

  /** Opens the connection window from its initial size to the configured one. */
  protected openConnectionWindow(): void {
    const extra = this.limits.connectionWindowBytes - DEFAULT_WINDOW;
    if (extra > 0) this.writeWindowUpdate(0, extra);
  }

  private creditConnection(): void {
    this.writeWindowUpdate(0, this.receiveCredit);
    this.receiveWindow += this.receiveCredit;
    this.receiveCredit = 0;
  }

  /** Lets the other side send so many bytes more on the stream. */
  creditStream(stream: Stream, bytes: number): void {
    stream.receiveWindow += bytes;
    this.writeWindowUpdate(stream.id, bytes);
  }

  /** The stream now holds so many bytes of an unfinished message. False: too much is held, the stream was reset. */
  hold(stream: Stream, bytes: number): boolean {
    const change = bytes - stream.heldBytes;
    stream.heldBytes = bytes;
    this.heldBytes += change;
    this.host.heldBytes += change;
    if (change <= 0) return true;
    if (this.heldBytes <= this.limits.heldBytes && this.host.heldBytes <= this.limits.heldBytesOfAll) return true;
    this.resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM);
    return false;
  }

  /**
   * The stream needs `bytes` more than its first window for the message it has begun. It gets them all at once, or waits
   * until others have finished theirs: that way what is granted is always enough for those who have it to finish, and
   * memory stays bounded without a deadlock.
   */
  grant(stream: Stream, bytes: number): void {
    if (stream.waitsForGrant > 0) return;
    if (stream.grantedBytes > 0) {
      this.creditStream(stream, bytes); // padding used up some of the grant
      return;
    }
    if (this.grantedBytes > 0 && this.grantedBytes + bytes > this.limits.assemblyBytes) {
      stream.waitsForGrant = bytes;
      this.grantQueue.push(stream);
      return;
    }
    stream.grantedBytes = bytes;
    this.grantedBytes += bytes;
    this.creditStream(stream, bytes);
  }

  /** The message that needed the grant is complete, or will never be. */
  endGrant(stream: Stream): void {
    this.grantedBytes -= stream.grantedBytes;
    stream.grantedBytes = 0;
    while (this.grantQueue.length > 0 && this.grantedBytes < this.limits.assemblyBytes) {
      const next = this.grantQueue.take() as Stream;
      const bytes = next.waitsForGrant;
      next.waitsForGrant = 0;
      if (this.streams.get(next.id) === next && next.state !== StreamState.CLOSED) this.grant(next, bytes);
    }
  }

  // ── life ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Called now and then by the owner: ends what has taken too long. */
  sweep(nowMs: number): void {
    const limits = this.limits;
    if (this.heard) this.lastReadMs = nowMs;
    this.heard = false;
    if (this.dead) {
      if (!this.gone && nowMs - this.deadSinceMs > LINGER_MS) this.socket.destroy();
      return;
    }
    if (this.writeBlockedSinceMs > 0 && nowMs - this.writeBlockedSinceMs > limits.writeStallMs) {
      this.socket.destroy(new Error('the other side reads nothing'));
    } else if (!this.settingsReceived && nowMs - this.createdMs > limits.prefaceMs) {
      this.fail(ErrorCode.SETTINGS_TIMEOUT, 'no SETTINGS');
    } else if (this.settingsSentMs > 0 && nowMs - this.settingsSentMs > limits.settingsAckMs) {
      this.fail(ErrorCode.SETTINGS_TIMEOUT, 'SETTINGS not acknowledged');
    } else if (this.partialSinceMs > 0 && nowMs - this.partialSinceMs > this.partialLimitMs()) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'frame or header block takes too long');
    } else if (this.draining && nowMs - this.drainingSinceMs > limits.drainMs) {
      this.fail(ErrorCode.NO_ERROR, 'drain took too long');
    } else this.sweepStreams(nowMs);
  }

  private partialLimitMs(): number {
    return this.blockStream !== 0 ? this.limits.headerBlockMs : this.limits.frameMs;
  }

  /** Ends streams whose response waits too long for window, or whose request does not come to its end. */
  private sweepStreams(nowMs: number): void {
    const { windowStallMs, requestMs } = this.limits;
    if (windowStallMs === 0 && requestMs === 0) return;
    for (const stream of this.streams.values()) {
      const blocked = stream.blockedSinceMs > 0 && windowStallMs > 0 && nowMs - stream.blockedSinceMs > windowStallMs;
      const slow = requestMs > 0 && stream.inputSinceMs > 0 && nowMs - stream.inputSinceMs > requestMs;
      if (blocked || slow) this.resetStream(stream, ErrorCode.CANCEL);
      if (this.dead) return;
    }
  }
}

/** How long a failed connection is kept so that the other side can read why. */
const LINGER_MS = 1000;
/** Beside the flag bits of the wire, which fill one byte. */
const SELF_DEPENDENT = 0x100;
const NO_BYTES = Buffer.alloc(0);
