import { errorFrom, OperatorError } from '@etsd/base';
import type { SocketAddress, TlsOptions, World } from '@etsd/runtime';
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
