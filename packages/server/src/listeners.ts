import { errorFrom, OperatorError } from '@etsd/base';
import { hasCode, type Listener, type ListenOptions, type Socket, type SocketAddress, type World } from '@etsd/runtime';
import type { MemberConfig } from './config/config.ts';
import { isSecure } from './config/validate-tls.ts';
import type { Endpoint } from './config/values.ts';
import { Door } from './guard/door.ts';
import type { TlsSide } from './tls/side.ts';

/** Where a socket has to listen for this URL. */
export function socketAddressOf(endpoint: Endpoint): SocketAddress {
  if (endpoint.scheme === 'unix' || endpoint.scheme === 'unixs') return { path: endpoint.host };
  return { host: endpoint.host === 'localhost' ? '127.0.0.1' : endpoint.host, port: endpoint.port };
}

/** A listening error in words that name the flag. */
export function listenError(flag: string, endpoint: Endpoint, thrown: unknown): OperatorError {
  const error = errorFrom(thrown);
  const taken = 'code' in error && error.code === 'EADDRINUSE';
  const address = endpoint.url.replace(/^[a-z]+:\/\//, '');
  return new OperatorError(
    taken ? `listen tcp ${address}: bind: address already in use` : `${flag} ${endpoint.url}: ${error.message}`,
    taken ? `Another process listens there; stop it or give ${flag} another address.` : `Check ${flag}.`,
    { cause: error },
  );
}

/** Addresses of one flag. */
type Addresses = readonly [flag: string, endpoints: readonly Endpoint[]];

const METRICS_FLAG = '--listen-metrics-urls';

/** Connections that may wait at a gate that does not open for everybody at once. */
const WAITING_MAX = 256;

/**
 * Addresses to listen on, bound before anything is made on disk: an address that is taken should be the first thing to
 * be said, and leave nothing behind. Clients that connect before the member is ready are refused; other members wait.
 */
export class Gate {
  readonly listeners: Listener[] = [];
  /** Who is let in from where clients come from; members are not told by their addresses, which they may share. */
  readonly door: Door | null;
  private accept: ((socket: Socket) => void) | null = null;
  /** For the addresses that show figures and nothing else; null where there are none, or not yet. */
  private acceptForFigures: ((socket: Socket) => void) | null = null;
  private readonly waiting: Socket[] = [];
  private readonly waitingMax: number;

  private constructor(waitingMax: number, door: Door | null) {
    this.waitingMax = waitingMax;
    this.door = door;
  }

  static async forClients(world: World, config: MemberConfig, tls: TlsSide | null): Promise<Gate> {
    const addresses: Addresses[] = [
      ['--listen-client-urls', config.listenClientUrls],
      ['--listen-client-http-urls', config.listenClientHttpUrls],
      [METRICS_FLAG, config.listenMetricsUrls],
    ];
    const door = new Door({ clock: world.clock, perSecond: config.guard.offencesPerAddress });
    return await new Gate(0, door).bind(world, config, addresses, tls, ['h2', 'http/1.1']);
  }

  static async forPeers(world: World, config: MemberConfig, tls: TlsSide | null): Promise<Gate> {
    const addresses: Addresses[] = [['--listen-peer-urls', config.listenPeerUrls]];
    return await new Gate(WAITING_MAX, null).bind(world, config, addresses, tls, ['http/1.1']);
  }

  private async bind(
    world: World,
    config: MemberConfig,
    addresses: readonly Addresses[],
    tls: TlsSide | null,
    alpn: readonly string[],
  ): Promise<this> {
    for (const [flag, endpoints] of addresses) {
      for (const endpoint of endpoints) {
        const options: ListenOptions = {
          reusePort: config.socketReusePort,
          ...(this.door === null ? {} : { admits: this.door.admits }),
          ...(isSecure(endpoint) && tls !== null ? secureOptions(config, tls, alpn, this.door) : {}),
        };
        try {
          const connected = flag === METRICS_FLAG ? this.connectedForFigures : this.connected;
          const listener = await listenAt(world, socketAddressOf(endpoint), options, connected);
          this.listeners.push(listener);
          if (listener.handshakes !== undefined) tls?.figures.counts.push(listener.handshakes);
        } catch (error) {
          await this.close();
          throw listenError(flag, endpoint, error);
        }
      }
    }
    return this;
  }

  /** Hands those who connect from now on to an address for figures to `accept`: these are shown early. */
  openForFigures(accept: (socket: Socket) => void): void {
    this.acceptForFigures = accept;
  }

  /** Hands everybody else who connects from now on to `accept`. */
  open(accept: (socket: Socket) => void): void {
    this.accept = accept;
    for (const socket of this.waiting.splice(0)) accept(socket);
  }

  async close(): Promise<void> {
    for (const socket of this.waiting.splice(0)) socket.destroy();
    for (const listener of this.listeners) await listener.close();
  }

  private readonly connectedForFigures = (socket: Socket): void => {
    if (this.acceptForFigures !== null) this.acceptForFigures(socket);
    else socket.destroy();
  };

  private readonly connected = (socket: Socket): void => {
    if (this.accept !== null) this.accept(socket);
    else if (this.waiting.length < this.waitingMax) this.waiting.push(socket);
    else socket.destroy();
  };
}

function secureOptions(config: MemberConfig, tls: TlsSide, alpn: readonly string[], door: Door | null): ListenOptions {
  const { watcher } = tls;
  return {
    tls: tls.serverOptions(alpn),
    handshakes: {
      timeoutMs: config.tlsHandshakeTimeoutMs,
      underWay: config.tlsHandshakesMax,
      perSecondOfOneAddress: config.tlsHandshakesPerAddress,
    },
    handshakeWatcher: {
      agreed: watcher.agreed,
      refused: (remote, serverName, refusal, error) => {
        watcher.refused(remote, serverName, refusal, error);
        door?.handshakeRefused(remote, refusal);
      },
      slowed: (remote) => door?.handshakesSlowed(remote),
    },
  };
}

/** The configuration with the ports that the system chose where port 0 was asked for. */
export function withBoundPorts(config: MemberConfig, clients: Gate): MemberConfig {
  if (!config.listenClientUrls.some(choosesPort)) return config;
  const chosen = new Map<string, string>();
  const listenClientUrls = config.listenClientUrls.map((endpoint, index) => {
    const bound = clients.listeners[index]?.address;
    if (!choosesPort(endpoint) || bound === undefined || 'path' in bound) return endpoint;
    const url = endpoint.url.replace(/:0+$/, `:${bound.port}`);
    chosen.set(endpoint.url, url);
    return { ...endpoint, url, port: bound.port };
  });
  const advertiseClientUrls = config.advertiseClientUrls.map((url) => chosen.get(url) ?? url);
  return { ...config, listenClientUrls, advertiseClientUrls };
}

function choosesPort({ scheme, port }: Endpoint): boolean {
  return port === 0 && (scheme === 'http' || scheme === 'https');
}

/** Listens; the file of a unix socket on which nobody listens any more is taken out of the way. */
async function listenAt(
  world: World,
  address: SocketAddress,
  options: ListenOptions,
  onSocket: (socket: Socket) => void,
): Promise<Listener> {
  const { disk, network } = world;
  try {
    return await network.listen(address, options, onSocket);
  } catch (error) {
    if (!('path' in address) || !hasCode(error, 'EADDRINUSE') || (await isServed(world, address))) throw error;
    await disk.remove(address.path);
    return await network.listen(address, options, onSocket);
  }
}

/** Whether somebody accepts connections there. */
function isServed({ network }: World, address: SocketAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = network.dial(address);
    socket.start({
      opened() {
        resolve(true);
        socket.destroy();
      },
      data() {},
      written() {},
      ended() {},
      closed: () => resolve(false),
    });
  });
}
