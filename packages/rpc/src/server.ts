import { assert, type Logger, silentLogger } from '@etsd/base';
import type { Listener, ListenOptions, Socket, SocketAddress, Timer } from '@etsd/runtime';
import { AddressCounter } from './address-counter.ts';
import { DeadlineWheel } from './deadline-wheel.ts';
import { encodeStatusMessage, StatusCode } from './grpc/status.ts';
import { fieldBound } from './hpack/encoder.ts';
import { HttpExchange, type HttpHandler } from './http-exchange.ts';
import { ConnectionHost } from './http2/connection-host.ts';
import { ErrorCode, errorCodeName } from './http2/errors.ts';
import { Flag, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './http2/frame.ts';
import { type PrefaceListener, PrefaceSniffer } from './http2/preface.ts';
import { completeLimits, type RpcLimits } from './limits.ts';
import { type CallerCount, CallersByHeader, MethodFigures } from './method-figures.ts';
import { Encoding, type Request } from './request.ts';
import { type MethodHandler, ServerCall } from './server-call.ts';
import { ServerConnection, type ServerConnectionOwner } from './server-connection.ts';
import type { RpcWorld } from './world.ts';

export interface RpcServerOptions {
  readonly limits?: Partial<RpcLimits>;
  readonly logger?: Logger;
  /** Told of connections that were refused or ended over what the other side did. `kind`: a word for the metrics. */
  readonly onMisuse?: (kind: string, peer: string, reason: string) => void;
  /** Times every call, instead of one in many. */
  readonly timesAll?: boolean;
  /** A header, in lower case, by whose value calls are counted. */
  readonly countedHeader?: string;
  /** Whether a method is counted among the streams, though its client may send one message only; default: by its handler. */
  readonly isStream?: (path: string) => boolean;
}

/** Where the calls of one header block go. */
class Route {
  readonly handler: MethodHandler;
  readonly figures: MethodFigures;
  readonly callers: CallerCount;

  constructor(handler: MethodHandler, figures: MethodFigures, callers: CallerCount) {
    this.handler = handler;
    this.figures = figures;
    this.callers = callers;
  }
}

/** How a call that never reaches a handler is answered. */
interface Refusal {
  readonly httpStatus: string;
  readonly code: number;
  readonly message: string;
}

/** Connections of one address that are worth a line of the log. */
const MANY_CONNECTIONS = 250;

/** A gRPC server that also hands plain HTTP of either version to whoever wants it. */
export class RpcServer implements ServerConnectionOwner, PrefaceListener {
  readonly limits: RpcLimits;
  private readonly world: RpcWorld;
  /** Connections by address; whoever takes one over counts it here, too. */
  readonly addresses: AddressCounter;
  private readonly logger: Logger;
  private readonly misused: (kind: string, peer: string, reason: string) => void;
  private readonly host: ConnectionHost;
  private readonly handlers = new Map<string, MethodHandler>();
  /** By path, in the order of their registration. */
  readonly figures = new Map<string, MethodFigures>();
  readonly callers: CallersByHeader;
  private readonly timesAll: boolean;
  private readonly isStream: (path: string) => boolean;
  private readonly services = new Set<string>();
  private readonly connections = new Set<ServerConnection>();
  private readonly sniffers = new Set<PrefaceSniffer>();
  private readonly listeners: Listener[] = [];
  private readonly wheel: DeadlineWheel;
  private sweeper: Timer | null = null;
  /** Called when the last connection is gone, while a drain waits for that. */
  private onEmpty: (() => void) | null = null;
  private httpHandler: HttpHandler | null = null;
  private http1: ((socket: Socket, firstBytes: Buffer) => void) | null = null;

  constructor(world: RpcWorld, options: RpcServerOptions = {}) {
    this.world = world;
    this.limits = completeLimits(options.limits);
    this.logger = options.logger ?? silentLogger;
    this.misused = options.onMisuse ?? (() => {});
    this.timesAll = options.timesAll ?? false;
    this.isStream = options.isStream ?? ((path) => this.handlers.get(path)?.kind === 'stream');
    this.callers = new CallersByHeader(options.countedHeader ?? '');
    this.addresses = new AddressCounter(this.limits.connectionsPerAddress);
    this.host = new ConnectionHost(world.clock, world.timers, this.limits);
    this.wheel = new DeadlineWheel(world.clock, world.timers);
  }

  /** Serves a method, by its full path (`/package.Service/Method`). */
  handle(path: string, handler: MethodHandler): void {
    assert(!this.handlers.has(path), `one handler per method: ${path}`);
    this.handlers.set(path, handler);
    this.figures.set(path, new MethodFigures(path, this.timesAll));
    this.services.add(path.slice(1, path.lastIndexOf('/')));
  }

  /**
   * Connections that do not begin with the HTTP/2 preface; without this they are closed. They stay counted among their
   * address's: whoever takes one says `addresses.leave` when it is gone.
   */
  onHttp1(handOver: (socket: Socket, firstBytes: Buffer) => void): void {
    this.http1 = handOver;
  }

  /** Requests over HTTP/2 whose content type is not gRPC's; without this they get 415. */
  handleHttp(handler: HttpHandler): void {
    this.httpHandler = handler;
  }

  async listen(address: SocketAddress, options: ListenOptions = {}): Promise<Listener> {
    const listener = await this.world.network.listen(address, options, (socket) => this.accept(socket));
    this.listeners.push(listener);
    return listener;
  }

  /** Closes this listener, too, when the server ends; its sockets come through `accept`. */
  adopt(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** Takes an open connection, from a listener of this server or from elsewhere. */
  accept(socket: Socket): void {
    const sniffer = new PrefaceSniffer(socket, this.world.clock.nowMs(), this);
    const isFull = this.connections.size + this.sniffers.size >= this.limits.connections;
    if (isFull || !this.addresses.enter(socket.remoteAddress)) {
      const kind = isFull ? 'connections' : 'connections_per_address';
      this.misused(kind, socket.remoteAddress, 'too many connections');
      socket.start(sniffer);
      socket.destroy();
      return;
    }
    this.tellMany(socket.remoteAddress);
    this.sniffers.add(sniffer);
    socket.start(sniffer);
    this.sweeper ??= this.world.timers.every(sweepStepMs(this.limits), () => this.sweep(), { ref: false });
  }

  /** Says who has many connections: at a thousand, at two thousand, at four … */
  private tellMany(peer: string): void {
    const connections = this.addresses.of(peer);
    if (connections < MANY_CONNECTIONS || !Number.isInteger(Math.log2(connections / MANY_CONNECTIONS))) return;
    this.logger.log('warn', 'an address has many connections', { peer, connections });
  }

  /** Bytes read from and written to the sockets of HTTP/2 connections since the start. */
  get bytesRead(): number {
    return this.host.bytesRead;
  }

  get bytesWritten(): number {
    return this.host.bytesWritten;
  }

  /** Streams open now on all connections. */
  get streamCount(): number {
    let count = 0;
    for (const connection of this.connections) count += connection.streams.size;
    return count;
  }

  /** Connections open now, those that have not yet shown what they speak included. */
  get connectionCount(): number {
    return this.connections.size + this.sniffers.size;
  }

  private sweep(): void {
    const nowMs = this.world.clock.nowMs();
    this.host.coarseMs = nowMs;
    for (const sniffer of this.sniffers) {
      if (nowMs - sniffer.sinceMs <= this.limits.prefaceMs) continue;
      this.misused('preface_timeout', sniffer.socket.remoteAddress, 'no complete preface in time');
      sniffer.socket.destroy();
    }
    for (const connection of this.connections) connection.sweep(nowMs);
    if (this.connectionCount > 0) return;
    this.sweeper?.cancel();
    this.sweeper = null;
  }

  /** Writes now what all connections have gathered, instead of at the end of the turn. */
  flush(): void {
    this.host.flush();
  }

  /**
   * Ends gracefully: accepts nothing new, tells the clients to go elsewhere, lets running calls finish for
   * `limits.drainMs`. Resolves when the last connection is gone.
   */
  async drain(): Promise<void> {
    const closing = this.listeners.map((listener) => listener.close());
    for (const sniffer of this.sniffers) sniffer.socket.destroy();
    for (const connection of this.connections) connection.drain();
    await Promise.all(closing);
    if (this.connectionCount === 0) return;
    await new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    const closing = this.listeners.map((listener) => listener.close());
    for (const sniffer of this.sniffers) sniffer.socket.destroy();
    for (const connection of this.connections) connection.socket.destroy();
    this.sweeper?.cancel();
    this.sweeper = null;
    await Promise.all(closing);
  }

  private connectionGone(): void {
    if (this.connectionCount === 0) this.onEmpty?.();
  }

  // ── connections ───────────────────────────────────────────────────────────────────────────────────────────────────

  http2(sniffer: PrefaceSniffer, rest: Buffer): void {
    this.sniffers.delete(sniffer);
    sniffer.socket.commitToFastReads();
    const connection = new ServerConnection(this.host, sniffer.socket, this);
    this.connections.add(connection);
    sniffer.handOver(connection);
    if (rest.length > 0) connection.data(rest, 0, rest.length);
  }

  other(sniffer: PrefaceSniffer, firstBytes: Buffer): void {
    this.sniffers.delete(sniffer);
    if (this.http1 === null) {
      this.addresses.leave(sniffer.socket.remoteAddress);
      sniffer.socket.destroy();
    } else this.http1(sniffer.socket, firstBytes);
  }

  gone(sniffer: PrefaceSniffer): void {
    // What was refused at the door was never counted.
    if (this.sniffers.delete(sniffer)) this.addresses.leave(sniffer.socket.remoteAddress);
    this.connectionGone();
  }

  connectionFailed(connection: ServerConnection, code: ErrorCode, debug: string): void {
    const peer = connection.socket.remoteAddress;
    if (code !== ErrorCode.NO_ERROR) this.misused(`http2_${errorCodeName(code).toLowerCase()}`, peer, debug);
    if (!this.logger.enabled('debug')) return;
    this.logger.log('debug', 'closing connection', { peer, code: errorCodeName(code), reason: debug });
  }

  connectionLost(connection: ServerConnection, _error: Error | null): void {
    this.connections.delete(connection);
    this.addresses.leave(connection.socket.remoteAddress);
    this.connectionGone();
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────

  request(connection: ServerConnection, id: number, request: Request, endStream: boolean): void {
    if (!request.isCall) {
      if (this.httpHandler !== null && !request.isGrpc && !request.tooLarge) {
        this.httpRequest(this.httpHandler, connection, id, request, endStream);
      } else this.refuse(connection, id, endStream, this.refusal(request));
      return;
    }
    const route = (request.route ?? this.routeOf(request)) as Route | null;
    if (route === null) {
      this.refuse(connection, id, endStream, this.refusal(request));
      return;
    }
    const { handler } = route;
    route.callers.calls++;
    const call = new ServerCall(connection, id, request, handler, route.figures, this.wheel);
    connection.addStream(call);
    if (request.timeoutMs >= 0) this.wheel.add(call, request.timeoutMs);
    if (handler.kind === 'stream') handler.opened?.(call);
    else if (!endStream) call.inputSinceMs = this.host.coarseMs;
    if (endStream) this.endedWithHeaders(connection, call);
  }

  /** Looked up once for each header block. */
  private routeOf(request: Request): Route | null {
    const handler = this.handlers.get(request.path);
    if (handler === undefined) return null;
    const callers = this.callers.of(
      this.isStream(request.path) ? 'stream' : 'unary',
      request.header(this.callers.name),
    );
    const route = new Route(handler, this.figures.get(request.path) as MethodFigures, callers);
    request.route = route;
    return route;
  }

  headersTooLarge(connection: ServerConnection): void {
    this.misused('http2_header_list', connection.socket.remoteAddress, 'header list too large');
  }

  answersUnread(connection: ServerConnection, what: string): void {
    this.misused('answers_unread', connection.socket.remoteAddress, `reads no answers: ${what}`);
  }

  /** Sends away whoever takes the most memory for the longest by not reading, until there is room. */
  tooMuchUnread(growing: ServerConnection): void {
    const nowMs = this.world.clock.nowMs();
    while (this.host.queuedBytes > this.limits.queuedBytesOfAll) {
      let worst: ServerConnection = growing;
      for (const connection of this.connections) {
        if (connection.unread(nowMs) > worst.unread(nowMs)) worst = connection;
      }
      if (worst === growing) {
        // Somebody is writing to it just now.
        this.world.timers.soon(() => growing.expel());
        return;
      }
      worst.expel();
    }
  }

  private httpRequest(
    handler: HttpHandler,
    connection: ServerConnection,
    id: number,
    request: Request,
    endStream: boolean,
  ): void {
    const exchange = new HttpExchange(connection, id, request);
    connection.addStream(exchange);
    if (!endStream) exchange.inputSinceMs = this.host.coarseMs;
    handler.request(exchange);
    if (!endStream) return;
    connection.inputEnded(exchange);
    exchange.inputEnded();
  }

  private endedWithHeaders(connection: ServerConnection, call: ServerCall): void {
    connection.inputEnded(call);
    call.inputEnded();
  }

  /** What is wrong with a request that no handler will see, in grpc-go's order, codes and words. */
  private refusal(request: Request): Refusal {
    if (request.tooLarge) {
      return { httpStatus: '431', code: StatusCode.RESOURCE_EXHAUSTED, message: 'header list too large' };
    }
    if (!request.isGrpc) {
      const message = `invalid gRPC request content-type "${request.contentType ?? ''}"`;
      return { httpStatus: '415', code: StatusCode.INVALID_ARGUMENT, message };
    }
    if (request.method !== 'POST') {
      const message = `Received a HEADERS frame with :method "${request.method}" which should be POST`;
      return { httpStatus: '405', code: StatusCode.INTERNAL, message };
    }
    if (request.timeoutMs === -2) {
      const message = `malformed grpc-timeout: ${timeoutFault(request.timeoutText)}`;
      return { httpStatus: '400', code: StatusCode.INTERNAL, message };
    }
    if (request.badBinary !== null) {
      const { name, value } = request.badBinary;
      const message = `malformed binary metadata "${value}" in header "${name}": illegal base64 data`;
      return { httpStatus: '400', code: StatusCode.INTERNAL, message };
    }
    const message = this.unimplemented(request);
    if (message === '') {
      return { httpStatus: '200', code: StatusCode.DEADLINE_EXCEEDED, message: 'context deadline exceeded' };
    }
    return { httpStatus: '200', code: StatusCode.UNIMPLEMENTED, message };
  }

  /** What of the call we do not have; '' if nothing is missing. */
  private unimplemented(request: Request): string {
    const { path } = request;
    const slash = path.lastIndexOf('/');
    if (slash === 0) return `malformed method name: "${path}"`;
    const service = path.slice(1, slash);
    if (!this.services.has(service)) return `unknown service ${service}`;
    if (!this.handlers.has(request.path)) {
      return `unknown method ${request.path.slice(slash + 1)} for service ${service}`;
    }
    if (request.encoding !== Encoding.UNKNOWN) return '';
    return `grpc: Decompressor is not installed for grpc-encoding "${request.encodingName}"`;
  }

  /** A response of one header block, without a stream object. */
  private refuse(connection: ServerConnection, id: number, endStream: boolean, refusal: Refusal): void {
    const { out, encoder } = connection;
    const message = encodeStatusMessage(refusal.message).slice(0, 8192);
    out.reserve(256 + fieldBound('grpc-message', message));
    const start = out.offset;
    let at = encoder.begin(out.buffer, start + FRAME_HEADER_BYTES);
    at = encoder.field(out.buffer, at, ':status', refusal.httpStatus, false);
    at = encoder.field(out.buffer, at, 'content-type', 'application/grpc', false);
    at = encoder.field(out.buffer, at, 'grpc-status', String(refusal.code), false);
    at = encoder.field(out.buffer, at, 'grpc-message', message, false);
    const length = at - start - FRAME_HEADER_BYTES;
    writeFrameHeader(out.buffer, start, length, FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, id);
    out.offset = at;
    connection.touch();
    connection.answered(id, endStream);
  }
}

/** What is wrong with a `grpc-timeout`, in grpc-go's words. */
function timeoutFault(text: string): string {
  if (text.length < 2) return `transport: timeout string is too short: "${text}"`;
  if (text.length > 9) return `transport: timeout string is too long: "${text}"`;
  if (!/[HMSmun]$/.test(text)) return `transport: timeout unit is not recognized: "${text}"`;
  return `strconv.ParseInt: parsing "${text.slice(0, -1)}": invalid syntax`;
}

/** Often enough for the shortest of the time limits to be met within a quarter of it. */
function sweepStepMs(limits: RpcLimits): number {
  const waits = [
    limits.prefaceMs,
    limits.settingsAckMs,
    limits.frameMs,
    limits.headerBlockMs,
    limits.writeStallMs,
    limits.windowStallMs,
    limits.requestMs,
    limits.idleMs,
    limits.drainMs,
    limits.keepaliveMs,
    limits.keepaliveTimeoutMs,
  ].filter((ms) => ms > 0);
  return Math.max(10, Math.min(1000, Math.min(...waits) / 4));
}
