/** Goal: clients over TLS, with and without certificates of their own. Method: certificates made by openssl, etcdctl. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, needsPeer } from '../support/binaries.ts';
import { freePort, startServer, type TestServer } from '../support/server.ts';
import { aloneIn, run, scratch } from './program.ts';

function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const skip = needsPeer('etcdctl') || (!hasOpenssl() && 'openssl not found');

/** An authority, and certificates of it for the server and a client; another authority with a client of its own. */
function makeCertificates(): string {
  const folder = scratch();
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'ignore' });
  writeFileSync(
    join(folder, 'san'),
    'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  for (const [authority, names] of [
    ['ca', ['server', 'client']],
    ['other-ca', ['stranger']],
  ] as const) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl(
      'req',
      '-x509',
      ...key,
      '-subj',
      `/CN=${authority}`,
      '-days',
      '2',
      '-keyout',
      `${authority}.key`,
      '-out',
      `${authority}.pem`,
    );
    for (const name of names) {
      openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
      const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial'];
      openssl('x509', '-req', '-in', `${name}.csr`, ...signer, '-days', '2', '-extfile', 'san', '-out', `${name}.pem`);
    }
  }
  return folder;
}

const folder = skip === false ? makeCertificates() : '';
const at = (name: string): string => join(folder, name);

async function startSecure(flags: string[]): Promise<{ server: TestServer; url: string }> {
  const url = `https://127.0.0.1:${await freePort()}`;
  const urls = ['--listen-client-urls', url, '--advertise-client-urls', url];
  const own = ['--cert-file', at('server.pem'), '--key-file', at('server.key')];
  return { server: await startServer({ product: 'etsd', flags: [...urls, ...own, ...flags] }), url };
}

async function etcdctl(url: string, words: string[]): Promise<{ code: number | null; text: string }> {
  const program = [
    findPeerProgram('etcdctl') as string,
    '--endpoints',
    url,
    '--dial-timeout',
    '2s',
    '--command-timeout',
    '3s',
  ];
  const { code, stdout, stderr } = await run(words, { ETCDCTL_API: '3' }, program);
  return { code, text: stdout + stderr };
}

test("TLS with the server's certificate", { skip }, async () => {
  const { server, url } = await startSecure([]);
  try {
    assert.deepEqual(await etcdctl(url, ['--cacert', at('ca.pem'), 'put', 'a', 'b']), { code: 0, text: 'OK\n' });
    assert.deepEqual(await etcdctl(url, ['--cacert', at('ca.pem'), 'get', 'a']), { code: 0, text: 'a\nb\n' });
    assert.notEqual((await etcdctl(url, ['--cacert', at('other-ca.pem'), 'get', 'a'])).code, 0, 'another authority');
    assert.notEqual((await etcdctl(url.replace('https', 'http'), ['get', 'a'])).code, 0, 'no TLS');
    assert.ok(server.logs.some((line) => line.includes('serving client traffic securely')));
  } finally {
    await server.dispose();
  }
});

test('TLS with certificates of the clients demanded', { skip }, async () => {
  const { server, url } = await startSecure(['--trusted-ca-file', at('ca.pem'), '--client-cert-auth']);
  const as = (name: string): string[] => [
    '--cacert',
    at('ca.pem'),
    '--cert',
    at(`${name}.pem`),
    '--key',
    at(`${name}.key`),
  ];
  try {
    assert.deepEqual(await etcdctl(url, [...as('client'), 'put', 'a', 'b']), { code: 0, text: 'OK\n' });
    const health = await etcdctl(url, [...as('client'), 'endpoint', 'health']);
    assert.match(health.text, /is healthy/);
    assert.notEqual((await etcdctl(url, ['--cacert', at('ca.pem'), 'get', 'a'])).code, 0, 'no certificate');
    assert.notEqual(
      (await etcdctl(url, [...as('stranger'), 'get', 'a'])).code,
      0,
      'a certificate of another authority',
    );
    assert.deepEqual(await etcdctl(url, [...as('client'), 'get', 'a']), { code: 0, text: 'a\nb\n' });
  } finally {
    await server.dispose();
  }
});

test('certificate files that are missing or no certificates are named', { skip }, async () => {
  writeFileSync(at('empty.pem'), '');
  const plain = await aloneIn(join(scratch(), 'data'));
  const words = plain.map((word) => word.replace('http://', 'https://'));
  const cases: [string[], RegExp][] = [
    [[], /cert-file/],
    [['--cert-file', at('no.pem'), '--key-file', at('server.key')], /--cert-file .*no\.pem cannot be read/],
    [['--cert-file', at('empty.pem'), '--key-file', at('server.key')], /--cert-file .*empty\.pem/],
    [['--cert-file', at('server.pem'), '--key-file', at('client.key')], /--key-file .*client\.key/],
  ];
  for (const [more, wanted] of cases) {
    const { code, stderr } = await run([...words, ...more]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, wanted);
    assert.doesNotMatch(stderr, /stacktrace/);
  }
});
