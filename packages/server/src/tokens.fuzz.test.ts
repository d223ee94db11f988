/**
 * Goal: tokens, sets of keys and key files of any bytes are refused or taken, never anything else, and no change to a
 * token's text makes it somebody else's. Method: good ones with a few things wrong.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { AuthStore } from '@etsd/state';
import { forSeeds, mutate } from '@etsd/testkit';
import { Access } from './access.ts';
import { FakeCall, FakeWorld } from './api/surroundings.fixture.ts';
import type { ApiHandler } from './context.ts';
import { JwksError, parseJwks } from './jwks.ts';
import { JwtKeyError, JwtTokens } from './jwt.ts';
import { JwtKeys } from './jwt-keys.ts';
import { OidcTokens } from './oidc.ts';
import { Caller, SimpleTokens } from './tokens.ts';

const world = new FakeWorld();
world.now = 1_700_000_000_000;
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = Buffer.from(pair.publicKey.export({ type: 'spki', format: 'pem' }));
const secret = Buffer.from(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
const simple = new SimpleTokens({ random: world.random, clock: world.clock, timers: world.timers, ttlMs: 1e9 });
const jwt = new JwtTokens({ clock: world.clock, signMethod: 'ES256', privateKey: secret, publicKey: pem, ttlMs: 1e9 });
const oidc = new OidcTokens({
  clock: world.clock,
  issuer: 'https://issuer',
  audience: 'etsd',
  usernameClaim: 'sub',
  usernamePrefix: 'sso:',
  inner: simple,
  onUnknownKey: () => {},
});
const SET = Buffer.from(JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: 'k' }] }));
oidc.replaceKeys(parseJwks(SET));

const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url');
const signed = `${part({ alg: 'ES256', kid: 'k' })}.${part({ iss: 'https://issuer', aud: 'etsd', sub: 'ann', exp: 2e9 })}`;
const signature = sign('sha256', Buffer.from(signed), { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
const provided = `${signed}.${signature.toString('base64url')}`;
const own = jwt.issue('ann', 5) as string;
simple.assigned('ann', 'ABCDEFGHIJKLMNOP.7');

test('tokens of all kinds', async () => {
  let accepted = 0;
  await forSeeds(1500, (prng) => {
    for (const [tokens, token, name] of [
      [jwt, own, 'ann'],
      [oidc, provided, 'sso:ann'],
      [simple, 'ABCDEFGHIJKLMNOP.7', 'ann'],
    ] as const) {
      const text = mutate(prng, Buffer.from(token)).toString('latin1');
      const caller = tokens.caller(text, 5);
      assert.ok(Number.isSafeInteger(tokens.bornAt(text)));
      if (caller === null) continue;
      accepted++;
      assert.equal(caller.username, name);
      // Base64 has bits at its end that mean nothing; what is signed has none.
      if (tokens !== simple) assert.equal(text.slice(0, text.lastIndexOf('.')), token.slice(0, token.lastIndexOf('.')));
    }
  });
  assert.ok(accepted < 1500, `${accepted} of 4500 were taken`);
});

test('headers that carry a token', async () => {
  const auth = new AuthStore(new MemoryBackend());
  auth.enabled = true;
  const access = new Access({
    world,
    auth,
    tokens: oidc,
    lessor: { keysOf: () => [], leases: new Map() },
    clientCertAuth: true,
    appliedIndex: () => 0,
    waitMs: 1,
  });
  const handler: ApiHandler = { kind: 'unary', message() {} };
  await forSeeds(1500, (prng) => {
    const value = () =>
      mutate(prng, Buffer.from(prng.pick([`Bearer ${provided}`, own, 'Bearer ', 'Basic YTpi']))).toString('latin1');
    const headers: Record<string, string> = {};
    if (prng.chance(0.6)) headers['authorization'] = value();
    if (prng.chance(0.4)) headers['token'] = value();
    if (prng.chance(0.2)) headers['grpcgateway-accept'] = value();
    const call = new FakeCall(handler, headers, prng.chance(0.3) ? value() : '');
    const caller = access.callerOf(call);
    if (caller instanceof Caller && call.peerCommonName === '') assert.ok(['', 'sso:ann'].includes(caller.username));
    access.identify(call);
    access.unknownYet(call);
  });
});

test('sets of keys, and files of keys', async () => {
  await forSeeds(1500, (prng) => {
    try {
      for (const { algorithms, id } of parseJwks(mutate(prng, SET)))
        assert.ok(algorithms.length > 0 && typeof id === 'string');
    } catch (error) {
      assert.ok(error instanceof JwksError, String((error as Error).stack));
    }
    try {
      new JwtKeys({ signMethod: 'ES256', privateKey: null, publicKey: mutate(prng, pem), verifyKeys: [] });
    } catch (error) {
      assert.ok(error instanceof JwtKeyError, String((error as Error).stack));
    }
  });
});
