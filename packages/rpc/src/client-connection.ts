import { EMPTY } from '@etsd/base';
import type { Socket } from '@etsd/runtime';
import { ClientCall } from './client-call.ts';
import { formatTimeout } from './grpc/deadline.ts';
import type { Metadata } from './grpc/metadata.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import { fieldBound } from './hpack/encoder.ts';
import { Connection } from './http2/connection.ts';
import type { ConnectionHost } from './http2/connection-host.ts';
import { ErrorCode } from './http2/errors.ts';
import {
  CLIENT_PREFACE,
  Flag,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES,
  FrameType,
  writeFrameHeader,
} from './http2/frame.ts';
import { SettingId } from './http2/settings.ts';
import type { Stream } from './http2/stream.ts';

/** What a connection needs of the channel it belongs to. */
export interface ClientConnectionOwner {
  /** The server's first SETTINGS are there, or it allows more streams than before, or a stream ended. */
  roomForCalls(connection: ClientConnection): void;
  /** The server will take no more calls on this connection. */
  goingAway(connection: ClientConnection, code: number, debug: string): void;
  /** A call the server did not begin to work on. */
  repeat(call: ClientCall): void;
  connectionLost(connection: ClientConnection, error: Error | null): void;
}

/** A request's header block as it is sent while the encoder's table stays as it is. */
class PreparedBlock {
  readonly bytes: Buffer;
  readonly generation: number;
  readonly metadata: Metadata | null;

  constructor(bytes: Buffer, generation: number, metadata: Metadata | null) {
    this.bytes = bytes;
    this.generation = generation;
    this.metadata = metadata;
  }
}

/** Streams assumed to be allowed until the server says how many are. */
const STREAMS_BEFORE_SETTINGS = 100;
/** Bound of an encoded `grpc-timeout` field. */
const TIMEOUT_FIELD_BYTES = 64;
const LAST_STREAM_ID = 0x7fff_fffd;

/** The client's side of a connection. */
export class ClientConnection extends Connection {
  protected readonly peerIsServer = true;
  private readonly owner: ClientConnectionOwner;
  private readonly authority: string;
  private readonly userAgent: string;
  private nextStream = 1;
  private readonly prepared = new Map<string, PreparedBlock>();
  /** Our own ping without an answer was sent then; 0 without one. */
  pingSentMs = 0;

  constructor(
    host: ConnectionHost,
    socket: Socket,
    owner: ClientConnectionOwner,
    authority: string,
    userAgent: string,
  ) {
    super(host, socket);
    this.owner = owner;
    this.authority = authority;
    this.userAgent = userAgent;
    this.out.reserve(CLIENT_PREFACE.length);
    this.out.offset += CLIENT_PREFACE.copy(this.out.buffer, this.out.offset);
    this.writeSettings([
      [SettingId.ENABLE_PUSH, 0],
      [SettingId.INITIAL_WINDOW_SIZE, this.limits.streamWindowBytes],
      [SettingId.MAX_HEADER_LIST_SIZE, this.limits.headerListBytes],
    ]);
    this.receive.open();
  }

  /** Whether one more call can be started here now. */
  get hasRoom(): boolean {
    const allowed = this.settingsReceived ? this.peer.maxConcurrentStreams : STREAMS_BEFORE_SETTINGS;
    return !this.dead && !this.goawayReceived && this.nextStream <= LAST_STREAM_ID && this.streams.size < allowed;
  }

  /** Whether the stream numbers are used up, so that a new connection is needed. */
  get isExhausted(): boolean {
    return this.nextStream > LAST_STREAM_ID;
  }

  /** The field of the last call's deadline: most calls get the same. It is never in the table, so always the same bytes. */
  private timeoutText = '';
  private timeout: Buffer = EMPTY;

  startCall(call: ClientCall): void {
    const id = this.nextStream;
    this.nextStream += 2;
    call.assign(this, id);
  }

  // ── request headers ───────────────────────────────────────────────────────────────────────────────────────────────

  writeCallHeaders(call: ClientCall): void {
    let block = this.prepared.get(call.path);
    if (block === undefined || block.generation !== this.encoder.generation || block.metadata !== call.metadata) {
      block = this.prepare(call);
    }
    const { out } = this;
    const bound = block.bytes.length + TIMEOUT_FIELD_BYTES;
    if (bound > FRAME_PAYLOAD_BYTES) {
      const whole = Buffer.allocUnsafe(bound);
      block.bytes.copy(whole);
      this.writeBlock(call.id, whole, this.appendTimeout(call, whole, block.bytes.length), false);
      return;
    }
    out.reserve(FRAME_HEADER_BYTES + bound);
    const start = out.offset;
    let at = start + FRAME_HEADER_BYTES;
    at += block.bytes.copy(out.buffer, at);
    if (call.deadlineMs >= 0) at = this.appendTimeout(call, out.buffer, at);
    const length = at - start - FRAME_HEADER_BYTES;
    writeFrameHeader(out.buffer, start, length, FrameType.HEADERS, Flag.END_HEADERS, call.id);
    out.offset = at;
  }

  private appendTimeout(call: ClientCall, target: Buffer, offset: number): number {
    if (call.deadlineMs < 0) return offset;
    const text = formatTimeout(call.deadlineMs - this.host.clock.nowMs());
    const known = this.timeout;
    if (text === this.timeoutText) return offset + known.copy(target, offset);
    const end = this.encoder.field(target, offset, 'grpc-timeout', text, false);
    this.timeoutText = text;
    this.timeout = Buffer.from(target.subarray(offset, end));
    return end;
  }

  /**
   * Encodes a block and remembers it. The first one of its kind puts its fields into the table; as that changes what a
   * repetition looks like, the second one is what can be remembered for good.
   */
  private prepare(call: ClientCall): PreparedBlock {
    const entries = call.metadata?.entries ?? [];
    let bound = 512 + call.path.length + this.authority.length + this.userAgent.length;
    for (let i = 0; i < entries.length; i += 2) bound += fieldBound(entries[i] as string, entries[i + 1] as string);
    const buffer = Buffer.allocUnsafe(bound);
    const { encoder } = this;
    let at = encoder.begin(buffer, 0);
    at = encoder.field(buffer, at, ':method', 'POST', false);
    at = encoder.field(buffer, at, ':scheme', this.socket.encrypted ? 'https' : 'http', false);
    at = encoder.field(buffer, at, ':path', call.path, true);
    at = encoder.field(buffer, at, ':authority', this.authority, true);
    at = encoder.field(buffer, at, 'content-type', 'application/grpc', true);
    at = encoder.field(buffer, at, 'user-agent', this.userAgent, true);
    at = encoder.field(buffer, at, 'te', 'trailers', true);
    at = encoder.field(buffer, at, 'grpc-accept-encoding', 'gzip', true);
    for (let i = 0; i < entries.length; i += 2) {
      at = encoder.field(buffer, at, entries[i] as string, entries[i + 1] as string, i < 16);
    }
    const block = new PreparedBlock(buffer.subarray(0, at), encoder.generation, call.metadata);
    const repeatable = !this.lastBlockChangedTable(encoder.generation);
    if (repeatable) this.prepared.set(call.path, block);
    return block;
  }

  private lastGeneration = -1;
  private lastBlockChangedTable(generation: number): boolean {
    const changed = generation !== this.lastGeneration;
    this.lastGeneration = generation;
    return changed;
  }

  // ── events of the connection ──────────────────────────────────────────────────────────────────────────────────────

  protected override isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.nextStream;
  }

  protected override receiveOpening(id: number): void {
    if (this.isIdle(id)) this.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream we did not open');
    else if (this.recollect(id) > 0) this.fail(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream');
  }

  protected override receiveFurtherHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    (stream as ClientCall).receiveBlock(block, endStream);
  }

  protected override receivePing(): void {}

  protected override receivePong(): void {
    this.pingSentMs = 0;
  }

  protected override receiveGoaway(lastStream: number, code: number, debug: string): void {
    const unserved: ClientCall[] = [];
    for (const stream of this.streams.values()) {
      if (stream.id > lastStream && stream instanceof ClientCall) unserved.push(stream);
    }
    this.owner.goingAway(this, code, debug);
    for (const call of unserved) {
      this.removeStream(call);
      if (call.isRepeatable) this.owner.repeat(call);
      else call.abandonUnserved();
    }
    if (this.streams.size === 0) this.endSocket();
  }

  protected override settingsChanged(): void {
    this.owner.roomForCalls(this);
  }

  protected override streamRemoved(): void {
    if (this.goawayReceived && this.streams.size === 0) this.endSocket();
    else this.owner.roomForCalls(this);
  }

  protected override failing(): void {}

  protected override lost(error: Error | null): void {
    this.owner.connectionLost(this, error);
  }
}
