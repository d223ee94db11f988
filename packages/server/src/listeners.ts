import { errorFrom, OperatorError } from '@etsd/base';
import { hasCode, type Listener, type ListenOptions, type Socket, type SocketAddress, type World } from '@etsd/runtime';
import type { MemberConfig } from './config/config.ts';
import type { Endpoint } from './config/values.ts';
import {
  type CertificateFlags,
  certificateError,
  clientCertificates,
  isTlsError,
  loadServerTls,
  peerCertificates,
} from './tls.ts';

/** Where a socket has to listen for this URL. */
export function socketAddressOf(endpoint: Endpoint): SocketAddress {
  if (endpoint.scheme === 'unix' || endpoint.scheme === 'unixs') return { path: endpoint.host };
  return { host: endpoint.host === 'localhost' ? '127.0.0.1' : endpoint.host, port: endpoint.port };
}

/** Whether clients of this address speak TLS. */
export function isSecure(endpoint: Endpoint): boolean {
  return endpoint.scheme === 'https' || endpoint.scheme === 'unixs';
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

/** Connections that may wait at a gate that does not open for everybody at once. */
const WAITING_MAX = 256;

/**
 * Addresses to listen on, bound before anything is made on disk: an address that is taken should be the first thing to
 * be said, and leave nothing behind. Clients that connect before the member is ready are refused; other members wait.
 */
export class Gate {
  readonly listeners: Listener[] = [];
  private accept: ((socket: Socket) => void) | null = null;
  private readonly waiting: Socket[] = [];
  private readonly waitingMax: number;

  private constructor(waitingMax: number) {
    this.waitingMax = waitingMax;
  }

  static async forClients(world: World, config: MemberConfig): Promise<Gate> {
    const addresses: Addresses[] = [
      ['--listen-client-urls', config.listenClientUrls],
      ['--listen-client-http-urls', config.listenClientHttpUrls],
      ['--listen-metrics-urls', config.listenMetricsUrls],
    ];
    return await new Gate(0).bind(world, config, addresses, clientCertificates(config), ['h2', 'http/1.1']);
  }

  static async forPeers(world: World, config: MemberConfig): Promise<Gate> {
    const addresses: Addresses[] = [['--listen-peer-urls', config.listenPeerUrls]];
    return await new Gate(WAITING_MAX).bind(world, config, addresses, peerCertificates(config), ['http/1.1']);
  }

  private async bind(
    world: World,
    config: MemberConfig,
    addresses: readonly Addresses[],
    certificates: CertificateFlags,
    alpn: readonly string[],
  ): Promise<this> {
    const secure = addresses.some(([, endpoints]) => endpoints.some(isSecure));
    const tls = secure ? await loadServerTls(world, config, certificates, alpn) : undefined;
    for (const [flag, endpoints] of addresses) {
      for (const endpoint of endpoints) {
        const options = {
          reusePort: config.socketReusePort,
          ...(isSecure(endpoint) && tls !== undefined ? { tls } : {}),
        };
        try {
          this.listeners.push(await listenAt(world, socketAddressOf(endpoint), options, this.connected));
        } catch (error) {
          await this.close();
          throw isTlsError(error) ? certificateError(certificates, error) : listenError(flag, endpoint, error);
        }
      }
    }
    return this;
  }

  /** Hands everybody who connects from now on to `accept`. */
  open(accept: (socket: Socket) => void): void {
    this.accept = accept;
    for (const socket of this.waiting.splice(0)) accept(socket);
  }

  async close(): Promise<void> {
    for (const socket of this.waiting.splice(0)) socket.destroy();
    for (const listener of this.listeners) await listener.close();
  }

  private readonly connected = (socket: Socket): void => {
    if (this.accept !== null) this.accept(socket);
    else if (this.waiting.length < this.waitingMax) this.waiting.push(socket);
    else socket.destroy();
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
