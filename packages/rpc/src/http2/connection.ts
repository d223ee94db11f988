import type { Socket } from '@etsd/runtime';
import { Decoder, type HeaderBlock } from '../hpack/decoder.ts';
import { KnownBlocks } from '../hpack/known-blocks.ts';
import type { ConnectionHost } from './connection-host.ts';
import { ConnectionLife } from './connection-life.ts';
import { ErrorCode } from './errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, MAX_WINDOW, readU31, readU32, writeFrameHeader } from './frame.ts';
import { SETTING_BYTES } from './settings.ts';
import { AbortCause, nextState, type Stream, StreamEvent, StreamState } from './stream.ts';

/**
 * One HTTP/2 connection, either side: what each frame means (RFC 9113 §6). Subclasses know what opens a stream.
 */
export abstract class Connection extends ConnectionLife {
  private readonly blocks: KnownBlocks;
  goawayReceived = false;
  /** A slot for what is known of the other side; null at first. */
  ofPeer: unknown = null;
  /** Upper bound of every stream's `sendCredit`, to notice windows that a SETTINGS would overflow. */
  private highestCredit = 0;

  constructor(host: ConnectionHost, socket: Socket) {
    super(host, socket);
    this.blocks = new KnownBlocks(new Decoder(this.limits, this.peer.headerTableSize));
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

  // ── input ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One complete frame: its header at `start`, its payload up to `end`. */
  protected override frame(bytes: Buffer, start: number, end: number): void {
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
    if (!this.receive.take(length)) {
      this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'connection window exceeded');
      return;
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.frameOfNoStream(id, 'DATA', length);
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
      this.spendSmallData();
    }
  }

  /** A frame for a stream that is not in the map: late, forbidden, or for one never opened. */
  private frameOfNoStream(id: number, what: string, dataBytes = 0): void {
    if (this.isIdle(id)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, `${what} on an idle stream`);
      return;
    }
    if (this.goawaySent >= 0 && id > this.goawaySent) return; // not served, and the other side was told
    if (this.recollect(id) < 0) {
      // Reset by us, so late frames are to be expected (RFC 9113 §5.1), though not without end.
      this.spendLate(dataBytes);
      return;
    }
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

  protected override headerBlock(id: number, flags: number, bytes: Buffer, start: number, end: number): void {
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
    // What ran for a while and was given up is no rapid reset: many calls may reach their deadlines at once.
    if (this.host.coarseMs - stream.openedMs < SETTLED_STREAM_MS) this.spendReset();
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
      this.windowBlockedSinceMs = 0;
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
}

/** A stream that has lived for this long may be reset without counting. */
const SETTLED_STREAM_MS = 1000;
/** Beside the flag bits of the wire, which fill one byte. */
const SELF_DEPENDENT = 0x100;
