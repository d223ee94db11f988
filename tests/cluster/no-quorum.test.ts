/** What a member answers that has lost its cluster, and a member that only learns: etcd's answers, call by call. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Message, Outcome } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

const KEY = Buffer.from('a');
const CALLS: readonly [method: string, request: Message][] = [
  ['KV/Range', { key: KEY }],
  ['KV/Range', { key: KEY, serializable: true }],
  ['KV/Put', { key: KEY }],
  ['KV/DeleteRange', { key: KEY }],
  ['KV/Compact', { revision: 1 }],
  ['KV/Txn', {}],
  ['KV/Txn', { success: [{ request_put: { key: KEY } }] }],
  ['KV/Txn', { success: [{ request_range: { key: KEY, serializable: true } }] }],
  ['Lease/LeaseGrant', { TTL: 10 }],
  ['Lease/LeaseRevoke', { ID: 10 }],
  ['Lease/LeaseTimeToLive', { ID: 10 }],
  ['Lease/LeaseLeases', {}],
  ['Cluster/MemberList', {}],
  ['Cluster/MemberPromote', { ID: 5 }],
  ['Maintenance/Status', {}],
  ['Maintenance/Alarm', {}],
  ['Maintenance/HashKV', {}],
  ['Maintenance/Defragment', {}],
  ['Maintenance/MoveLeader', { targetID: 5 }],
  ['grpc.health.v1.Health/Check', {}],
];
/** On a member without a leader etcd lets these wait for as long as the client does; etsd gives up. */
const ENDLESS: readonly [method: string, request: Message][] = [
  ['KV/Txn', { success: [{ request_range: { key: KEY } }] }],
  ['Cluster/MemberList', { linearizable: true }],
  ['Cluster/MemberAdd', { peerURLs: ['http://127.0.0.1:1'] }],
  ['Cluster/MemberRemove', { ID: 5 }],
  ['Maintenance/Downgrade', { action: 'VALIDATE', version: '3.4' }],
];

/** Code and message, and of answers what tells of the cluster's state. */
function shown([method, request]: readonly [string, Message], { code, message, response }: Outcome): string {
  const asked = `${method} ${JSON.stringify(request)}`;
  if (response === null) return `${asked}: ${code} ${message}`;
  const { leader, errors, isLearner } = response;
  const said = method === 'Maintenance/Status' ? { hasLeader: leader !== '0', errors, isLearner } : '';
  return `${asked}: answered ${JSON.stringify(said)}`;
}

async function askAll(
  cluster: TestCluster,
  member: ClusterMember,
  calls: readonly (readonly [string, Message])[],
  headers: Record<string, string> = {},
): Promise<string[]> {
  const client = cluster.client(member);
  return Promise.all(calls.map(async (call) => shown(call, await client.call(call[0], call[1], 15_000, headers))));
}

async function pages(member: ClusterMember, paths: readonly string[]): Promise<string[]> {
  return Promise.all(
    paths.map(async (path) => {
      const answer = await fetch(`http://${member.address}${path}`);
      const lines = (await answer.text()).trim().split('\n');
      return `${path}: ${answer.status} ${lines.sort().join(' ')}`;
    }),
  );
}

/** Three members of which all but one hang. */
async function withoutQuorum(product: Product): Promise<string[]> {
  const cluster = await TestCluster.start({ products: [product, product, product] });
  try {
    await cluster.versionDecided();
    await cluster.ask('KV/Put', { key: KEY, value: KEY });
    const leader = await cluster.agreed();
    const left = cluster.members.find((member) => member !== leader) as ClusterMember;
    const watch = cluster.client(left).stream('Watch/Watch', { hasleader: 'true' });
    watch.send({ create_request: { key: KEY } });
    await watch.until(10_000, 'the watch stands', () => watch.received.length > 0);
    for (const member of cluster.members) if (member !== left) member.pause();
    await eventually(20_000, 'no leader is known', async () =>
      (await cluster.status(left))?.leader === '0' ? true : null,
    );
    const [open, demanding, http] = await Promise.all([
      askAll(cluster, left, CALLS),
      askAll(cluster, left, [...CALLS, ...ENDLESS], { hasleader: 'true' }),
      pages(left, ['/health', '/health?serializable=true', '/health?exclude=NOSPACE', '/livez', '/readyz', '/version']),
      watch.changed.wait(20_000, 'the watch ends', () => watch.ended !== null),
    ]);
    const ended = `Watch: ${watch.ended?.code} ${watch.ended?.message}`;
    for (const member of cluster.members) member.resume();
    return [...open, ...demanding, ...http, ended];
  } finally {
    await cluster.dispose();
  }
}

/** A member that learns, in a cluster of another three. */
async function learning(product: Product): Promise<string[]> {
  const cluster = await TestCluster.start({ products: [product, product, product] });
  try {
    await cluster.ask('KV/Put', { key: KEY, value: KEY });
    const learner = await cluster.addMember(product, { isLearner: true });
    await learner.start();
    await eventually(20_000, 'the learner has the key', async () =>
      (await cluster.status(learner))?.revision === 2 ? true : null,
    );
    return [
      ...(await askAll(cluster, learner, [...CALLS, ...ENDLESS])),
      ...(await pages(learner, ['/health', '/health?serializable=true', '/livez', '/readyz'])),
    ];
  } finally {
    await cluster.dispose();
  }
}

describe('answers are those of etcd', { skip: needsPeer('etcd') }, () => {
  for (const [name, answers] of [
    ['of a member that has lost the others', withoutQuorum],
    ['of a learner', learning],
  ] as const) {
    test(name, async () => {
      const [ours, theirs] = await Promise.all([answers('etsd'), answers('etcd')]);
      assert.deepEqual(ours, theirs);
    });
  }
});
