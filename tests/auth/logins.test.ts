import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { measureLogins } from './logins.ts';

// Goal: ten thousand clients may log in again after an election: what was verified costs no hash the next time, and whoever
// has logged in already goes on meanwhile. Method: the short form of `node tests/auth/logins.ts`, at bcrypt's default cost.
test('logins of users who were verified, beside those of etcd', { skip: needsPeer('etcd') }, async (context) => {
  const load = { users: 4, quietSeconds: 0.5 };
  const etcd = await measureLogins('etcd', { ...load, logins: 20, seconds: 2 });
  const etsd = await measureLogins('etsd', { ...load, logins: 2000, seconds: 10 });
  for (const { product, loginsPerSecond, quietP99Ms, busyP99Ms } of [etcd, etsd]) {
    const puts = `p99 of puts ${quietP99Ms.toFixed(1)} ms alone, ${busyP99Ms.toFixed(1)} ms beside`;
    context.diagnostic(`${product}: ${loginsPerSecond.toFixed(0)} logins a second; ${puts}`);
  }
  assert.ok(etsd.loginsPerSecond > 20 * etcd.loginsPerSecond);
  assert.ok(etsd.busyP99Ms < 2000, `puts wait for ${etsd.busyP99Ms} ms`);
});
