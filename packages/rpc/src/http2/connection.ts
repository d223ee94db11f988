import type { Socket, SocketReceiver } from '@etsd/runtime';
import { Decoder, type HeaderBlock } from '../hpack/decoder.ts';
import { KnownBlocks } from '../hpack/known-blocks.ts';
import { Budget } from './budget.ts';
import type { ConnectionHost } from './connection-host.ts';
import { ErrorCode } from './errors.ts';
import { ReceiveFlow } from './flow-control.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, MAX_WINDOW, readU31, readU32, writeFrameHeader } from './frame.ts';
import { FrameInput } from './frame-input.ts';
import { SETTING_BYTES } from './settings.ts';
import { AbortCause, nextState, type Stream, StreamEvent, StreamState } from './stream.ts';

/** Streams that were closed lately are remembered, to tell late frames from forbidden ones. */
const REMEMBERED_STREAMS = 256;

/**
 * One HTTP/2 connection, either side: what each frame means (RFC 9113 §6), the streams and their states, errors and the
 * limits in time. Subclasses know what opens a stream.
 *
 * Errors of the connection go through `fail`, errors of a stream through `resetStream`; after `fail` nothing of the input
 * is looked at any more.
 */
export abstract class Connection extends FrameInput implements SocketReceiver {
  readonly streams = new Map<number, Stream>();
  readonly receive: ReceiveFlow;
  private readonly blocks: KnownBlocks;
  /** Highest stream the other side opened. */
  lastPeerStream = 0;
  goawayReceived = false;
  /** Size of the header lists of the open streams. */
  headerBytes = 0;
  /** When the sweep last found that bytes had come. */
  lastReadMs: number;
  readonly createdMs: number;
  /** Why the connection ended, once it has. */
  lossReason = '';
  /** When the connection failed and was only kept to get the GOAWAY out. */
  deadSinceMs = 0;
  settingsReceived = false;
  /** A graceful end was begun: no new streams, and the socket ends with the last one. */
  draining = false;
  /** When the drain began. */
  drainingSinceMs = 0;
  /** Upper bound of every stream's `sendCredit`, to notice windows that a SETTINGS would overflow. */
  private highestCredit = 0;

  private readonly closedStreams = new Int32Array(REMEMBERED_STREAMS);
  private closedCount = 0;

  private readonly resets: Budget;
  private readonly control: Budget;
  private readonly smallData: Budget;

  constructor(host: ConnectionHost, socket: Socket) {
    super(host, socket);
    const { limits } = this;
    const nowMs = host.clock.nowMs();
    this.createdMs = nowMs;
    this.lastReadMs = nowMs;
    this.blocks = new KnownBlocks(new Decoder(limits, this.peer.headerTableSize));
    this.resets = new Budget(limits.resetBurst, limits.resetsPerSecond, nowMs);
    this.control = new Budget(limits.controlBurst, limits.controlPerSecond, nowMs);
    this.smallData = new Budget(limits.smallDataBurst, limits.smallDataPerSecond, nowMs);
    this.receive = new ReceiveFlow(this);
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
      stream.isRemoved = true;
      this.release(stream);
      this.streamRemoved(stream);
      stream.aborted(code, AbortCause.CONNECTION);
    }
  }

  // ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends the connection: GOAWAY with the reason, then the socket. All streams end now. */
  override fail(code: ErrorCode, debug: string): void {
    if (this.dead) return;
    this.writeGoaway(this.goawaySent >= 0 ? this.goawaySent : this.lastPeerStream, code, debug);
    this.dead = true;
    this.lossReason = debug;
    this.deadSinceMs = this.host.clock.nowMs();
    this.failing(code, debug);
    this.abortAll(code);
    this.endSocket();
  }

  /** A stream's queue grew by so many bytes, or shrank; for those who keep an account. */
  queuedMore(_bytes: number): void {}

  /** So much waits to be read, here or altogether, that what is long had better be made as it is taken. */
  get isCongested(): boolean {
    return false;
  }

  /** Whether the other side leaves so much unread that a whole message more is too much. */
  get readsTooLittle(): boolean {
    return false;
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

  /** The other side did what costs us far more than it; counts as so many resets. */
  protected spendResets(count: number): void {
    for (let spent = 0; spent < count && !this.dead; spent++) this.spendReset();
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
    stream.openedMs = this.host.coarseMs;
    stream.isRemoved = false;
    this.headerBytes += stream.headerBytes;
    this.streams.set(stream.id, stream);
  }

  /** Takes a closed stream out of everything. */
  removeStream(stream: Stream, resetByUs = false): void {
    if (stream.isRemoved) return;
    stream.isRemoved = true;
    this.streams.delete(stream.id);
    if (stream.ringNext !== null) this.unring(stream);
    this.release(stream);
    this.forget(stream.id, resetByUs);
    this.streamRemoved(stream);
  }

  /** Gives back all memory a stream accounts for. */
  private release(stream: Stream): void {
    this.headerBytes -= stream.headerBytes;
    stream.blockedSinceMs = 0;
    if (stream.queuedBytes > 0) stream.clearQueue();
    if (stream.heldBytes > 0) this.receive.hold(stream, 0);
    if (stream.waitsForGrant > 0) this.receive.stopWaiting(stream);
    if (stream.grantedBytes > 0) this.receive.endGrant(stream);
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
  override outputEnded(stream: Stream): void {
    this.sentSincePing = true;
    const next = nextState(stream.state, StreamEvent.SEND_END);
    if (next < 0) return;
    stream.state = next as StreamState;
    if (next === StreamState.CLOSED) this.removeStream(stream);
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
    } else if (this.isWindowShut(nowMs)) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'connection window shut for too long');
    } else if (this.draining && nowMs - this.drainingSinceMs > limits.drainMs) {
      this.fail(ErrorCode.NO_ERROR, 'drain took too long');
    } else this.sweepStreams(nowMs);
  }

  private isWindowShut(nowMs: number): boolean {
    const { windowStallMs } = this.limits;
    return windowStallMs > 0 && this.windowBlockedSinceMs > 0 && nowMs - this.windowBlockedSinceMs > windowStallMs;
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

/** A stream that has lived for this long may be reset without counting. */
const SETTLED_STREAM_MS = 1000;
/** How long a failed connection is kept so that the other side can read why. */
const LINGER_MS = 1000;
/** Beside the flag bits of the wire, which fill one byte. */
const SELF_DEPENDENT = 0x100;
