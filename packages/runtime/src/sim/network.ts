/**
 * A network in memory: streams between simulated machines, with delays, cut links and broken connections. Bytes of one
 * stream keep their order, as in TCP; while a link is cut they wait, as for a retransmission. TLS options are taken but
 * nothing is encrypted or checked.
 */
import type { Prng } from '@etsd/base';
import { RingQueue } from '@etsd/base';
import { diskError as systemError } from '../disk.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Network,
  PeerCertificate,
  Socket,
  SocketAddress,
  SocketReceiver,
} from '../network.ts';
import type { NetworkFaults } from './faults.ts';
import { Links } from './links.ts';
import type { Life, Simulation } from './simulation.ts';

/** Bytes under way in one direction above which a writer is told to wait. */
const WINDOW_BYTES = 1024 * 1024;

/** How soon what met a cut link is tried again, in milliseconds. */
const RETRY_MS = 50;

/** How long a lost piece of a stream takes to be sent again, in milliseconds. */
const RETRANSMIT_MS = 200;

/** A connection whose other end is silently gone is given up after this long, in milliseconds (keepalive). */
const HALF_OPEN_MS = 30_000;

const CONNECT_TIMEOUT_MS = 20_000;

class Endpoint {
  readonly life: Life;
  readonly machine: string;
  readonly onSocket: (socket: Socket) => void;

  constructor(life: Life, machine: string, onSocket: (socket: Socket) => void) {
    this.life = life;
    this.machine = machine;
    this.onSocket = onSocket;
  }
}

/** The wires between all machines of a simulation. */
export class SimLan {
  readonly simulation: Simulation;
  /** May be changed at any time. */
  readonly faults: NetworkFaults;
  readonly prng: Prng;
  readonly endpoints = new Map<string, Endpoint>();
  /** The state of each way from one machine to another. */
  readonly links: Links;
  private readonly sockets = new Set<SimSocket>();
  private nextPort = 20_000;

  constructor(simulation: Simulation, prng: Prng, faults: NetworkFaults) {
    this.simulation = simulation;
    this.prng = prng;
    this.faults = faults;
    this.links = new Links(simulation, prng);
  }

  /** Lets nothing through from one machine to the other; the way back is another link. */
  cut(from: string, to: string): void {
    this.links.cut(from, to);
  }

  heal(from: string, to: string): void {
    this.links.heal(from, to);
  }

  healAll(): void {
    this.links.healAll();
  }

  isCut(from: string, to: string): boolean {
    return this.links.isCut(from, to);
  }

  /**
   * Sends a message of its own, as in a datagram: `arrive` is called once, twice or never, and others may overtake it. Where
   * the link is cut it is lost. `life` is the receiver's: what arrives for a life that is over is lost too.
   */
  post(from: string, to: string, life: Life, arrive: () => void): void {
    const { faults, prng, simulation } = this;
    if (this.links.isCut(from, to) || prng.chance(faults.lossRate)) {
      simulation.counts.add('network.lost');
      return;
    }
    let copies = 1;
    if (prng.chance(faults.copyRate)) {
      copies = 2;
      simulation.counts.add('network.copied');
    }
    for (; copies > 0; copies--) {
      let ms = this.delayMs() + this.links.extraMs(from, to);
      if (prng.chance(faults.reorderRate)) {
        ms += prng.float() * faults.reorderMs;
        simulation.counts.add('network.reordered');
      }
      simulation.schedule(ms, life, arrive);
    }
  }

  /** How much longer a piece of a stream takes: it may have to be sent again, and its link may be slow or clogged. */
  streamDelayMs(from: string, to: string): number {
    let ms = this.delayMs() + this.links.extraMs(from, to);
    while (this.prng.chance(Math.min(0.9, this.faults.lossRate))) {
      ms += RETRANSMIT_MS;
      this.simulation.counts.add('network.sent again');
    }
    return ms;
  }

  /** A machine is gone: whoever talks to it learns so after a while. */
  crash(life: Life): void {
    for (const [key, endpoint] of this.endpoints) if (endpoint.life === life) this.endpoints.delete(key);
    const isSilent = this.prng.chance(this.faults.halfOpenRate);
    if (isSilent) this.simulation.counts.add('network.half open');
    for (const socket of this.sockets) if (socket.life === life) socket.vanish(isSilent ? HALF_OPEN_MS : 0);
  }

  delayMs(): number {
    const { latencyMinMs, latencyMaxMs } = this.faults;
    return latencyMinMs + this.prng.float() * (latencyMaxMs - latencyMinMs);
  }

  freePort(): number {
    return this.nextPort++;
  }

  opened(socket: SimSocket): void {
    this.sockets.add(socket);
  }

  closed(socket: SimSocket): void {
    this.sockets.delete(socket);
  }
}

/** What travels: bytes, or `null` for the end of the stream. */
class Piece {
  readonly bytes: Buffer | null;
  /** Not delivered before. */
  readonly atMs: number;

  constructor(bytes: Buffer | null, atMs: number) {
    this.bytes = bytes;
    this.atMs = atMs;
  }
}

class SimSocket implements Socket {
  remoteAddress = '';
  localAddress = '';
  readonly encrypted: boolean;
  readonly alpn: string;
  readonly peerCertificate: PeerCertificate | null = null;
  readonly life: Life;
  readonly machine: string;
  private readonly lan: SimLan;
  private other: SimSocket | null = null;
  private receiver: SocketReceiver | null = null;
  /** On their way to us. */
  private readonly incoming = new RingQueue<Piece>();
  private incomingBytes = 0;
  private lastArrivalMs = 0;
  private isPumping = false;
  private isPaused = false;
  private isClosed = false;
  private hasEnded = false;
  private hasSeenEnd = false;
  private isWaitingToWrite = false;

  constructor(lan: SimLan, life: Life, machine: string, options: DialOptions | ListenOptions) {
    this.lan = lan;
    this.life = life;
    this.machine = machine;
    this.encrypted = options.tls !== undefined;
    this.alpn = options.tls?.alpn?.[0] ?? '';
  }

  static pair(a: SimSocket, b: SimSocket): void {
    a.other = b;
    b.other = a;
    a.lan.opened(a);
    b.lan.opened(b);
  }

  start(receiver: SocketReceiver): void {
    this.receiver = receiver;
    this.pump();
  }

  /** The connection stands (dialled sockets). */
  connected(): void {
    this.receiver?.opened?.();
    this.pump();
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    const other = this.other;
    if (this.isClosed || other === null) return true;
    if (this.lan.prng.chance(this.lan.faults.resetRate)) {
      this.lan.simulation.counts.add('network.reset');
      this.destroy(systemError('ECONNRESET', 'the connection broke'));
      return true;
    }
    const copy = Buffer.allocUnsafe(end - start);
    bytes.copy(copy, 0, start, end);
    other.arrive(copy);
    this.isWaitingToWrite = other.incomingBytes > WINDOW_BYTES;
    return !this.isWaitingToWrite;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.pump();
  }

  end(): void {
    if (this.hasEnded || this.isClosed) return;
    this.hasEnded = true;
    this.other?.arrive(null);
    this.closeIfDone();
  }

  destroy(error?: Error): void {
    if (this.isClosed) return;
    this.close(error ?? null);
    this.breakOther(0);
  }

  /** The machine crashed: no callback here, but the other side learns, `afterMs` later than it could. */
  vanish(afterMs: number): void {
    this.isClosed = true;
    this.lan.closed(this);
    this.breakOther(afterMs);
  }

  /** Whoever dialled has given up. */
  get isGone(): boolean {
    return this.isClosed;
  }

  /** Nobody is there, or nobody was reached in time. */
  fail(error: Error): void {
    this.close(error);
  }

  asked(): void {}

  commitToFastReads(): void {}

  detach(): unknown {
    throw new Error('a simulated socket is no socket of node');
  }

  private breakOther(afterMs: number): void {
    const other = this.other;
    if (other === null || other.isClosed) return;
    this.lan.simulation.schedule(afterMs + this.lan.delayMs(), other.life, () => {
      other.close(systemError('ECONNRESET', 'the other side is gone'));
    });
  }

  private arrive(bytes: Buffer | null): void {
    const takesMs = this.lan.streamDelayMs((this.other as SimSocket).machine, this.machine);
    const atMs = Math.max(this.lan.simulation.nowMs + takesMs, this.lastArrivalMs);
    this.lastArrivalMs = atMs;
    this.incoming.push(new Piece(bytes, atMs));
    this.incomingBytes += bytes?.length ?? 0;
    this.pump();
  }

  /** Sees to it that the next piece is delivered when its time has come, the link is whole and the owner wants it. */
  private pump(): void {
    const piece = this.incoming.peek();
    if (piece === undefined || this.isPumping || this.isPaused || this.isClosed || this.receiver === null) return;
    this.isPumping = true;
    const { simulation } = this.lan;
    simulation.schedule(piece.atMs - simulation.nowMs, this.life, this.deliver);
  }

  private readonly deliver = (): void => {
    this.isPumping = false;
    if (this.isPaused || this.isClosed) return;
    const other = this.other as SimSocket;
    if (this.lan.isCut(other.machine, this.machine)) {
      this.isPumping = true;
      this.lan.simulation.schedule(RETRY_MS, this.life, this.deliver);
      return;
    }
    const { bytes } = this.incoming.take() as Piece;
    if (bytes === null) {
      this.hasSeenEnd = true;
      this.receiver?.ended();
      this.closeIfDone();
    } else {
      this.incomingBytes -= bytes.length;
      this.receiver?.data(bytes, 0, bytes.length);
      other.roomAgain(this.incomingBytes);
    }
    this.pump();
  };

  private roomAgain(bytesUnderWay: number): void {
    if (!this.isWaitingToWrite || bytesUnderWay > WINDOW_BYTES / 2) return;
    this.isWaitingToWrite = false;
    this.lan.simulation.schedule(0, this.life, () => {
      if (!this.isClosed) this.receiver?.written();
    });
  }

  private closeIfDone(): void {
    if (!this.hasEnded || !this.hasSeenEnd || this.isClosed) return;
    this.lan.simulation.schedule(0, this.life, () => this.close(null));
  }

  private close(error: Error | null): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.lan.closed(this);
    this.lan.simulation.schedule(0, this.life, () => this.receiver?.closed(error));
  }
}

/** The network as one life of one machine sees it. Addresses are `host:port`, with the machine's name as its host. */
export class SimNetwork implements Network {
  private readonly lan: SimLan;
  private readonly life: Life;
  private readonly machine: string;

  constructor(lan: SimLan, life: Life, machine: string) {
    this.lan = lan;
    this.life = life;
    this.machine = machine;
  }

  async listen(address: SocketAddress, options: ListenOptions, onSocket: (socket: Socket) => void): Promise<Listener> {
    const bound = 'path' in address || address.port !== 0 ? address : { ...address, port: this.lan.freePort() };
    const key = this.keyOf(bound);
    if (this.lan.endpoints.has(key)) throw systemError('EADDRINUSE', `address in use: ${key}`);
    const { endpoints } = this.lan;
    const accept = (dialled: Socket): void => {
      const socket = new SimSocket(this.lan, this.life, this.machine, options);
      const client = dialled as SimSocket;
      socket.localAddress = client.remoteAddress;
      socket.remoteAddress = client.localAddress;
      SimSocket.pair(client, socket);
      onSocket(socket);
    };
    endpoints.set(key, new Endpoint(this.life, this.machine, accept));
    return {
      address: bound,
      close: async (): Promise<void> => {
        endpoints.delete(key);
      },
    };
  }

  dial(address: SocketAddress, options: DialOptions = {}): Socket {
    const key = this.keyOf(address);
    const socket = new SimSocket(this.lan, this.life, this.machine, options);
    socket.localAddress = `${this.machine}:${this.lan.freePort()}`;
    socket.remoteAddress = key;
    this.attempt(socket, key, this.lan.simulation.nowMs + (options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS));
    return socket;
  }

  private attempt(socket: SimSocket, key: string, untilMs: number): void {
    const { lan, life } = this;
    lan.simulation.schedule(lan.delayMs(), life, () => {
      if (socket.isGone) return;
      const endpoint = lan.endpoints.get(key);
      if (endpoint === undefined) {
        socket.fail(systemError('ECONNREFUSED', `nobody listens at ${key}`));
      } else if (lan.isCut(this.machine, endpoint.machine) || lan.isCut(endpoint.machine, this.machine)) {
        if (lan.simulation.nowMs + RETRY_MS > untilMs) socket.fail(systemError('ETIMEDOUT', `no connection to ${key}`));
        else lan.simulation.schedule(RETRY_MS, life, () => this.attempt(socket, key, untilMs));
      } else {
        endpoint.onSocket(socket);
        socket.connected();
      }
    });
  }

  private keyOf(address: SocketAddress): string {
    if ('path' in address) return `${this.machine}:${address.path}`;
    const isSelf = address.host === '127.0.0.1' || address.host === 'localhost' || address.host === '0.0.0.0';
    return `${isSelf ? this.machine : address.host}:${address.port}`;
  }
}
