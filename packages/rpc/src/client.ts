import { assert, RingQueue } from '@etsd/base';
import type { DialOptions, Socket, SocketAddress, SocketReceiver, Timer } from '@etsd/runtime';
import { type CallOwner, type CallReceiver, ClientCall } from './client-call.ts';
import { ClientConnection, type ClientConnectionOwner } from './client-connection.ts';
import { DeadlineWheel } from './deadline-wheel.ts';
import type { Metadata } from './grpc/metadata.ts';
import { RpcError, StatusCode } from './grpc/status.ts';
import type { Field } from './hpack/table.ts';
import type { Connection } from './http2/connection.ts';
import { ConnectionHost } from './http2/connection-host.ts';
import { ErrorCode } from './http2/errors.ts';
import { completeLimits, type RpcLimits } from './limits.ts';
import type { RpcWorld } from './world.ts';

export const ChannelState = { IDLE: 0, CONNECTING: 1, READY: 2, FAILING: 3, CLOSED: 4 } as const;
export type ChannelState = (typeof ChannelState)[keyof typeof ChannelState];

export interface ChannelOptions {
  readonly dial?: DialOptions;
  /** `:authority` of the calls; default host and port. */
  readonly authority?: string;
  readonly userAgent?: string;
  readonly limits?: Partial<RpcLimits>;
  /** Pause after the first failed attempt to connect (grpc: 1 s), growing by 1.6 up to `backoffMaxMs` (grpc: 120 s). */
  readonly backoffMs?: number;
  readonly backoffMaxMs?: number;
  /** Silence after which the server is pinged while calls run; 0: never. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
  /** Ping also while there are no calls. */
  readonly keepaliveWithoutCalls?: boolean;
  /** Told of every change of the channel's state. */
  readonly onState?: (state: ChannelState) => void;
}

export interface StartOptions {
  readonly metadata?: Metadata | null;
  /** The call ends with DEADLINE_EXCEEDED after this long. */
  readonly timeoutMs?: number;
  /** Wait through failed attempts to connect. */
  readonly waitForReady?: boolean;
}

export interface UnaryOptions extends StartOptions {
  readonly signal?: AbortSignal;
}

const BACKOFF_FACTOR = 1.6;
const BACKOFF_JITTER = 0.2;
const NO_OPTIONS: StartOptions = {};

/** Calls to one server over one connection, which is made when it is needed and made again when it is lost. */
export class GrpcChannel implements CallOwner, ClientConnectionOwner {
  readonly address: SocketAddress;
  state: ChannelState = ChannelState.IDLE;
  private readonly world: RpcWorld;
  private readonly options: ChannelOptions;
  private readonly limits: RpcLimits;
  private readonly host: ConnectionHost;
  private readonly wheel: DeadlineWheel;
  private readonly authority: string;
  /** Stands in for the connection of calls that have none yet. */
  private readonly unassigned: Connection;
  /** The connection new calls go to; null while there is none. */
  private connection: ClientConnection | null = null;
  /** Every connection alive, those being drained too. */
  private readonly connections = new Set<ClientConnection>();
  private dialing: Socket | null = null;
  private readonly waiting = new RingQueue<ClientCall>();
  private failures = 0;
  private backoff: Timer | null = null;
  private sweeper: Timer | null = null;
  private keepaliveMs: number;
  private lastError = '';
  private starting = false;

  constructor(world: RpcWorld, address: SocketAddress, options: ChannelOptions = {}) {
    this.world = world;
    this.address = address;
    this.options = options;
    this.keepaliveMs = options.keepaliveMs ?? 0;
    this.limits = options.limits === undefined ? PLAIN_LIMITS : completeLimits(CLIENT_LIMITS, options.limits);
    this.host = new ConnectionHost(world.clock, world.timers, this.limits);
    this.wheel = new DeadlineWheel(world.clock, world.timers);
    this.authority = options.authority ?? ('path' in address ? 'localhost' : authorityOf(address.host, address.port));
    this.unassigned = { limits: this.limits } as Connection;
  }

  /** One request, one response. Rejects with `RpcError`. */
  unary(path: string, request: Buffer, options: UnaryOptions = NO_OPTIONS): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const receiver = new UnaryReceiver(resolve, reject, options.signal ?? null);
      if (receiver.isAborted) return;
      const call = this.start(path, receiver, options);
      receiver.attach(call);
      call.sendLast(request);
    });
  }

  /** Starts a call of any kind. Nothing is reported to the receiver before this returns. */
  start(path: string, receiver: CallReceiver, options: StartOptions = NO_OPTIONS): ClientCall {
    const timeoutMs = options.timeoutMs ?? -1;
    const call = new ClientCall(
      this,
      {
        path,
        metadata: options.metadata ?? null,
        receiver,
        timeoutMs,
        deadlineMs: timeoutMs < 0 ? -1 : this.world.clock.nowMs() + timeoutMs,
        waitForReady: options.waitForReady ?? false,
      },
      this.unassigned,
    );
    if (timeoutMs >= 0) this.wheel.add(call, timeoutMs);
    this.place(call);
    return call;
  }

  private place(call: ClientCall): void {
    if (this.connection?.hasRoom === true && this.waiting.length === 0) {
      this.connection.startCall(call);
      return;
    }
    if (this.state === ChannelState.CLOSED) {
      this.world.timers.soon(() => call.abandon(StatusCode.CANCELLED, 'grpc: the client connection is closing'));
      return;
    }
    if (this.state === ChannelState.FAILING && !call.waitForReady) {
      const text = `connection error: desc = "${this.lastError}"`;
      this.world.timers.soon(() => call.abandon(StatusCode.UNAVAILABLE, text));
      return;
    }
    this.waiting.push(call);
    this.connect();
  }

  /** Writes now what the calls have gathered, instead of at the end of the turn. */
  flush(): void {
    this.host.flush();
  }

  /** Ends the channel; running calls end with CANCELLED. */
  close(): void {
    if (this.state === ChannelState.CLOSED) return;
    this.backoff?.cancel();
    this.sweeper?.cancel();
    this.setState(ChannelState.CLOSED);
    this.dialing?.destroy();
    this.failWaiting(StatusCode.CANCELLED, 'grpc: the client connection is closing', true);
    for (const connection of this.connections) {
      for (const stream of [...connection.streams.values()]) {
        (stream as ClientCall).abandon(StatusCode.CANCELLED, 'grpc: the client connection is closing');
      }
      connection.flush();
      connection.socket.end();
      connection.socket.destroy();
    }
  }

  // ── connecting ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Connects now if there is no connection; calls do so by themselves. */
  connect(): void {
    if (this.state !== ChannelState.IDLE) return;
    this.setState(ChannelState.CONNECTING);
    const socket = this.world.network.dial(this.address, this.options.dial);
    this.dialing = socket;
    socket.start(new Dialling(this, socket));
  }

  /** The socket being dialled is open. */
  dialled(socket: Socket): SocketReceiver {
    assert(socket === this.dialing, 'one socket is dialled at a time');
    this.dialing = null;
    socket.commitToFastReads();
    const userAgent = this.options.userAgent ?? 'etsd-grpc/0.1';
    const connection = new ClientConnection(this.host, socket, this, this.authority, userAgent);
    this.connection = connection;
    this.connections.add(connection);
    this.startSweeping();
    this.setState(ChannelState.READY);
    this.roomForCalls(connection);
    return connection;
  }

  dialFailed(error: Error | null): void {
    this.dialing = null;
    if (this.state === ChannelState.CLOSED) return;
    this.lastError = error?.message ?? 'connection closed before it stood';
    this.fail();
  }

  private fail(): void {
    this.failures++;
    const first = this.options.backoffMs ?? 1000;
    const limit = this.options.backoffMaxMs ?? 120_000;
    const wait = Math.min(limit, first * BACKOFF_FACTOR ** (this.failures - 1));
    const jitter = 1 + BACKOFF_JITTER * (2 * this.world.random.float() - 1);
    this.setState(ChannelState.FAILING);
    this.failWaiting(StatusCode.UNAVAILABLE, `connection error: desc = "${this.lastError}"`, false);
    this.backoff = this.world.timers.after(wait * jitter, () => {
      this.backoff = null;
      this.setState(ChannelState.IDLE);
      if (this.waiting.length > 0) this.connect();
    });
  }

  private failWaiting(code: number, message: string, all: boolean): void {
    for (let left = this.waiting.length; left > 0; left--) {
      const call = this.waiting.take() as ClientCall;
      if (call.isClosed) continue;
      if (call.waitForReady && !all) this.waiting.push(call);
      else call.abandon(code, message);
    }
  }

  private setState(state: ChannelState): void {
    this.state = state;
    this.options.onState?.(state);
  }

  private startSweeping(): void {
    const interval = this.keepaliveMs;
    const timeout = this.options.keepaliveTimeoutMs ?? 20_000;
    const step = Math.max(10, Math.min(1000, timeout / 4, interval <= 0 ? 1000 : interval / 4));
    this.sweeper ??= this.world.timers.every(step, () => this.sweep(timeout), { ref: false });
  }

  private sweep(timeout: number): void {
    const interval = this.keepaliveMs;
    const now = this.world.clock.nowMs();
    this.host.coarseMs = now;
    if (this.connections.size === 0) {
      this.sweeper?.cancel();
      this.sweeper = null;
    }
    for (const connection of this.connections) {
      connection.sweep(now);
      if (interval <= 0 || connection.dead) continue;
      if (connection.pingSentMs > 0) {
        if (now - connection.pingSentMs >= timeout) connection.socket.destroy(new Error('keepalive ping timed out'));
      } else if (now - connection.lastReadMs >= interval) {
        if (connection.streams.size === 0 && this.options.keepaliveWithoutCalls !== true) continue;
        connection.pingSentMs = now;
        connection.writePing(1);
      }
    }
  }

  // ── what connections and calls report ─────────────────────────────────────────────────────────────────────────────

  roomForCalls(connection: ClientConnection): void {
    if (connection !== this.connection || this.starting) return;
    if (connection.settingsReceived) this.failures = 0;
    this.starting = true;
    while (this.waiting.length > 0 && connection.hasRoom) {
      const call = this.waiting.take() as ClientCall;
      if (!call.isClosed) connection.startCall(call);
    }
    this.starting = false;
    if (connection.isExhausted) this.leave(connection);
  }

  goingAway(connection: ClientConnection, code: number, debug: string): void {
    // We ping more often than this server likes; grpc-go doubles the interval too.
    if (code === ErrorCode.ENHANCE_YOUR_CALM && debug === 'too_many_pings') this.keepaliveMs *= 2;
    this.leave(connection);
  }

  /** New calls go to a new connection from now on. */
  private leave(connection: ClientConnection): void {
    if (connection !== this.connection) return;
    this.connection = null;
    if (this.state === ChannelState.CLOSED) return;
    this.setState(ChannelState.IDLE);
    if (this.waiting.length > 0) this.connect();
  }

  connectionLost(connection: ClientConnection, error: Error | null): void {
    this.connections.delete(connection);
    if (connection !== this.connection) return;
    this.connection = null;
    if (this.state === ChannelState.CLOSED) return;
    this.lastError = error?.message ?? connection.lossReason;
    if (connection.settingsReceived) {
      this.setState(ChannelState.IDLE);
      if (this.waiting.length > 0) this.connect();
    } else this.fail();
  }

  repeat(call: ClientCall): void {
    call.unassign(this.unassigned);
    this.place(call);
  }

  writeCallHeaders(call: ClientCall): void {
    (call.connection as ClientConnection).writeCallHeaders(call);
  }

  callClosed(call: ClientCall): void {
    if (call.timeoutMs >= 0) this.wheel.remove(call);
  }
}

/** What differs for clients: responses may be large, the server decides how long a call may take and what it resets. */
const CLIENT_LIMITS: Partial<RpcLimits> = {
  receiveMessageBytes: 0x7fff_ffff,
  streamWindowBytes: 1_048_576,
  connectionWindowBytes: 16_777_216,
  assemblyBytes: 0x7fff_ffff,
  heldBytes: 0xffff_ffff,
  heldBytesOfAll: 0xffff_ffff,
  resetBurst: 1_000_000,
  controlBurst: 1_000_000,
  smallDataBurst: 1_000_000,
  windowStallMs: 0,
  requestMs: 0,
};

/** Of every channel that asks for no others: programs that connect often need not put them together each time. */
const PLAIN_LIMITS = completeLimits(CLIENT_LIMITS);

/** The time between dialling and the standing connection. */
class Dialling implements SocketReceiver {
  private readonly channel: GrpcChannel;
  private readonly socket: Socket;
  private successor: SocketReceiver | null = null;

  constructor(channel: GrpcChannel, socket: Socket) {
    this.channel = channel;
    this.socket = socket;
  }

  opened(): void {
    this.successor = this.channel.dialled(this.socket);
  }

  data(bytes: Buffer, start: number, end: number): void {
    this.successor?.data(bytes, start, end);
  }

  written(): void {
    this.successor?.written();
  }

  ended(): void {
    if (this.successor !== null) this.successor.ended();
    else this.socket.destroy();
  }

  closed(error: Error | null): void {
    if (this.successor !== null) this.successor.closed(error);
    else this.channel.dialFailed(error);
  }
}

/** Turns the callbacks of a unary call into a promise. */
class UnaryReceiver implements CallReceiver {
  isAborted = false;
  private readonly resolve: (response: Buffer) => void;
  private readonly reject: (error: Error) => void;
  private readonly signal: AbortSignal | null;
  private call: ClientCall | null = null;
  private response: Buffer | null = null;
  private readonly onAbort: () => void;

  constructor(resolve: (response: Buffer) => void, reject: (error: Error) => void, signal: AbortSignal | null) {
    this.resolve = resolve;
    this.reject = reject;
    this.signal = signal;
    this.onAbort = () => this.call?.cancel();
    if (signal === null) return;
    if (signal.aborted) {
      this.isAborted = true;
      reject(new RpcError(StatusCode.CANCELLED, 'context canceled'));
    } else signal.addEventListener('abort', this.onAbort);
  }

  attach(call: ClientCall): void {
    this.call = call;
  }

  message(call: ClientCall, bytes: Buffer, start: number, end: number): void {
    if (this.response === null) {
      // Without a view of the bytes first, as `Buffer.from` would want one.
      const response = Buffer.allocUnsafe(end - start);
      bytes.copy(response, 0, start, end);
      this.response = response;
    } else call.abandon(StatusCode.INTERNAL, 'cardinality violation: more than one response to a unary call');
  }

  closed(_call: ClientCall, code: number, message: string, _trailers: readonly Field[]): void {
    this.signal?.removeEventListener('abort', this.onAbort);
    if (code !== StatusCode.OK) this.reject(new RpcError(code, message));
    else if (this.response === null) this.reject(new RpcError(StatusCode.INTERNAL, 'no response to a unary call'));
    else this.resolve(this.response);
  }
}

function authorityOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
