import type { Socket } from '@etsd/runtime';
import type { HeaderBlock } from './hpack/decoder.ts';
import { Connection, type ConnectionHost } from './http2/connection.ts';
import { ErrorCode } from './http2/errors.ts';
import { SettingId } from './http2/settings.ts';
import { type Stream, StreamState } from './http2/stream.ts';
import { Request } from './request.ts';

/** What a connection needs of the server it belongs to. */
export interface ServerConnectionOwner {
  /** A request came whose headers are well-formed. Whoever serves it adds a stream to the connection. */
  request(connection: ServerConnection, id: number, request: Request, endStream: boolean): void;
  connectionFailed(connection: ServerConnection, code: ErrorCode, debug: string): void;
  connectionLost(connection: ServerConnection, error: Error | null): void;
}

/** The server's side of a connection. */
export class ServerConnection extends Connection {
  protected readonly peerIsServer = false;
  private readonly owner: ServerConnectionOwner;
  /** When the last ping that was not provoked by our data came, for the ping policy; 0 resets it. */
  lastPingMs = 0;
  pingStrikes = 0;
  /** When our own ping went out unanswered, 0 otherwise. */
  pingSentMs = 0;
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
    this.openConnectionWindow();
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
    if (this.goawaySent >= 0 && id > this.goawaySent) return; // told not to; the client will go elsewhere
    this.lastPeerStream = id;
    if (this.streams.size >= this.limits.concurrentStreams) {
      this.refuse(id, ErrorCode.REFUSED_STREAM);
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
    this.owner.request(this, id, request, endStream);
  }

  private lateHeaders(id: number): void {
    const memory = this.recollect(id);
    if (memory < 0) return; // reset by us; the block was decoded for the table's sake
    if (memory > 0) this.fail(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream');
    else this.fail(ErrorCode.PROTOCOL_ERROR, 'stream numbers must grow');
  }

  protected override receiveFurtherHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    // A second block can only be trailers, which end the stream and have no pseudo fields (RFC 9113 §8.1).
    const bad = block.tooLarge || block.fields.some((field) => field.name.startsWith(':'));
    if (!endStream || bad) {
      if (stream.state === StreamState.CLOSED) stream.state = StreamState.HALF_CLOSED_LOCAL;
      this.resetStream(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.receiveTrailers(block);
  }

  protected override receivePing(): void {}

  protected override receivePong(): void {
    this.pingSentMs = 0;
  }

  protected override receiveGoaway(): void {}

  protected override settingsChanged(): void {}

  protected override streamRemoved(): void {
    if (this.streams.size === 0) this.idleSinceMs = this.host.clock.nowMs();
  }

  protected override failing(code: ErrorCode, debug: string): void {
    this.owner.connectionFailed(this, code, debug);
  }

  protected override lost(error: Error | null): void {
    this.owner.connectionLost(this, error);
  }
}
