/** Goal: flags about TLS that contradict each other are refused in etcd's words, as its 3.5 writes them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperatorError } from '@etsd/base';
import { buildConfig } from './config.ts';

const CLIENTS = { 'listen-client-urls': 'https://127.0.0.1:1', 'advertise-client-urls': 'https://127.0.0.1:1' };
const PEERS = { 'listen-peer-urls': 'https://127.0.0.1:2' };
const PAIR = { 'cert-file': 'a.pem', 'key-file': 'a.key' };
const PEER_PAIR = { 'peer-cert-file': 'a.pem', 'peer-key-file': 'a.key' };
const SUITE = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256';

const REFUSED: ReadonlyArray<readonly [settings: Record<string, string>, message: string]> = [
  [
    CLIENTS,
    'TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme',
  ],
  [PEERS, 'cannot listen on TLS for 127.0.0.1:2: KeyFile and CertFile are not presented'],
  [{ 'cert-file': 'a.pem' }, 'KeyFile and CertFile must both be present[key: , cert: a.pem]'],
  [{ 'peer-key-file': 'a.key' }, 'KeyFile and CertFile must both be present[key: a.key, cert: ]'],
  [
    { ...PAIR, 'client-cert-file': 'b.pem' },
    'ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: b.pem]',
  ],
  [
    { ...PEER_PAIR, 'peer-client-key-file': 'b.key' },
    'ClientKeyFile and ClientCertFile must both be present or both absent: key: b.key, cert: ]',
  ],
  [
    { 'peer-cert-allowed-cn': 'a,b', 'peer-cert-allowed-hostname': 'c' },
    'AllowedCNs and AllowedHostnames are mutually exclusive (cns=["a" "b"], hostnames=["c"])',
  ],
  [{ 'tls-min-version': 'TLS1.1' }, 'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)'],
  [{ 'tls-max-version': '1.3' }, 'unexpected TLS version "1.3" (must be one of: TLS1.2, TLS1.3)'],
  [
    { 'tls-min-version': 'TLS1.3', 'tls-max-version': 'TLS1.2' },
    'min version (TLS1.3) is greater than max version (TLS1.2)',
  ],
  [
    { 'tls-min-version': 'TLS1.3', 'cipher-suites': SUITE },
    'cipher suites cannot be configured when only TLS1.3 is enabled',
  ],
  [{ 'cipher-suites': 'FOO' }, 'unexpected TLS cipher suite "FOO"'],
  [
    { ...CLIENTS, ...PAIR, 'cipher-suites': 'TLS_AES_128_GCM_SHA256' },
    'http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher (need at least one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)',
  ],
  [
    { ...CLIENTS, 'auto-tls': 'true', 'self-signed-cert-validity': '0' },
    'selfSignedCertValidity is invalid,it should be greater than 0',
  ],
  [{ 'tls-handshake-timeout': '0s' }, '--tls-handshake-timeout must be above 0'],
];

describe('flags about TLS', () => {
  for (const [settings, message] of REFUSED) {
    it(`refuses ${JSON.stringify(settings)}`, () =>
      assert.throws(
        () => buildConfig(new Map(Object.entries(settings))),
        (error) => {
          assert.ok(error instanceof OperatorError);
          assert.equal(error.message, message);
          return true;
        },
      ));
  }

  const accepted: Record<string, string>[] = [
    { ...CLIENTS, 'auto-tls': 'true' },
    { ...PEERS, 'peer-auto-tls': 'true' },
    { ...CLIENTS, ...PAIR, 'client-cert-auth': 'true', 'cipher-suites': SUITE, 'tls-max-version': 'TLS1.2' },
    { ...CLIENTS, ...PAIR, 'tls-min-version': '', 'tls-max-version': '' },
    // Without an address of TLS what is given in vain is only warned of.
    { 'client-cert-auth': 'true', 'auto-tls': 'true', 'self-signed-cert-validity': '0' },
  ];
  for (const settings of accepted) {
    it(`accepts ${JSON.stringify(settings)}`, () => {
      buildConfig(new Map(Object.entries(settings)));
    });
  }
});
