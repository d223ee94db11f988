/** Goal: who shows a signed token or a certificate is who it says, and nobody else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { aloneIn, run, scratch } from '../process/program.ts';
import { hasOpenssl, makeCertificates } from '../support/certificates.ts';
import { startServer } from '../support/server.ts';
import { Side } from './side.ts';

const key = (text: string): Buffer => Buffer.from(text);
const READ = { method: 'KV/Range', message: { key: key('a') } };

function keyFiles(): { privateKey: string; publicKey: string } {
  const folder = scratch();
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const files = { privateKey: join(folder, 'private.pem'), publicKey: join(folder, 'public.pem') };
  writeFileSync(files.privateKey, pair.privateKey);
  writeFileSync(files.publicKey, pair.publicKey);
  return files;
}

// Method: both servers share a key and have the same users, so each must take what the other has signed.
test('signed tokens are exchanged with etcd, both ways', { skip: needsPeer('etcd') }, async () => {
  const { privateKey, publicKey } = keyFiles();
  const flags = [`--auth-token=jwt,sign-method=RS256,priv-key=${privateKey},pub-key=${publicKey},ttl=10m`];
  const [etcd, etsd] = await Promise.all([Side.start('etcd', flags), Side.start('etsd', flags)]);
  try {
    for (const side of [etcd, etsd]) {
      const perm = { permType: 'READ', key: key('a') };
      await side.asRoot('Auth/RoleGrantPermission', { name: 'r1', perm });
      assert.equal(
        await side.decide('ann', READ),
        '3 etcdserver: revision of auth store is old',
        'it names a revision',
      );
      for (const name of ['root', 'ann', 'bob']) await side.logIn(name);
    }
    const own = new Map(etsd.tokens);
    for (const [name, token] of etcd.tokens) etsd.tokens.set(name, token);
    for (const [name, token] of own) etcd.tokens.set(name, token);
    for (const side of [etcd, etsd]) {
      assert.equal(await side.decide('root', READ), '0 ');
      assert.equal(await side.decide('ann', READ), '0 ');
      assert.equal(await side.decide('bob', READ), '7 etcdserver: permission denied');
      side.tokens.set('ann', `${side.tokens.get('ann')?.slice(0, -6)}AAAAAA`);
      assert.equal(await side.decide('ann', READ), '16 etcdserver: invalid auth token');
    }
  } finally {
    await Promise.all([etcd.dispose(), etsd.dispose()]);
  }
});

test('--auth-token that says nothing sensible is refused', async () => {
  const { privateKey, publicKey } = keyFiles();
  const data = join(scratch(), 'data');
  const plain = await aloneIn(data);
  const cases: [string, RegExp][] = [
    ['foo', /auth: invalid auth options/],
    ['jwt', /auth: invalid auth options/],
    ['jwt,foo', /auth: invalid auth options/],
    ['jwt,sign-method=RS256,sign-method=RS256', /auth: invalid auth options/],
    ['jwt,sign-method=RS256', /auth: missing key data/],
    [`jwt,sign-method=RS256,priv-key=${privateKey},ttl=soon`, /auth: invalid auth options/],
    ['jwt,sign-method=RS256,priv-key=/nowhere.pem', /can not read \/nowhere\.pem/],
    [`jwt,sign-method=ES256,priv-key=${privateKey}`, /does not sign as the method says/],
    [`jwt,sign-method=RS256,priv-key=${privateKey},pub-key=${keyFiles().publicKey}`, /don't match/],
    [`jwt,sign-method=HS256,pub-key=${publicKey}`, /auth: missing key data/],
  ];
  for (const [choice, wanted] of cases) {
    const { code, stderr } = await run([...plain, '--auth-token', choice]);
    assert.equal(code, 1, `${choice}: ${stderr}`);
    assert.match(stderr, wanted, choice);
    assert.doesNotMatch(stderr, /stacktrace|BEGIN/);
    assert.equal(existsSync(data), false, 'nothing is made on disk');
  }
});

const skip = needsPeer('etcdctl') || (!hasOpenssl() && 'openssl not found');

test('the common name of a certificate is the user, unless a token says otherwise', { skip }, async () => {
  const folder = makeCertificates(scratch());
  const at = (name: string): string => join(folder, name);
  const url = `https://127.0.0.1:${await freePort()}`;
  const own = ['--cert-file', at('server.pem'), '--key-file', at('server.key')];
  const demanded = ['--trusted-ca-file', at('ca.pem'), '--client-cert-auth', '--bcrypt-cost=4'];
  const flags = ['--listen-client-urls', url, '--advertise-client-urls', url, ...own, ...demanded];
  const server = await startServer({ product: 'etsd', flags });
  const etcdctl = (certificate: string, words: string): string => {
    const tls = ['--cacert', at('ca.pem'), '--cert', at(`${certificate}.pem`), '--key', at(`${certificate}.key`)];
    const program = findPeerProgram('etcdctl') as string;
    const env = { ...process.env, ETCDCTL_API: '3' };
    try {
      const options = { encoding: 'utf8', env, stdio: 'pipe' } as const;
      return execFileSync(program, ['--endpoints', url, ...tls, ...words.split(' ')], options);
    } catch (error) {
      return (error as { stderr: string }).stderr.split('\n').at(-2) ?? '';
    }
  };
  try {
    for (const words of [
      'user add root:pw',
      'user grant-role root root',
      'user add client --no-password',
      'role add r',
      'role grant-permission r readwrite a',
      'user grant-role client r',
      'auth enable',
    ]) {
      etcdctl('client', words);
    }
    assert.equal(etcdctl('client', 'put a 1'), 'OK\n');
    assert.equal(etcdctl('client', 'get a --print-value-only'), '1\n');
    assert.equal(etcdctl('client', 'get b'), 'Error: etcdserver: permission denied');
    assert.equal(etcdctl('client', 'user list'), 'Error: etcdserver: permission denied');
    assert.equal(etcdctl('server', 'get a'), 'Error: etcdserver: permission denied', 'a name that is no user');
    assert.equal(etcdctl('client', '--user root:pw user list'), 'client\nroot\n', 'the token counts');
  } finally {
    await server.dispose();
  }
});
