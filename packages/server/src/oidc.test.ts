import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { silentLogger } from '@etsd/base';
import { FakeWorld } from './api/surroundings.fixture.ts';
import { JwksError, parseJwks } from './jwks.ts';
import { OidcTokens } from './oidc.ts';
import { SimpleTokens } from './tokens.ts';
import { WatchedDocument } from './watched-document.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function jwk(key: KeyObject, more: object): object {
  return { ...key.export({ format: 'jwk' }), ...more };
}

const SET = Buffer.from(
  JSON.stringify({
    keys: [
      jwk(rsa.publicKey, { kid: 'one', alg: 'RS256', use: 'sig' }),
      jwk(ec.publicKey, { kid: 'two' }),
      jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey, { kid: 'enc', use: 'enc' }),
      jwk(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, { kid: 'short' }),
      { kty: 'oct', k: 'c2VjcmV0', kid: 'shared' },
      { kty: 'RSA', n: '!!', e: 'AQAB' },
      'nonsense',
    ],
  }),
);

const NOW = 1_700_000_000;
const CLAIMS = { iss: 'https://issuer', aud: ['other', 'etsd'], sub: 'ann', exp: NOW + 600 };

function token(claims: object, head: object = { alg: 'RS256', kid: 'one' }, key: KeyObject = rsa.privateKey): string {
  const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url');
  const signed = `${part(head)}.${part(claims)}`;
  const options = key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'ieee-p1363' as const } : { key };
  return `${signed}.${sign('sha256', Buffer.from(signed), options).toString('base64url')}`;
}

function make(): { world: FakeWorld; tokens: OidcTokens; asked: () => number } {
  const world = new FakeWorld();
  world.now = NOW * 1000;
  let asked = 0;
  const tokens = new OidcTokens({
    clock: world.clock,
    issuer: 'https://issuer',
    audience: 'etsd',
    usernameClaim: 'sub',
    usernamePrefix: 'oidc:',
    inner: new SimpleTokens({ random: world.random, clock: world.clock, timers: world.timers, ttlMs: 300_000 }),
    onUnknownKey: () => {
      asked++;
    },
  });
  tokens.replaceKeys(parseJwks(SET));
  return { world, tokens, asked: () => asked };
}

test('of a set those keys are taken that verify signatures', () => {
  assert.deepEqual(
    parseJwks(SET).map(({ id, algorithms }) => [id, algorithms.length]),
    [
      ['one', 1],
      ['two', 1],
    ],
  );
  for (const text of ['', 'null', '[]', '{"keys":{}}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}']) {
    assert.throws(() => parseJwks(Buffer.from(text)), JwksError, text);
  }
  assert.throws(() => parseJwks(Buffer.alloc(300_000, 0x20)), JwksError);
});

test('who shows a token of the provider is whom it names, with rights as they are now', () => {
  const { tokens, asked } = make();
  const one = token(CLAIMS);
  assert.deepEqual({ ...tokens.caller(one, 5) }, { username: 'oidc:ann', authRevision: 5 });
  assert.deepEqual({ ...tokens.caller(one, 6) }, { username: 'oidc:ann', authRevision: 6 });
  const two = token({ ...CLAIMS, aud: 'etsd' }, { alg: 'ES256', kid: 'two' }, ec.privateKey);
  assert.equal(tokens.caller(two, 5)?.username, 'oidc:ann');
  assert.equal(tokens.caller(token(CLAIMS, { alg: 'RS256' }), 5)?.username, 'oidc:ann', 'a token that names no key');
  assert.equal(asked(), 0);
});

// Goal: what is not signed by this provider, for us, for now, is nobody's.
test('anything else is refused', () => {
  const { tokens, asked } = make();
  const refused: [string, string][] = [
    ['another issuer', token({ ...CLAIMS, iss: 'https://other' })],
    ['another audience', token({ ...CLAIMS, aud: 'other' })],
    ['no audience', token({ ...CLAIMS, aud: undefined })],
    ['no end', token({ ...CLAIMS, exp: undefined })],
    ['an end that is no number', token({ ...CLAIMS, exp: `${NOW + 600}` })],
    ['over', token({ ...CLAIMS, exp: NOW - 61 })],
    ['not begun', token({ ...CLAIMS, nbf: NOW + 61 })],
    ['no name', token({ ...CLAIMS, sub: '' })],
    ['a name that is none', token({ ...CLAIMS, sub: { toString: 1 } })],
    ['no algorithm', token(CLAIMS, { alg: 'none', kid: 'one' })],
    ['a shared secret', token(CLAIMS, { alg: 'HS256', kid: 'one' })],
    ['another algorithm than the key is for', token(CLAIMS, { alg: 'PS256', kid: 'one' })],
    ['an extension that must be understood', token(CLAIMS, { alg: 'RS256', kid: 'one', crit: ['x'] })],
    [
      'the key of another',
      token(CLAIMS, { alg: 'RS256', kid: 'one' }, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    ],
    ['a key for encryption', token(CLAIMS, { alg: 'RS256', kid: 'enc' })],
    ['no signature', token(CLAIMS).replace(/[^.]*$/, '')],
    ['too long', token({ ...CLAIMS, more: 'x'.repeat(20_000) })],
    ['nonsense', 'a.b.c'],
  ];
  for (const [name, text] of refused) assert.equal(tokens.caller(text, 5), null, name);
  assert.equal(asked(), 1, 'one named a key that is not among those taken: there may be new ones');
});

test('a token ends at its time, and with its key', () => {
  const { world, tokens } = make();
  const one = token(CLAIMS);
  assert.notEqual(tokens.caller(one, 5), null);
  tokens.replaceKeys(parseJwks(Buffer.from(JSON.stringify({ keys: [jwk(ec.publicKey, { kid: 'two' })] }))));
  assert.equal(tokens.caller(one, 5), null);
  tokens.replaceKeys(parseJwks(SET));
  assert.notEqual(tokens.caller(one, 5), null);
  world.now += 661_000;
  assert.equal(tokens.caller(one, 5), null);
});

test('logins with a password go on beside', () => {
  const { tokens } = make();
  const simple = tokens.issue('joe', 5, `${tokens.prefix()}.12`) as string;
  tokens.assigned('joe', simple);
  assert.equal(tokens.caller(simple, 5)?.username, 'joe');
  assert.equal(tokens.bornAt(simple), 12);
  assert.equal(tokens.bornAt(token(CLAIMS)), 0);
  tokens.dropUser('joe');
  assert.equal(tokens.caller(simple, 5), null);
});

// Goal: what is read again is taken over when it is good, and leaves what was there when it is not.
test('a document is taken over when it changes, and kept when it is bad', async () => {
  const world = new FakeWorld();
  let content = 'one';
  const taken: string[] = [];
  const settle = async () => {
    world.advance(5000);
    for (let round = 0; round < 5; round++) await Promise.resolve();
  };
  const document = new WatchedDocument(
    {
      timers: world.timers,
      logger: silentLogger,
      name: 'keys',
      everyMs: 5000,
      read: async () => {
        if (content === 'gone') throw new Error('ENOENT');
        return [Buffer.from(content)];
      },
      take([bytes]) {
        if (`${bytes}` === 'bad') throw new Error('no keys in it');
        taken.push(`${bytes}`);
      },
    },
    [Buffer.from('one')],
  );
  document.start();
  for (const next of ['one', 'two', 'bad', 'gone', 'two', 'three']) {
    content = next;
    await settle();
  }
  assert.deepEqual(taken, ['two', 'three']);
  assert.equal(document.failures, 2);
  content = 'four';
  document.ask();
  for (let round = 0; round < 5; round++) await Promise.resolve();
  content = 'five';
  document.ask();
  for (let round = 0; round < 5; round++) await Promise.resolve();
  assert.deepEqual(taken.slice(2), ['four'], 'not more often than every few seconds');
  document.stop();
  assert.equal(world.timerCount, 1, 'only the end of that pause is left');
});
