import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { run } from './runner.ts';

const skip = needsPeer('etcd');
const count = Number(process.env['ETSD_TEST_DIFFERENTIAL_COUNT'] ?? 1500);
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

// Goal: nobody can tell etsd from etcd by its answers. Method: the same random operations to both; see README.md.
test(`${count} random operations have the same answers from etsd as from etcd`, { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  const result = await run({ seed, count, left: 'etcd', right: 'etsd', restartEvery: 0, flags: [] });
  assert.equal(result.mismatch, null, result.mismatch ?? '');
});

// Goal: a member that comes back, after an orderly end or a crash, is the one that went.
test('the answers stay the same over restarts', { skip }, async (context) => {
  context.diagnostic(`seed ${seed + 1}`);
  const options = { count: Math.ceil(count / 2), restartEvery: Math.ceil(count / 6), flags: [] };
  const result = await run({ seed: seed + 1, left: 'etcd', right: 'etsd', ...options });
  assert.equal(result.mismatch, null, result.mismatch ?? '');
});
