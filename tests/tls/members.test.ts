/**
 * Goal: the peer port takes and refuses the same certificates as etcd's, and members whose certificates are made for
 * them find each other. Method: the same flags and the same clients for both products, and a cluster of both.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import { freePort, needsPeer } from '@etsd/testkit';
import { hasOpenssl, TestAuthorities } from '../support/certificates.ts';
import { Client } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, startServer, TestServer } from '../support/server.ts';

const skip = hasOpenssl() ? needsPeer('etcd') : 'openssl not found';

interface Probe {
  /** Of the certificate; null: none is shown. */
  readonly certificate: string | null;
  readonly from?: string;
  readonly isTaken: boolean;
  /** What etsd says of the refusal. */
  readonly why?: RegExp;
}

interface Setting {
  readonly name: string;
  readonly flags: (at: (file: string) => string) => string[];
  readonly probes: readonly Probe[];
}

const SETTINGS: readonly Setting[] = [
  {
    name: 'authorities and addresses',
    flags: (at) => [
      '--peer-trusted-ca-file',
      at('ca.pem'),
      '--peer-client-cert-auth',
      '--peer-crl-file',
      at('gone.crl'),
    ],
    probes: [
      { certificate: 'here', isTaken: true },
      { certificate: null, isTaken: false, why: /didn't provide a certificate/ },
      { certificate: 'stranger', isTaken: false, why: /failed to verify certificate/ },
      {
        certificate: 'elsewhere',
        isTaken: false,
        why: /x509: certificate is valid for 127\.0\.0\.5, not 127\.0\.0\.1/,
      },
      { certificate: 'elsewhere', from: '127.0.0.5', isTaken: true },
      { certificate: 'named', isTaken: true },
      {
        certificate: 'misnamed',
        isTaken: false,
        why: /tls: "127\.0\.0\.1" does not match any of DNSNames \["etsd\.invalid"\]/,
      },
      { certificate: 'nameless', isTaken: true },
      { certificate: 'gone', isTaken: false, why: /transport: certificate serial [0-9a-f]+ revoked/ },
    ],
  },
  {
    name: 'addresses not looked at, common names',
    flags: (at) => [
      ...['--peer-trusted-ca-file', at('ca.pem'), '--experimental-peer-skip-client-san-verification'],
      ...['--peer-cert-allowed-cn', 'elsewhere'],
    ],
    probes: [
      { certificate: 'elsewhere', isTaken: true },
      { certificate: 'here', isTaken: false, why: /client certificate authentication failed/ },
    ],
  },
  {
    name: 'host names',
    flags: (at) => ['--peer-trusted-ca-file', at('ca.pem'), '--peer-cert-allowed-hostname', 'localhost'],
    probes: [
      { certificate: 'named', isTaken: true },
      { certificate: 'here', isTaken: false, why: /client certificate authentication failed/ },
    ],
  },
];

describe('the peer port', { skip }, () => {
  const files = new TestAuthorities(skip === false ? mkdtempSync(join(tmpdir(), 'etsd-tls-members-')) : '');
  const at = (file: string): string => files.at(file);

  before(() => {
    files.authority('ca');
    files.authority('other');
    files.issue('ca', 'here', { names: 'IP:127.0.0.1' });
    files.issue('other', 'stranger', { names: 'IP:127.0.0.1' });
    files.issue('ca', 'elsewhere', { names: 'IP:127.0.0.5' });
    files.issue('ca', 'named', { names: 'DNS:localhost' });
    files.issue('ca', 'misnamed', { names: 'DNS:etsd.invalid' });
    files.issue('ca', 'nameless', { names: 'email:a@etsd.invalid' });
    files.issue('ca', 'gone', { names: 'IP:127.0.0.1' });
    files.revoke('ca', 'gone.crl', ['gone']);
  });
  after(() => files.remove());

  async function start(product: Product, flags: string[]): Promise<TestServer> {
    const peerPort = await freePort();
    const url = `https://127.0.0.1:${peerPort}`;
    const own = ['--peer-cert-file', at('here.pem'), '--peer-key-file', at('here.key'), '--listen-peer-urls', url];
    const membership = {
      name: 'm',
      advertisePeerUrl: url,
      initialCluster: `m=${url}`,
      state: 'new' as const,
      token: 't',
    };
    return await startServer({ product, peerPort, membership, flags: [...own, ...flags] });
  }

  /** Whether a request to the peer port is answered. */
  function ask(port: number, { certificate, from }: Probe): Promise<boolean> {
    const own =
      certificate === null
        ? {}
        : { cert: readFileSync(at(`${certificate}.pem`)), key: readFileSync(at(`${certificate}.key`)) };
    return new Promise((resolve) => {
      const socket = connect({
        port,
        host: '127.0.0.1',
        localAddress: from,
        rejectUnauthorized: false,
        ...own,
      } as ConnectionOptions & { localAddress?: string });
      socket.write('GET /version HTTP/1.1\r\nHost: m\r\n\r\n');
      socket.on('data', () => {
        resolve(true);
        socket.destroy();
      });
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(false));
    });
  }

  for (const { name, flags, probes } of SETTINGS) {
    it(name, { timeout: 120_000 }, async () => {
      for (const product of ['etcd', 'etsd'] as const) {
        const server = await start(product, flags(at));
        try {
          for (const probe of probes) {
            const what = `${product}: ${probe.certificate} from ${probe.from ?? '127.0.0.1'}`;
            const before = server.logs.length;
            assert.equal(await ask(server.peerPort, probe), probe.isTaken, what);
            if (product === 'etcd' || probe.why === undefined) continue;
            const refusals = (): string[] =>
              server.logs.slice(before).filter((line) => line.includes('rejected connection on peer endpoint'));
            await eventually(10_000, `${what}: a line`, () => (refusals().length > 0 ? true : null));
            assert.equal(refusals().length, 1, refusals().join());
            assert.match(JSON.parse(refusals()[0] as string).error, probe.why, what);
          }
        } finally {
          await server.dispose();
        }
      }
    });
  }
});

test('certificates made for members and clients', { skip, timeout: 120_000 }, async () => {
  const members: TestServer[] = [];
  try {
    for (const [index, product] of (['etsd', 'etsd', 'etcd'] as const).entries()) {
      const [clientPort, peerPort] = [await freePort(), await freePort()];
      const url = `https://127.0.0.1:${peerPort}`;
      const membership = {
        name: `m${index}`,
        advertisePeerUrl: url,
        initialCluster: '',
        state: 'new' as const,
        token: 'made',
      };
      const flags = ['--listen-peer-urls', url, '--peer-auto-tls', '--auto-tls', '--self-signed-cert-validity', '2'];
      const clients = `http://127.0.0.1:${clientPort},https://127.0.0.1:${await freePort()}`;
      const urls = ['--listen-client-urls', clients, '--advertise-client-urls', clients];
      members.push(
        new TestServer({ product, flags: [...flags, ...urls], membership, readyMs: 90_000 }, clientPort, peerPort),
      );
    }
    const all = members.map(({ membership }) => `${membership.name}=${membership.advertisePeerUrl}`).join(',');
    for (const { membership } of members) membership.initialCluster = all;
    await Promise.all(members.map((member) => member.start()));
    const client = new Client((members[0] as TestServer).address);
    await client.expect('KV/Put', { key: Buffer.from('a'), value: Buffer.from('b') });
    client.close();
    const made = members.map(({ dataDir }) => {
      const read = (side: string): X509Certificate =>
        new X509Certificate(readFileSync(join(dataDir, `member.etcd/fixtures/${side}/cert.pem`)));
      return { peer: read('peer'), client: read('client') };
    });
    const shape = ({ peer, client }: (typeof made)[number]): unknown =>
      [peer, client].map((each) => [
        each.subject,
        each.issuer,
        each.subjectAltName,
        each.keyUsage,
        each.ca,
        each.publicKey.asymmetricKeyDetails,
        Math.round((Date.parse(each.validTo) - Date.parse(each.validFrom)) / 86_400_000),
      ]);
    assert.deepEqual(
      shape(made[0] as (typeof made)[number]),
      shape(made[2] as (typeof made)[number]),
      'as etcd makes them',
    );
    // The next start uses what is there.
    const [first] = members as [TestServer];
    await first.stop();
    await first.start();
    const again = readFileSync(join(first.dataDir, 'member.etcd/fixtures/peer/cert.pem'));
    assert.equal(new X509Certificate(again).fingerprint256, made[0]?.peer.fingerprint256);
  } finally {
    for (const member of members) await member.dispose();
  }
});
