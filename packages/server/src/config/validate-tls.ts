import { OperatorError } from '@etsd/base';
import { cipherList, requireHttp2Suites } from '../tls/cipher-suites.ts';
import type { MemberConfig } from './config.ts';
import type { Endpoint } from './values.ts';

/** Refuses flags about TLS that contradict each other or lack one another; etcd's text where it has one. */
export function validateTls(config: MemberConfig): void {
  validateVersions(config);
  cipherList(config.cipherSuites);
  const clients = config.listenClientUrls.concat(config.listenClientHttpUrls, config.listenMetricsUrls).find(isSecure);
  const peers = config.listenPeerUrls.find(isSecure);
  requirePair('--cert-file', config.certFile, '--key-file', config.keyFile);
  requirePair('--peer-cert-file', config.peerCertFile, '--peer-key-file', config.peerKeyFile);
  requireDialPair('--client-cert-file', config.clientCertFile, '--client-key-file', config.clientKeyFile);
  requireDialPair(
    '--peer-client-cert-file',
    config.peerClientCertFile,
    '--peer-client-key-file',
    config.peerClientKeyFile,
  );
  if (clients !== undefined) {
    requireHttp2Suites(config.cipherSuites, config.tlsMinVersion !== 'TLS1.3');
    if (config.certFile === '' && !config.autoTls) {
      throw new OperatorError(
        `TLS key/cert (--cert-file, --key-file) must be provided for client url ${clients.url} with HTTPS scheme`,
        'Give both, or --auto-tls to have them made.',
      );
    }
  }
  if (peers !== undefined && config.peerCertFile === '' && !config.peerAutoTls) {
    throw new OperatorError(
      `cannot listen on TLS for ${peers.url.replace(/^[a-z]+:\/\//, '')}: KeyFile and CertFile are not presented`,
      'Give --peer-cert-file and --peer-key-file, or --peer-auto-tls to have them made.',
    );
  }
  const { peerCertAllowedCommonNames: names, peerCertAllowedHostnames: hosts } = config;
  if (names.length > 0 && hosts.length > 0) {
    throw new OperatorError(
      `AllowedCNs and AllowedHostnames are mutually exclusive (cns=[${quoted(names)}], hostnames=[${quoted(hosts)}])`,
      'Give --peer-cert-allowed-cn or --peer-cert-allowed-hostname, not both.',
    );
  }
  const isMade = (config.autoTls && clients !== undefined) || (config.peerAutoTls && peers !== undefined);
  if (isMade && config.selfSignedCertYears === 0) {
    throw new OperatorError(
      'selfSignedCertValidity is invalid,it should be greater than 0',
      'Give --self-signed-cert-validity in years.',
    );
  }
  if (config.tlsHandshakeTimeoutMs <= 0) throw new OperatorError('--tls-handshake-timeout must be above 0');
  if (config.tlsHandshakesMax === 0) throw new OperatorError('--tls-handshakes-max must be above 0');
}

function validateVersions({ tlsMinVersion, tlsMaxVersion, cipherSuites }: MemberConfig): void {
  for (const version of [tlsMinVersion, tlsMaxVersion]) {
    if (['', 'TLS1.2', 'TLS1.3'].includes(version)) continue;
    throw new OperatorError(
      `unexpected TLS version "${version}" (must be one of: TLS1.2, TLS1.3)`,
      'Look at --tls-min-version and --tls-max-version.',
    );
  }
  if (tlsMinVersion === 'TLS1.3' && tlsMaxVersion === 'TLS1.2') {
    throw new OperatorError('min version (TLS1.3) is greater than max version (TLS1.2)');
  }
  if (tlsMinVersion === 'TLS1.3' && cipherSuites.length > 0) {
    throw new OperatorError(
      'cipher suites cannot be configured when only TLS1.3 is enabled',
      'Leave out --cipher-suites.',
    );
  }
}

function requirePair(certFlag: string, cert: string, keyFlag: string, key: string): void {
  if ((cert === '') === (key === '')) return;
  throw new OperatorError(
    `KeyFile and CertFile must both be present[key: ${key}, cert: ${cert}]`,
    `Give both ${certFlag} and ${keyFlag}.`,
  );
}

function requireDialPair(certFlag: string, cert: string, keyFlag: string, key: string): void {
  if ((cert === '') === (key === '')) return;
  throw new OperatorError(
    `ClientKeyFile and ClientCertFile must both be present or both absent: key: ${key}, cert: ${cert}]`,
    `Give both ${certFlag} and ${keyFlag}.`,
  );
}

/** Whether TLS is spoken there. */
export function isSecure(endpoint: Endpoint): boolean {
  return endpoint.scheme === 'https' || endpoint.scheme === 'unixs';
}

function quoted(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(' ');
}
