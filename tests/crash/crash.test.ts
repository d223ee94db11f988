import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Product } from '../support/server.ts';
import { crash } from './run.ts';

const product = (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product;
const cycles = Number(process.env['ETSD_TEST_CRASH_CYCLES'] ?? 5);
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const skip = product === 'etcd' ? needsPeer('etcd') : false;

// Goal: an acknowledged write survives the end of the process at any moment; a transaction is whole or not there.
test(`${product}: ${cycles} crashes in the middle of writes lose nothing`, { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  const result = await crash({ product, seed, cycles, writers: 12, flags: [] });
  context.diagnostic(`${result.acknowledged} acknowledged writes`);
  assert.deepEqual(result.faults, []);
});
