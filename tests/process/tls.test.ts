/** Goal: clients over TLS, with and without certificates of their own. Method: certificates made by openssl, etcdctl. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { hasOpenssl, makeCertificates } from '../support/certificates.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { aloneIn, run, scratch } from './program.ts';

const skip = needsPeer('etcdctl') || (!hasOpenssl() && 'openssl not found');

const folder = skip === false ? makeCertificates(scratch()) : '';
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
  const words = plain.map((word, index) =>
    /client-urls$/.test(plain[index - 1] ?? '') ? word.replace('http://', 'https://') : word,
  );
  writeFileSync(at('text.pem'), 'no certificate');
  const pair = ['--cert-file', at('server.pem'), '--key-file', at('server.key')];
  const cases: [string[], RegExp][] = [
    [[], /TLS key\/cert \(--cert-file, --key-file\) must be provided for client url https:/],
    [['--cert-file', at('server.pem'), '--key-file', at('text.pem')], /--key-file .*text\.pem is no private key/],
    [[...pair, '--trusted-ca-file', at('no.pem')], /--trusted-ca-file .*no\.pem cannot be read/],
    [[...pair, '--trusted-ca-file', at('text.pem')], /--trusted-ca-file .*text\.pem holds no certificate in PEM form/],
    [[...pair, '--client-crl-file', at('no.crl')], /--client-crl-file .*no\.crl cannot be read/],
    [
      [...pair, '--client-crl-file', at('server.pem')],
      /--client-crl-file .*server\.pem is no list of revoked certificates/,
    ],
    [[...pair, '--client-cert-file', at('client.pem')], /ClientKeyFile and ClientCertFile must both be present/],
    [[...pair, '--cipher-suites', 'FOO'], /unexpected TLS cipher suite \\"FOO\\"/],
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
