import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { chaos } from '../chaos/run.ts';
import type { Product } from '../support/server.ts';
import { replaceAll } from './migrate.ts';

const skip = needsPeer('etcd', 'etcdctl');
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

for (const [from, to] of [
  ['etcd', 'etsd'],
  ['etsd', 'etcd'],
] as [Product, Product][]) {
  // Goal: docs/migration.md is true. Method: do what it says while clients read, write and watch; judge what they saw.
  test(`a running cluster of ${from} becomes one of ${to}, member by member`, { skip }, async (context) => {
    context.diagnostic(`seed ${seed}`);
    const { verdict, logs } = await chaos({
      products: [from, from, from],
      seed,
      seconds: 0,
      kinds: [],
      workers: 6,
      pauseMs: 25,
      flags: [],
      torment: replaceAll(to),
      progress: (line) => context.diagnostic(line),
    });
    const text = verdict.violations.slice(0, 10).map((one) => `${one.rule}: ${one.text}`);
    assert.equal(verdict.violations.length, 0, `${text.join('\n')}\n${logs.join('\n')}`);
    context.diagnostic(JSON.stringify(verdict.counts));
  });
}
