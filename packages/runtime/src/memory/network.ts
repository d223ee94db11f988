/**
 * Connections inside of one process: an address beginning with `in-process/` is served without a socket. All other
 * addresses are left to the network underneath.
 */
import { assert, RingQueue } from '@etsd/base';
import { diskError } from '../disk.ts';
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
import type { Timers } from '../timers.ts';

const PREFIX = 'in-process/';
/** Bytes under way to one side beyond which the other has to wait. */
const WINDOW_BYTES = 256 * 1024;

/** The path, to be dialled or listened at as that of a unix socket, of an address inside of this process. */
export function inProcessPath(name: string): string {
  return PREFIX + name;
}

class LocalSocket implements Socket {
  readonly remoteAddress = '@';
  readonly localAddress = '@';
  readonly encrypted = false;
  readonly alpn = '';
  readonly peerCertificate: PeerCertificate | null = null;
  private readonly timers: Timers;
  private other: LocalSocket | null = null;
  private receiver: SocketReceiver | null = null;
  /** On their way to us; null is the end of the stream. */
  private readonly incoming = new RingQueue<Buffer | null>();
  private incomingBytes = 0;
  private isPumping = false;
  private isPaused = false;
  private isWaitingToWrite = false;
  private hasEnded = false;
  private hasSeenEnd = false;
  private isClosed = false;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  static pair(a: LocalSocket, b: LocalSocket): void {
    a.other = b;
    b.other = a;
  }

  start(receiver: SocketReceiver): void {
    assert(this.receiver === null, 'a socket is started once');
    this.receiver = receiver;
    this.pump();
  }

  /** The connection of a dialled socket stands. */
  connected(): void {
    if (this.isClosed) return;
    this.receiver?.opened?.();
    this.pump();
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    assert(!this.isWaitingToWrite, 'one write at a time');
    const { other } = this;
    if (this.isClosed || this.hasEnded || other === null) return true;
    other.arrive(Buffer.from(bytes.subarray(start, end)));
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
    const { other } = this;
    this.close(error ?? null);
    if (other !== null) this.timers.endOfTurn(() => other.close(diskError('ECONNRESET', 'the other side is gone')));
  }

  asked(): void {}

  commitToFastReads(): void {}

  /** There is no socket of Node's underneath, and so nothing but gRPC on such a connection. */
  detach(): unknown {
    throw new Error('a connection inside of the process speaks gRPC only');
  }

  private arrive(piece: Buffer | null): void {
    if (this.isClosed) return;
    this.incoming.push(piece);
    this.incomingBytes += piece?.length ?? 0;
    this.pump();
  }

  private pump(): void {
    if (this.isPumping || this.isPaused || this.isClosed || this.receiver === null || this.incoming.length === 0)
      return;
    this.isPumping = true;
    this.timers.endOfTurn(this.deliver);
  }

  private readonly deliver = (): void => {
    this.isPumping = false;
    while (this.incoming.length > 0 && !this.isPaused && !this.isClosed) {
      const piece = this.incoming.take() as Buffer | null;
      if (piece === null) {
        this.hasSeenEnd = true;
        this.receiver?.ended();
        this.closeIfDone();
      } else {
        this.incomingBytes -= piece.length;
        this.receiver?.data(piece, 0, piece.length);
      }
    }
    this.other?.roomAgain(this.incomingBytes);
  };

  private roomAgain(bytesUnderWay: number): void {
    if (!this.isWaitingToWrite || bytesUnderWay > WINDOW_BYTES / 2) return;
    this.isWaitingToWrite = false;
    this.timers.endOfTurn(() => {
      if (!this.isClosed) this.receiver?.written();
    });
  }

  private closeIfDone(): void {
    if (this.hasEnded && this.hasSeenEnd) this.timers.endOfTurn(() => this.close(null));
  }

  close(error: Error | null): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.timers.endOfTurn(() => this.receiver?.closed(error));
  }
}

export class LocalNetwork implements Network {
  private readonly timers: Timers;
  private readonly outside: Network;
  private readonly listeners = new Map<string, (socket: Socket) => void>();

  constructor(timers: Timers, outside: Network) {
    this.timers = timers;
    this.outside = outside;
  }

  async listen(address: SocketAddress, options: ListenOptions, onSocket: (socket: Socket) => void): Promise<Listener> {
    const { listeners } = this;
    if (!isInProcess(address)) return await this.outside.listen(address, options, onSocket);
    if (listeners.has(address.path)) throw diskError('EADDRINUSE', `somebody listens at ${address.path}`);
    listeners.set(address.path, onSocket);
    return {
      address,
      close: async () => void listeners.delete(address.path),
    };
  }

  dial(address: SocketAddress, options?: DialOptions): Socket {
    if (!isInProcess(address)) return this.outside.dial(address, options);
    const socket = new LocalSocket(this.timers);
    this.timers.endOfTurn(() => {
      const onSocket = this.listeners.get(address.path);
      if (onSocket === undefined) {
        socket.close(diskError('ECONNREFUSED', `nobody listens at ${address.path}`));
        return;
      }
      const accepted = new LocalSocket(this.timers);
      LocalSocket.pair(socket, accepted);
      onSocket(accepted);
      socket.connected();
    });
    return socket;
  }
}

function isInProcess(address: SocketAddress): address is { readonly path: string } {
  return 'path' in address && address.path.startsWith(PREFIX);
}
