import type { Socket, SocketReceiver } from '@etsd/runtime';
import { Budget } from './budget.ts';
import type { ConnectionHost } from './connection-host.ts';
import { ErrorCode } from './errors.ts';
import { ReceiveFlow } from './flow-control.ts';
import { DEFAULT_WINDOW } from './frame.ts';
import { FrameInput } from './frame-input.ts';
import { AbortCause, nextState, type Stream, StreamEvent, StreamState } from './stream.ts';

/** Streams that were closed lately are remembered, to tell late frames from forbidden ones. */
const REMEMBERED_STREAMS = 256;

/** How long a failed connection is kept so that the other side can read why. */
const LINGER_MS = 1000;
/** How much the other side may still send meanwhile: reading it costs as much as if it were of use. */
const LINGER_BYTES = 262_144;

/**
 * The life of one HTTP/2 connection and of its streams, either side: who is open, how each ends, what the other side may
 * spend of our patience, and the limits in time. `Connection` knows what the frames mean.
 *
 * Errors of the connection go through `fail`, errors of a stream through `resetStream`; after `fail` nothing of the input
 * is looked at any more.
 */
export abstract class ConnectionLife extends FrameInput implements SocketReceiver {
  readonly streams = new Map<number, Stream>();
  readonly receive: ReceiveFlow;
  /** Highest stream the other side opened. */
  lastPeerStream = 0;
  /** Size of the header lists of the open streams. */
  headerBytes = 0;
  /** When the sweep last found that bytes had come. */
  lastReadMs: number;
  readonly createdMs: number;
  /** Why the connection ended, once it has. */
  lossReason = '';
  /** When the connection failed and was only kept to get the GOAWAY out. */
  deadSinceMs = 0;
  private unheededBytes = 0;
  settingsReceived = false;
  /** A graceful end was begun: no new streams, and the socket ends with the last one. */
  draining = false;
  /** When the drain began. */
  drainingSinceMs = 0;

  /** Bytes of DATA that may still come for streams that were reset by us. */
  private lateBytes = 0;
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
    this.resets = new Budget(limits.resetBurst, limits.resetsPerSecond, nowMs);
    this.control = new Budget(limits.controlBurst, limits.controlPerSecond, nowMs);
    this.smallData = new Budget(limits.smallDataBurst, limits.smallDataPerSecond, nowMs);
    this.receive = new ReceiveFlow(this);
  }

  /** A stream left the map. */
  protected abstract streamRemoved(stream: Stream): void;
  /** After `closed`: the owner forgets the connection. */
  protected abstract lost(error: Error | null): void;

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

  protected override unheeded(bytes: number): void {
    this.unheededBytes += bytes;
    if (this.unheededBytes > LINGER_BYTES) this.socket.destroy();
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
    this.mayComeLate(stream.receiveWindow);
    stream.state = StreamState.CLOSED;
    this.removeStream(stream, true);
    stream.aborted(code, AbortCause.OURS);
  }

  /** Ends one stream with RST_STREAM by our own decision, without telling it. */
  cancelStream(stream: Stream, code: ErrorCode): void {
    if (this.dead || stream.state === StreamState.CLOSED) return;
    this.writeReset(stream.id, code);
    this.mayComeLate(stream.receiveWindow);
    stream.state = StreamState.CLOSED;
    this.removeStream(stream, true);
  }

  /** What the other side may have sent on a stream before it hears of our reset: what its window allowed, no more. */
  private mayComeLate(windowBytes: number): void {
    if (windowBytes > 0) this.lateBytes += windowBytes;
  }

  /** DATA came on a stream that we have reset. Whoever goes on sending there does not heed windows. */
  protected spendLate(bytes: number): void {
    this.lateBytes -= bytes;
    if (this.lateBytes < 0) this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'DATA goes on for streams that were reset');
  }

  /** The other side did what costs us far more than it; counts as so many resets. */
  protected spendResets(count: number): void {
    for (let spent = 0; spent < count && !this.dead; spent++) this.spendReset();
  }

  protected spendReset(): void {
    if (!this.resets.spend(this.host.clock.nowMs())) this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many resets');
  }

  protected spendControl(): void {
    if (!this.control.spend(this.host.clock.nowMs())) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many control frames');
    }
  }

  protected spendSmallData(): void {
    if (!this.smallData.spend(this.host.clock.nowMs())) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many small DATA frames');
    }
  }

  /** Refuses a stream that was never opened here. */
  protected refuse(id: number, code: ErrorCode): void {
    this.spendReset();
    if (this.dead) return;
    this.writeReset(id, code);
    this.mayComeLate(Math.max(this.limits.streamWindowBytes, DEFAULT_WINDOW));
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

  protected forget(id: number, resetByUs: boolean): void {
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
    if (!endStream) {
      this.writeReset(id, ErrorCode.NO_ERROR);
      this.mayComeLate(Math.max(this.limits.streamWindowBytes, DEFAULT_WINDOW));
    }
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
