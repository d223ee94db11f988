import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Product } from '../support/server.ts';
import { churn } from './churn.ts';
import { FAULT_KINDS } from './faults.ts';
import { type ChaosResult, chaos } from './run.ts';

const product = (process.env['ETSD_TEST_PRODUCT'] ?? 'etsd') as Product;
const seconds = Number(process.env['ETSD_TEST_CHAOS_SECONDS'] ?? 45);
const changes = Number(process.env['ETSD_TEST_CHURN_CHANGES'] ?? 6);
const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const skip =
  product === 'etcd' ? needsPeer('etcd') : process.platform !== 'linux' && 'cutting single wires needs /proc';
const options = { products: [product, product, product], seed, seconds, workers: 8, pauseMs: 25, flags: [] };
// The disk is slowed down by a program of ours around the member; real etcd has no place for that.
const kinds = FAULT_KINDS.filter((kind) => kind !== 'slow-disk' || product === 'etsd');

function judge({ verdict, logs }: ChaosResult, note: (text: string) => void): void {
  note(JSON.stringify(verdict.counts));
  const text = verdict.violations.slice(0, 10).map((one) => `${one.rule}: ${one.text}`);
  assert.equal(verdict.violations.length, 0, `seed ${seed}:\n${text.join('\n')}\n${logs.join('\n')}`);
  assert.ok((verdict.counts['answered'] ?? 0) > 100, 'a verdict about nothing');
}

// Goal: kills, pauses, cut wires and slow disks cost time and nothing else. `npm run chaos` is the long form.
test(`${product}: ${seconds} s of chaos violate nothing`, { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  judge(await chaos({ ...options, kinds }), (text) => context.diagnostic(text));
});

// Goal: who belongs to the cluster changes under load, until nobody of the first members is left, and nothing is lost.
test(`${product}: ${changes} changes of membership under load lose nothing`, { skip }, async (context) => {
  context.diagnostic(`seed ${seed}`);
  judge(await chaos({ ...options, kinds, torment: churn(changes) }), (text) => context.diagnostic(text));
});
