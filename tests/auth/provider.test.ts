import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually } from '../support/conditions.ts';
import { Side } from './side.ts';

const folder = mkdtempSync(join(tmpdir(), 'etsd-keys-'));
after(() => rmSync(folder, { recursive: true }));

const key = Buffer.from('a');
const READ = { method: 'KV/Range', message: { key } };

interface SigningKey {
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function newKey(id: string): SigningKey {
  return { id, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) };
}

function tokenOf({ id, privateKey }: SigningKey, claims: object): string {
  const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url');
  const signed = `${part({ alg: 'ES256', kid: id })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

// Goal: users come from a provider whose keys change, without the member being told, and nobody else gets in by it.
// Method: a provider of our own that serves its keys by HTTP on this machine.
test('tokens of an identity provider', async () => {
  let keys = [newKey('one')];
  let broken = false;
  let served = 0;
  const provider = createServer((_request, response) => {
    served++;
    const set = keys.map(({ id, publicKey }) => ({ ...publicKey.export({ format: 'jwk' }), kid: id }));
    response.end(broken ? '<html>busy</html>' : JSON.stringify({ keys: set }));
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const { port } = provider.address() as { port: number };
  const flag = `oidc,issuer=https://login.example,audience=etsd,jwks=http://127.0.0.1:${port}/keys,username-prefix=sso:,refresh=1s`;
  const side = await Side.start('etsd', ['--auth-token', flag]);
  try {
    await side.asRoot('Auth/UserAdd', { name: 'sso:ann', options: { no_password: true } });
    await side.asRoot('Auth/RoleGrantPermission', { name: 'r1', perm: { permType: 'READ', key } });
    await side.asRoot('Auth/UserGrantRole', { user: 'sso:ann', role: 'r1' });
    const claims = { iss: 'https://login.example', aud: 'etsd', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600 };
    const decide = (token: string) => {
      side.tokens.set('sso', token);
      return side.decide('sso', READ);
    };
    const [first] = keys as [SigningKey];
    assert.equal(await decide(tokenOf(first, claims)), '0 ');
    assert.equal(await side.decide('sso', { method: 'KV/Put', message: { key } }), '7 etcdserver: permission denied');
    assert.equal(await decide(tokenOf(first, { ...claims, sub: 'bob' })), '7 etcdserver: permission denied', 'no user');
    assert.equal(await decide(tokenOf(first, { ...claims, aud: 'other' })), '16 etcdserver: invalid auth token');
    assert.equal(await decide(tokenOf(newKey('one'), claims)), '16 etcdserver: invalid auth token');
    assert.equal(await side.decide('ann', READ), '0 ', 'who logged in with a password is still who it is');
    const next = newKey('two');
    keys = [next];
    await eventually(20_000, 'the new key is known', async () =>
      (await decide(tokenOf(next, claims))) === '0 ' ? true : null,
    );
    assert.equal(await decide(tokenOf(first, claims)), '16 etcdserver: invalid auth token', 'the former key is gone');
    broken = true;
    const before = served;
    await eventually(20_000, 'the broken answer was seen', async () => (served > before + 1 ? true : null));
    assert.equal(await decide(tokenOf(next, claims)), '0 ', 'what was good is kept');
  } finally {
    await side.dispose();
    provider.close();
  }
});

// Goal: the key that signs is changed while clients go on with the tokens they have.
test('keys of signed tokens are changed while the member runs', async () => {
  const file = (name: string) => join(folder, name);
  const write = (name: string, { publicKey, privateKey }: SigningKey) => {
    writeFileSync(file(`${name}.key`), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(file(`${name}.pub`), publicKey.export({ type: 'spki', format: 'pem' }));
  };
  const [former, next] = [newKey('1'), newKey('2')];
  write('signing', former);
  write('former', former);
  const flag = `jwt,sign-method=ES256,priv-key=${file('signing.key')},verify-keys=${file('former.pub')},ttl=10m`;
  const side = await Side.start('etsd', ['--auth-token', flag]);
  const signedBy = async ({ publicKey }: SigningKey): Promise<boolean> => {
    await side.logIn('root');
    const [head, body, signature] = (side.tokens.get('root') as string).split('.') as [string, string, string];
    const { verify } = await import('node:crypto');
    const bytes = Buffer.from(signature, 'base64url');
    return verify('sha256', Buffer.from(`${head}.${body}`), { key: publicKey, dsaEncoding: 'ieee-p1363' }, bytes);
  };
  try {
    assert.ok(await signedBy(former));
    const early = side.tokens.get('root') as string;
    write('signing', next);
    await eventually(30_000, 'the new key signs', async () => ((await signedBy(next)) ? true : null));
    side.tokens.set('early', early);
    assert.equal(await side.decide('early', READ), '0 ', 'a token of the former key is good');
    writeFileSync(file('signing.key'), 'nonsense');
    const kept = () => side.logs.some((line) => line.includes('kept the former keys of tokens'));
    await eventually(30_000, 'the log tells of the bad key', async () => (kept() ? true : null));
    assert.ok(await signedBy(next), 'the last good one goes on');
    assert.ok(side.logs.every((line) => !line.includes('nonsense')));
  } finally {
    await side.dispose();
  }
});
