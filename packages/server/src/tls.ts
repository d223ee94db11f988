import { errorFrom, OperatorError } from '@etsd/base';
import type { TlsOptions, World } from '@etsd/runtime';
import type { MemberConfig } from './config/config.ts';

/** The flags that name the files of one side (clients or members), with their values. */
export interface CertificateFlags {
  readonly certFlag: string;
  readonly certFile: string;
  readonly keyFlag: string;
  readonly keyFile: string;
  readonly caFlag: string;
  /** Empty: certificates of the other side are not asked for, or checked against the system's authorities. */
  readonly caFile: string;
  readonly requireCertificate: boolean;
}

/** What clients are shown. */
export function clientCertificates(config: MemberConfig): CertificateFlags {
  return {
    certFlag: '--cert-file',
    certFile: config.certFile,
    keyFlag: '--key-file',
    keyFile: config.keyFile,
    caFlag: '--trusted-ca-file',
    caFile: config.trustedCaFile,
    requireCertificate: config.clientCertAuth || config.trustedCaFile !== '',
  };
}

/** What other members are shown. */
export function peerCertificates(config: MemberConfig): CertificateFlags {
  return {
    certFlag: '--peer-cert-file',
    certFile: config.peerCertFile,
    keyFlag: '--peer-key-file',
    keyFile: config.peerKeyFile,
    caFlag: '--peer-trusted-ca-file',
    caFile: config.peerTrustedCaFile,
    requireCertificate: config.peerClientCertAuth || config.peerTrustedCaFile !== '',
  };
}

/** Reads the files of a listening side. */
export async function loadServerTls(
  world: World,
  config: MemberConfig,
  flags: CertificateFlags,
  alpn: readonly string[],
): Promise<TlsOptions> {
  return {
    cert: await readPem(world, flags.certFlag, flags.certFile),
    key: await readPem(world, flags.keyFlag, flags.keyFile),
    alpn,
    ...(flags.caFile === '' ? {} : { ca: await readPem(world, flags.caFlag, flags.caFile) }),
    ...(flags.requireCertificate ? { requireClientCertificate: true } : {}),
    ...versions(config),
  };
}

/** Reads what this member shows when it dials others, and by whom they must be certified. */
export async function loadPeerDialTls(world: World, config: MemberConfig): Promise<TlsOptions> {
  const { certFlag, certFile, keyFlag, keyFile, caFlag, caFile } = peerCertificates(config);
  return {
    ...(certFile === '' ? {} : { cert: await readPem(world, certFlag, certFile) }),
    ...(keyFile === '' ? {} : { key: await readPem(world, keyFlag, keyFile) }),
    ...(caFile === '' ? {} : { ca: await readPem(world, caFlag, caFile) }),
    // Members found through records and certified by the system's authorities are certified for the domain, as with etcd.
    ...(caFile === '' && config.discoverySrv !== '' ? { serverName: config.discoverySrv } : {}),
    ...versions(config),
  };
}

function versions(config: MemberConfig): Pick<TlsOptions, 'minVersion' | 'maxVersion'> {
  return {
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

export function isTlsError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_OSSL');
}

/** What OpenSSL found wrong with the files, which it does not name. */
export function certificateError(flags: CertificateFlags, error: unknown): OperatorError {
  return new OperatorError(
    `${flags.certFlag} ${flags.certFile} and ${flags.keyFlag} ${flags.keyFile} cannot be used together: ${errorFrom(error).message}`,
    'Give a certificate in PEM form and the private key that belongs to it.',
  );
}
