import { errorFrom, OperatorError } from '@etsd/base';
import {
  hasCode,
  type Listener,
  type ListenOptions,
  type Socket,
  type SocketAddress,
  type TlsOptions,
  type World,
} from '@etsd/runtime';
import type { MemberConfig } from './config/config.ts';
import type { Endpoint } from './config/values.ts';

/** Where a socket has to listen for this URL. */
export function socketAddressOf(endpoint: Endpoint): SocketAddress {
  if (endpoint.scheme === 'unix' || endpoint.scheme === 'unixs') return { path: endpoint.host };
  return { host: endpoint.host === 'localhost' ? '127.0.0.1' : endpoint.host, port: endpoint.port };
}

/** Whether clients of this address speak TLS. */
export function isSecure(endpoint: Endpoint): boolean {
  return endpoint.scheme === 'https' || endpoint.scheme === 'unixs';
}

/** Reads the certificate files that the flags name. */
export async function loadClientTls(world: World, config: MemberConfig): Promise<TlsOptions> {
  const cert = await readPem(world, '--cert-file', config.certFile);
  const key = await readPem(world, '--key-file', config.keyFile);
  const demanded = config.clientCertAuth || config.trustedCaFile !== '';
  return {
    cert,
    key,
    alpn: ['h2', 'http/1.1'],
    ...(config.trustedCaFile === '' ? {} : { ca: await readPem(world, '--trusted-ca-file', config.trustedCaFile) }),
    ...(demanded ? { requireClientCertificate: true } : {}),
    minVersion: config.tlsMinVersion === 'TLS1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ...(config.tlsMaxVersion === 'TLS1.2' ? { maxVersion: 'TLSv1.2' as const } : {}),
  };
}

async function readPem(world: World, flag: string, path: string): Promise<Buffer> {
  try {
    return await world.disk.readFile(path);
  } catch (error) {
    throw new OperatorError(`${flag} ${path} cannot be read`, 'Check the path and its permissions.', { cause: error });
  }
}

function isTlsError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_OSSL');
}

/** What OpenSSL found wrong with the files, which it does not name. */
function certificateError(config: MemberConfig, error: unknown): OperatorError {
  return new OperatorError(
    `--cert-file ${config.certFile} and --key-file ${config.keyFile} cannot be used together: ${errorFrom(error).message}`,
    'Give a certificate in PEM form and the private key that belongs to it.',
  );
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

/**
 * The addresses for clients, bound before anything is made on disk: an address that is taken should be the first thing
 * to be said, and leave nothing behind. Who connects before the member is ready is refused.
 */
export class ClientGate {
  readonly listeners: Listener[] = [];
  private accept: ((socket: Socket) => void) | null = null;

  private constructor() {}

  static async bind(world: World, config: MemberConfig): Promise<ClientGate> {
    const gate = new ClientGate();
    const tls = config.listenClientUrls.some(isSecure) ? await loadClientTls(world, config) : undefined;
    const flags = [
      ['--listen-client-urls', config.listenClientUrls],
      ['--listen-client-http-urls', config.listenClientHttpUrls],
      ['--listen-metrics-urls', config.listenMetricsUrls],
    ] as const;
    for (const [flag, endpoints] of flags) {
      for (const endpoint of endpoints) {
        const options = {
          reusePort: config.socketReusePort,
          ...(isSecure(endpoint) && tls !== undefined ? { tls } : {}),
        };
        try {
          gate.listeners.push(await listenAt(world, socketAddressOf(endpoint), options, gate.connected));
        } catch (error) {
          await gate.close();
          throw isTlsError(error) ? certificateError(config, error) : listenError(flag, endpoint, error);
        }
      }
    }
    return gate;
  }

  /** Hands everybody who connects from now on to `accept`. */
  open(accept: (socket: Socket) => void): void {
    this.accept = accept;
  }

  async close(): Promise<void> {
    for (const listener of this.listeners) await listener.close();
  }

  private readonly connected = (socket: Socket): void => {
    if (this.accept === null) socket.destroy();
    else this.accept(socket);
  };
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
