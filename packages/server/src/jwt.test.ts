import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { JwtKeyError, JwtTokens } from './jwt.ts';
import { JwtKeys } from './jwt-keys.ts';

const pem = {
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
};

function keys(method: string): { privateKey: Buffer; publicKey: Buffer | null } {
  if (method.startsWith('HS')) return { privateKey: Buffer.from('a shared secret'), publicKey: null };
  const curve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[method];
  const pair =
    method === 'EdDSA'
      ? generateKeyPairSync('ed25519', pem as never)
      : curve !== undefined
        ? generateKeyPairSync('ec', { namedCurve: curve, ...pem } as never)
        : generateKeyPairSync('rsa', { modulusLength: 2048, ...pem } as never);
  const { privateKey, publicKey } = pair as unknown as { privateKey: string; publicKey: string };
  return { privateKey: Buffer.from(privateKey), publicKey: Buffer.from(publicKey) };
}

const clock = { now: 1_700_000_000_000, wallMs: () => clock.now };
const make = (signMethod: string, privateKey: Buffer | null, publicKey: Buffer | null) =>
  new JwtTokens({ clock, signMethod, privateKey, publicKey, ttlMs: 600_000 });
const METHODS = 'HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA'.split(' ');

for (const method of METHODS) {
  // Goal: each method signs what it verifies, also where only the public key is known, and nothing else passes.
  test(`${method}: what one member signs another verifies`, () => {
    const { privateKey, publicKey } = keys(method);
    const signer = make(method, privateKey, publicKey);
    const verifier = publicKey === null ? make(method, privateKey, null) : make(method, null, publicKey);
    const token = signer.issue('joe', 7) as string;
    const caller = verifier.caller(token);
    assert.deepEqual([caller?.username, caller?.authRevision], ['joe', 7]);
    if (publicKey !== null) assert.equal(verifier.issue('joe', 7), null, 'it can not sign');
    const [head, body, signature] = token.split('.') as [string, string, string];
    const claims = { username: 'root', revision: 7, exp: 9e9 };
    const forged = Buffer.from(JSON.stringify(claims)).toString('base64url');
    assert.equal(verifier.caller(`${head}.${forged}.${signature}`), null, 'other claims');
    assert.equal(verifier.caller(`${head}.${body}.`), null, 'no signature');
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    assert.equal(verifier.caller(`${none}.${body}.${signature}`), null, 'another method');
    const stranger = make(method, method.startsWith('HS') ? Buffer.from('other') : keys(method).privateKey, null);
    assert.equal(verifier.caller(stranger.issue('joe', 7) as string), null, 'another key');
  });
}

test('a public key is no secret for HMAC', () => {
  const { privateKey, publicKey } = keys('RS256');
  const verifier = make('RS256', privateKey, publicKey);
  const forger = make('HS256', publicKey, null);
  assert.equal(verifier.caller(forger.issue('root', 7) as string), null);
});

test('a token ends at its time, also where it was verified before', () => {
  const tokens = make('HS256', Buffer.from('secret'), null);
  const token = tokens.issue('joe', 7) as string;
  assert.notEqual(tokens.caller(token), null);
  clock.now += 600_000;
  assert.equal(tokens.caller(token), null);
});

test('keys that are missing, of another kind or not a pair are refused', () => {
  const rsa = keys('RS256');
  const ec = keys('ES256');
  const refused = (text: RegExp, ...parts: Parameters<typeof make>) =>
    assert.throws(
      () => make(...parts),
      (error: Error) => error instanceof JwtKeyError && text.test(error.message),
    );
  refused(/auth: missing key data/, 'RS256', null, null);
  refused(/auth: missing key data/, 'HS256', null, rsa.publicKey);
  refused(/auth: missing key data/, 'HS256', Buffer.alloc(0), null);
  refused(/does not sign/, 'RS256', ec.privateKey, null);
  refused(/does not sign/, 'ES384', ec.privateKey, null);
  refused(/does not sign/, 'EdDSA', ec.privateKey, null);
  refused(/don't match/, 'RS256', rsa.privateKey, keys('RS256').publicKey);
  refused(/can not be read/, 'RS256', Buffer.from('nonsense'), null);
});

test('claims that are not as they should be are no login', () => {
  const tokens = make('HS256', Buffer.from('secret'), null);
  for (const text of ['', '.', '..', 'a.b', 'a.b.c.d', '!!.!!.!!', 'e30.e30.e30'])
    assert.equal(tokens.caller(text), null);
});

// Goal: keys are changed without anybody having to log in again: first the new one is made known, then it signs.
test('tokens of a former key are good as long as it is among those that verify', () => {
  for (const method of ['RS256', 'HS256']) {
    const former = keys(method);
    const next = keys(method);
    if (method === 'HS256') next.privateKey = Buffer.from('another secret');
    const tokens = make(method, former.privateKey, null);
    const token = tokens.issue('joe', 7) as string;
    const replace = (verifyKeys: Buffer[]) =>
      tokens.replaceKeys(new JwtKeys({ signMethod: method, ...next, verifyKeys }));
    replace([former.publicKey ?? former.privateKey]);
    assert.equal(tokens.caller(token)?.username, 'joe');
    const later = tokens.issue('joe', 7) as string;
    assert.equal(make(method, next.privateKey, null).caller(later)?.username, 'joe', 'the new key signs');
    replace([]);
    assert.equal(tokens.caller(token), null, 'the former key is gone');
    assert.equal(tokens.caller(later)?.username, 'joe');
  }
});

test('a file of several public keys verifies with each of them', () => {
  const [one, two] = [keys('ES256'), keys('ES256')] as const;
  const both = Buffer.concat([one.publicKey as Buffer, two.publicKey as Buffer]);
  const verifier = make('ES256', null, both);
  for (const { privateKey } of [one, two]) {
    assert.notEqual(verifier.caller(make('ES256', privateKey, both).issue('joe', 7) as string), null);
  }
  const many = Buffer.concat(Array.from({ length: 17 }, () => keys('ES256').publicKey as Buffer));
  assert.throws(() => make('ES256', null, many), JwtKeyError);
});
