import { chmodSync } from 'node:fs';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { assert } from '@etsd/base';
import type {
  Admits,
  DialOptions,
  Listener,
  ListenOptions,
  Network,
  PeerCertificate,
  Socket,
  SocketAddress,
  SocketReceiver,
  TlsOptions,
} from '../network.ts';
import { HandshakeGate } from './handshakes.ts';
import { certificateOf, secureContextOptions } from './tls-parts.ts';

/** All plain sockets read into this one buffer: libuv reads and calls back in one step, so there is never a second user. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);

/** On Windows a read is pending inside the kernel with its buffer, so the buffer cannot be shared. */
const CAN_SHARE_READ_BUFFER = process.platform !== 'win32';

/** The kernel probes a silent connection after this long, as under Go's listeners. */
const KEEPALIVE_MS = 15_000;

/** The part of node's sockets that carries the file descriptor; moving it to another Socket changes how bytes are read. */
interface WithHandle {
  _handle: unknown;
}

class NodeSocket implements Socket {
  readonly encrypted: boolean;
  remoteAddress: string;
  localAddress: string;
  alpn = '';
  peerCertificate: PeerCertificate | null = null;

  private raw: net.Socket;
  private receiver: SocketReceiver | null = null;
  /** A write has been handed over that the kernel has not taken entirely. */
  private writing = false;
  private done = false;
  private error: Error | null = null;
  private connectTimer: NodeJS.Timeout | null = null;
  private readonly onWritten: () => void;
  private onAsked: (() => void) | null;

  constructor(raw: net.Socket, encrypted: boolean, onAsked: (() => void) | null = null) {
    this.raw = raw;
    this.encrypted = encrypted;
    this.onAsked = onAsked;
    this.remoteAddress = addressText(raw.remoteAddress, raw.remotePort);
    this.localAddress = addressText(raw.localAddress, raw.localPort);
    this.onWritten = () => this.afterWrite();
    if (raw instanceof tls.TLSSocket && !raw.connecting) this.learnTls(raw);
  }

  start(receiver: SocketReceiver): void {
    assert(this.receiver === null, 'a socket is started once');
    this.receiver = receiver;
    this.listenTo(this.raw);
    this.raw.on('data', (chunk: Buffer) => this.receiver?.data(chunk, 0, chunk.length));
    this.raw.resume();
  }

  private listenTo(raw: net.Socket): void {
    raw.on('end', () => {
      if (!this.done) this.receiver?.ended();
    });
    raw.on('error', (error: Error) => {
      this.error = error;
    });
    raw.on('close', () => this.finish());
  }

  /** Dialled sockets: tells the receiver when the connection (and the TLS session) stands. */
  watchConnect(event: 'connect' | 'secureConnect', timeoutMs: number, check?: TlsOptions['checkServer']): void {
    this.connectTimer = setTimeout(() => {
      this.raw.destroy(new Error(`no connection after ${timeoutMs} ms`));
    }, timeoutMs);
    this.raw.once(event, () => {
      this.stopConnectTimer();
      this.remoteAddress = addressText(this.raw.remoteAddress, this.raw.remotePort);
      this.localAddress = addressText(this.raw.localAddress, this.raw.localPort);
      if (this.raw instanceof tls.TLSSocket) {
        this.learnTls(this.raw);
        const refusal = this.peerCertificate === null ? null : check?.(this.peerCertificate);
        if (refusal instanceof Error) {
          this.raw.destroy(refusal);
          return;
        }
      }
      this.receiver?.opened?.();
    });
  }

  private stopConnectTimer(): void {
    if (this.connectTimer !== null) clearTimeout(this.connectTimer);
    this.connectTimer = null;
  }

  private learnTls(raw: tls.TLSSocket): void {
    this.alpn = typeof raw.alpnProtocol === 'string' ? raw.alpnProtocol : '';
    if (raw.authorized) this.peerCertificate = certificateOf(raw);
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    assert(!this.writing, 'one write at a time');
    if (this.done || this.raw.destroyed) return true;
    this.writing = true;
    this.raw.write(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.onWritten);
    // node tries the system call at once; nothing left in its own queue means that the kernel has taken all of it.
    if (this.raw.writableLength === 0 && !this.raw.connecting && !this.encrypted) {
      this.writing = false;
      return true;
    }
    return false;
  }

  private afterWrite(): void {
    if (!this.writing || this.done) return;
    if (this.raw.writableLength > 0) return; // the late callback of an earlier write that was taken at once
    this.writing = false;
    this.receiver?.written();
  }

  asked(): void {
    this.onAsked?.();
    this.onAsked = null;
  }

  pause(): void {
    this.raw.pause();
  }

  resume(): void {
    this.raw.resume();
  }

  end(): void {
    if (!this.done) this.raw.end();
  }

  destroy(error?: Error): void {
    if (error !== undefined && this.error === null) this.error = error;
    this.raw.destroy();
  }

  commitToFastReads(): void {
    if (this.encrypted || !CAN_SHARE_READ_BUFFER || this.done || this.raw.destroyed) return;
    const old = this.raw as net.Socket & WithHandle;
    const handle = old._handle;
    if (handle === null || handle === undefined || this.writing) return;
    old.removeAllListeners();
    // The new socket owns the descriptor; the old one is closed without it, which also takes it off the server's count.
    const options = {
      handle,
      allowHalfOpen: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (count: number, buffer: Uint8Array): boolean => {
          this.receiver?.data(buffer as Buffer, 0, count);
          return true;
        },
      },
    };
    const raw = new net.Socket(options as unknown as net.SocketConstructorOpts);
    old._handle = null;
    old.destroy();
    this.raw = raw;
    this.listenTo(raw);
    raw.read(0);
  }

  detach(): unknown {
    const raw = this.raw;
    this.done = true;
    this.receiver = null;
    this.stopConnectTimer();
    raw.removeAllListeners('data');
    raw.removeAllListeners('end');
    raw.removeAllListeners('error');
    raw.removeAllListeners('close');
    raw.pause();
    return raw;
  }

  private finish(): void {
    if (this.done) return;
    this.done = true;
    this.stopConnectTimer();
    const receiver = this.receiver;
    this.receiver = null;
    receiver?.closed(this.error);
  }
}

function addressText(host: string | undefined, port: number | undefined): string {
  if (host === undefined || port === undefined) return '@';
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function boundAddress(server: net.Server): SocketAddress {
  const bound = server.address();
  assert(bound !== null, 'a listening server has an address');
  return typeof bound === 'string' ? { path: bound } : { host: bound.address, port: bound.port };
}

/**
 * What node asks between accepting a connection and making a socket of it. Its own list of addresses can only grow, and
 * is for networks that are known before.
 */
class Door extends net.BlockList {
  private readonly admits: Admits;

  constructor(admits: Admits) {
    super();
    this.admits = admits;
  }

  override check(address: string | net.SocketAddress): boolean {
    return !this.admits(typeof address === 'string' ? address : address.address);
  }
}

function doorOf(admits: Admits | null): { blockList?: net.BlockList } {
  return admits === null ? {} : { blockList: new Door(admits) };
}

function createServer(options: ListenOptions, onSocket: (socket: Socket) => void): Accepting {
  const common = {
    allowHalfOpen: true,
    pauseOnConnect: true,
  };
  const { admits } = options;
  const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };
  if (options.tls === undefined) {
    const plain = { ...common, ...keepAlive, noDelay: true, ...doorOf(admits ?? null) };
    return { server: net.createServer(plain, (raw) => onSocket(new NodeSocket(raw, false))), gate: null };
  }
  const accept = (raw: tls.TLSSocket, asked: () => void): void => {
    raw.setKeepAlive(true, KEEPALIVE_MS);
    onSocket(new NodeSocket(raw, true, asked));
  };
  const gate = new HandshakeGate(options.tls, options, accept);
  const both = (address: string): boolean => (admits === undefined || admits(address)) && gate.admits(address);
  return { server: net.createServer({ ...common, ...doorOf(both) }, (raw) => gate.admit(raw)), gate };
}

/** What accepts connections, and with TLS what they pass. */
interface Accepting {
  readonly server: net.Server;
  readonly gate: HandshakeGate | null;
}

class NodeNetwork implements Network {
  listen(address: SocketAddress, options: ListenOptions, onSocket: (socket: Socket) => void): Promise<Listener> {
    const { server, gate } = createServer(options, onSocket);
    const target: net.ListenOptions = { backlog: options.backlog ?? 1024, reusePort: options.reusePort ?? false };
    if ('path' in address) target.path = address.path;
    else {
      target.host = address.host;
      target.port = address.port;
    }
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(target, () => {
        server.off('error', reject);
        server.on('error', () => {}); // an accept that failed (too many open files) must not end the process
        if ('path' in address && options.mode !== undefined) chmodSync(address.path, options.mode);
        resolve({
          address: boundAddress(server),
          ...(gate === null ? {} : { handshakes: gate }),
          close: () => {
            gate?.close();
            return closeServer(server);
          },
        });
      });
    });
  }

  dial(address: SocketAddress, options: DialOptions = {}): Socket {
    const target =
      'path' in address ? { path: address.path } : { host: address.host, port: address.port, noDelay: true };
    const timeoutMs = options.connectTimeoutMs ?? 20_000;
    if (options.tls === undefined) {
      const socket = new NodeSocket(net.connect({ ...target, allowHalfOpen: true }), false);
      socket.watchConnect('connect', timeoutMs);
      return socket;
    }
    const settings = options.tls.current?.() ?? options.tls;
    const raw = tls.connect({
      ...target,
      ...secureContextOptions(settings),
      ALPNProtocols: [...(settings.alpn ?? ['h2'])],
      rejectUnauthorized: settings.insecureSkipVerify !== true,
      ...serverNameOption(settings.serverName ?? ('host' in address ? address.host : '')),
    });
    const socket = new NodeSocket(raw, true);
    socket.watchConnect('secureConnect', timeoutMs, settings.checkServer);
    return socket;
  }
}

/** Server names go into the handshake unless they are addresses, which RFC 6066 §3 forbids there. */
function serverNameOption(name: string): { servername?: string } {
  return name === '' || net.isIP(name) !== 0 ? {} : { servername: name };
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    // Sockets accepted by this listener live on with their owners; do not wait for them.
    server.unref();
    if (!server.listening) resolve();
  });
}

/** The machine's own network. */
export function nodeNetwork(): Network {
  return new NodeNetwork();
}
