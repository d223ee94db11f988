/**
 * The same course of commands about members, through the leader and a follower, with members that never start and members
 * that die: a cluster of etsd, and clusters of both, must answer every one of them as a cluster of etcd does.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Product } from '../support/server.ts';
import { memberCommands } from './member-commands.ts';

const skip = needsPeer('etcd');
let wanted: Promise<string[]> | null = null;

test('commands about five members of which some are down', { skip, timeout: 180_000 }, async () => {
  const five = (product: Product): Promise<string[]> => memberCommands(Array<Product>(5).fill(product));
  const etcdAnswers = await five('etcd');
  assert.deepEqual(await five('etsd'), etcdAnswers);
  assert.ok(etcdAnswers.length >= 10, 'the course was gone through');
});

for (const products of [
  ['etsd', 'etsd', 'etsd'],
  ['etcd', 'etsd', 'etsd'],
  ['etsd', 'etcd', 'etcd'],
] as Product[][]) {
  test(`commands about members: ${products.join(', ')}`, { skip, timeout: 180_000 }, async () => {
    wanted ??= memberCommands(['etcd', 'etcd', 'etcd']);
    const [answers, etcdAnswers] = await Promise.all([memberCommands(products), wanted]);
    assert.deepEqual(answers, etcdAnswers);
    assert.ok(answers.length > 45, 'the course was gone through');
  });
}
