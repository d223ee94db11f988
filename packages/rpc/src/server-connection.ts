import type { Socket } from '@etsd/runtime';
import type { HeaderBlock } from './hpack/decoder.ts';
import { type Field, FieldKind } from './hpack/table.ts';
import { Connection } from './http2/connection.ts';
import type { ConnectionHost } from './http2/connection-host.ts';
import { ErrorCode } from './http2/errors.ts';
import { readU32 } from './http2/frame.ts';
import { SettingId } from './http2/settings.ts';
import { type Stream, StreamState } from './http2/stream.ts';
import { Request } from './request.ts';

/** What a connection needs of the server it belongs to. */
export interface ServerConnectionOwner {
  /** A request came whose headers are well-formed. Whoever serves it adds a stream to the connection. */
  request(connection: ServerConnection, id: number, request: Request, endStream: boolean): void;
  /** A header list went over the limits; to unpack one may take far longer than to send it. */
  headersTooLarge(connection: ServerConnection): void;
  /** The client asks and does not read what it is answered. */
  answersUnread(connection: ServerConnection, what: string): void;
  /** All connections together leave more unread than there is memory for; this one has just got more. */
  tooMuchUnread(connection: ServerConnection): void;
  connectionFailed(connection: ServerConnection, code: ErrorCode, debug: string): void;
  connectionLost(connection: ServerConnection, error: Error | null): void;
}

/** Without streams a client that is not allowed to ping may still do so this often (grpc-go). */
const IDLE_PING_MS = 7_200_000;
const MAX_STREAM_ID = 0x7fff_ffff;
/** A header list over the limits counts as so many resets of streams. */
const RESETS_PER_LARGE_LIST = 50;
/**
 * Parts of the memory for unread answers above which large ones are made as they are taken: for a client that leaves some
 * unread, and for everybody.
 */
const CONGESTED_SHARE_OF_ONE = 1 / 8;
const CONGESTED_SHARE_OF_ALL = 1 / 2;
/** A header list of so many times what is allowed is no mistake: bytes that unpack to thousands of times their number. */
const BOMB = 16;
/** Payloads of our pings, to tell their answers apart. */
const KEEPALIVE_PING = 1;
const DRAIN_PING = 2;
/** A drain goes on after this long though its ping was not answered. */
const DRAIN_PING_MS = 5_000;

/** The server's side of a connection. */
export class ServerConnection extends Connection {
  protected readonly peerIsServer = false;
  private readonly owner: ServerConnectionOwner;
  /** When the last ping came; −∞ before the first, which is never too early. */
  private lastPingMs = Number.NEGATIVE_INFINITY;
  private pingStrikes = 0;
  /** When our own ping went out unanswered, 0 otherwise. */
  pingSentMs = 0;
  /** The GOAWAY that names the last stream was sent. */
  private drainAnnounced = false;
  /** Bytes of answers that the client has not taken. */
  queuedBytes = 0;
  /** When it last took some of them, or when they began to wait. */
  private takenMs = 0;
  /** What has waited for so long that it was told of waits still. */
  private unreadTold = false;
  /** A request has come at all. */
  private hasAsked = false;
  /** Since when there has been no stream; 0 while there is one. */
  idleSinceMs: number;

  constructor(host: ConnectionHost, socket: Socket, owner: ServerConnectionOwner) {
    super(host, socket);
    this.owner = owner;
    this.idleSinceMs = this.createdMs;
    const limits = this.limits;
    this.writeSettings([
      [SettingId.MAX_CONCURRENT_STREAMS, limits.concurrentStreams],
      [SettingId.INITIAL_WINDOW_SIZE, limits.streamWindowBytes],
      [SettingId.MAX_HEADER_LIST_SIZE, limits.headerListBytes],
    ]);
    this.receive.open();
  }

  protected override isIdle(id: number): boolean {
    return id % 2 === 0 || id > this.lastPeerStream;
  }

  protected override receiveOpening(id: number, block: HeaderBlock, endStream: boolean): void {
    block.meaning ??= new Request(block);
    const request = block.meaning as Request;
    if (id % 2 === 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'client stream with an even number');
      return;
    }
    if (id <= this.lastPeerStream) {
      this.lateHeaders(id);
      return;
    }
    this.lastPeerStream = id;
    if (this.goawaySent >= 0 && id > this.goawaySent) return; // told not to; the client will go elsewhere
    if (this.streams.size >= this.limits.concurrentStreams) {
      this.refuse(id, ErrorCode.REFUSED_STREAM);
      return;
    }
    if (request.tooLarge) {
      this.owner.headersTooLarge(this);
      if (block.size > BOMB * this.limits.headerListBytes) {
        this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'header list far too large');
        return;
      }
      this.spendResets(RESETS_PER_LARGE_LIST);
      if (this.dead) return;
    }
    if (this.readsTooLittle) {
      this.owner.answersUnread(this, 'its requests are refused');
      this.refuse(id, ErrorCode.ENHANCE_YOUR_CALM);
      return;
    }
    if (this.headerBytes + request.size > this.limits.heldHeaderBytes) {
      this.refuse(id, ErrorCode.ENHANCE_YOUR_CALM);
      return;
    }
    if (request.malformed) {
      this.refuse(id, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (endStream && request.contentLength > 0) {
      this.refuse(id, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    this.idleSinceMs = 0;
    if (!this.hasAsked) {
      this.hasAsked = true;
      this.socket.asked();
    }
    this.owner.request(this, id, request, endStream);
    if (this.streams.size === 0) this.idleSinceMs = this.host.coarseMs;
  }

  /** An answer's queue grew by so many bytes, or shrank. */
  override queuedMore(bytes: number): void {
    if (bytes < 0 || this.queuedBytes === 0) this.takenMs = this.host.clock.nowMs();
    this.queuedBytes += bytes;
    this.host.queuedBytes += bytes;
    if (bytes > 0 && this.host.queuedBytes > this.limits.queuedBytesOfAll) this.owner.tooMuchUnread(this);
  }

  override get isCongested(): boolean {
    const share = this.queuedBytes > 0 ? CONGESTED_SHARE_OF_ONE : CONGESTED_SHARE_OF_ALL;
    return this.host.queuedBytes > this.limits.queuedBytesOfAll * share;
  }

  /** How much memory it takes by not reading, and for how long it has; 0 where it leaves nothing unread. */
  unread(nowMs: number): number {
    return this.dead ? 0 : this.queuedBytes * (nowMs - this.takenMs + 1);
  }

  /** Sends the client away for what it leaves unread. */
  expel(): void {
    this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'answers left unread');
  }

  /**
   * Who leaves more answers unread than there is room left for everybody's gets no further ones (dynamic thresholds, as
   * switches share their buffers); who leaves none unread is always served.
   */
  override get readsTooLittle(): boolean {
    return this.queuedBytes > Math.max(0, this.limits.queuedBytesOfAll - this.host.queuedBytes);
  }

  private lateHeaders(id: number): void {
    const memory = this.recollect(id);
    if (memory < 0) return; // reset by us; the block was decoded for the table's sake
    if (memory > 0) this.fail(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream');
    else this.fail(ErrorCode.PROTOCOL_ERROR, 'stream numbers must grow');
  }

  protected override receiveFurtherHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    // A second block can only be trailers, which end the stream (RFC 9113 §8.1).
    const bad = block.tooLarge || !areTrailers(block.fields);
    if (!endStream || bad) {
      if (stream.state === StreamState.CLOSED) stream.state = StreamState.HALF_CLOSED_LOCAL;
      this.resetStream(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.receiveTrailers(block);
  }

  /** The ping policy of grpc-go: a ping after data of ours is free, one too early is a strike. */
  protected override receivePing(provoked: boolean): void {
    const nowMs = this.host.clock.nowMs();
    const sinceMs = nowMs - this.lastPingMs;
    this.lastPingMs = nowMs;
    if (provoked) {
      this.pingStrikes = 0;
      return;
    }
    const { pingMinMs, pingWithoutStreams, pingStrikes } = this.limits;
    const minimumMs = this.streams.size === 0 && !pingWithoutStreams ? IDLE_PING_MS : pingMinMs;
    if (sinceMs >= minimumMs) return;
    this.pingStrikes++;
    if (this.pingStrikes > pingStrikes) this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too_many_pings');
  }

  protected override receivePong(payload: Buffer, start: number): void {
    this.pingSentMs = 0;
    if (this.draining && readU32(payload, start + 4) === DRAIN_PING) this.finishDrain();
  }

  protected override receiveGoaway(): void {}

  protected override settingsChanged(): void {}

  protected override streamRemoved(): void {
    if (this.streams.size > 0) return;
    this.idleSinceMs = this.host.coarseMs;
    if (this.drainAnnounced) this.endSocket();
  }

  /**
   * Graceful end (RFC 9113 §6.8): first a GOAWAY that refuses nothing, and a ping; what the client sent before it read
   * the GOAWAY arrives before the ping's answer. Then the GOAWAY that names the last stream served.
   */
  drain(): void {
    if (this.draining || this.dead) return;
    this.draining = true;
    this.drainingSinceMs = this.host.clock.nowMs();
    this.writeGoaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, '');
    this.writePing(DRAIN_PING);
  }

  private finishDrain(): void {
    if (this.drainAnnounced) return;
    this.drainAnnounced = true;
    this.writeGoaway(this.lastPeerStream, ErrorCode.NO_ERROR, '');
    if (this.streams.size === 0) this.endSocket();
  }

  override sweep(nowMs: number): void {
    super.sweep(nowMs);
    if (this.dead) return;
    this.sweepUnread(nowMs);
    const { idleMs, keepaliveMs, keepaliveTimeoutMs } = this.limits;
    if (this.pingSentMs > 0) {
      if (nowMs - this.pingSentMs > keepaliveTimeoutMs) this.socket.destroy(new Error('keepalive ping timed out'));
    } else if (keepaliveMs > 0 && nowMs - this.lastReadMs > keepaliveMs) {
      this.pingSentMs = nowMs;
      this.writePing(KEEPALIVE_PING);
    }
    if (this.draining) {
      if (nowMs - this.drainingSinceMs > DRAIN_PING_MS) this.finishDrain();
    } else if (idleMs > 0 && this.idleSinceMs > 0 && nowMs - this.idleSinceMs > idleMs) this.drain();
  }

  private sweepUnread(nowMs: number): void {
    const { unreadMs } = this.limits;
    const isShut = (this.queuedBytes > 0 && nowMs - this.takenMs > unreadMs) || this.isAwaited(nowMs - unreadMs);
    const isStuck = this.writeBlockedSinceMs > 0 && nowMs - this.writeBlockedSinceMs > unreadMs;
    if (isShut || isStuck) {
      if (!this.unreadTold) this.owner.answersUnread(this, isShut ? 'its window is shut' : 'its socket takes nothing');
      this.unreadTold = true;
    } else this.unreadTold = false;
  }

  /** Whether an answer has waited for the client's window, unmade, since before this moment. */
  private isAwaited(sinceMs: number): boolean {
    for (const stream of this.streams.values()) {
      if (stream.awaitsWindow && stream.blockedSinceMs > 0 && stream.blockedSinceMs < sinceMs) return true;
    }
    return false;
  }

  protected override failing(code: ErrorCode, debug: string): void {
    this.owner.connectionFailed(this, code, debug);
  }

  protected override lost(error: Error | null): void {
    this.owner.connectionLost(this, error);
  }
}

/** No pseudo fields, nothing malformed, nothing that belongs to a connection of HTTP/1.1 (RFC 9113 §8.1, §8.2). */
function areTrailers(fields: readonly Field[]): boolean {
  for (const { name, kind } of fields) {
    if (name.startsWith(':') || kind === FieldKind.MALFORMED || kind === FieldKind.CONNECTION_SPECIFIC) return false;
  }
  return true;
}
