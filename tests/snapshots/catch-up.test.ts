// Goal: a member that was away for longer than the log reaches is sent a snapshot and is the same as the others then,
// also where one of the two is real etcd. Method: three members with a short log; one is stopped while keys, leases,
// history and members change; afterwards hashes, members and leases are compared, before and after another restart.
import assert from 'node:assert/strict';
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { findPeerProgram, needsPeer } from '@etsd/testkit';
import type { Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

const FLAGS = [
  '--snapshot-count',
  '60',
  '--experimental-snapshot-catchup-entries',
  '5',
  '--strict-reconfig-check=false',
];
const PUTS = 200;

interface Case {
  readonly title: string;
  readonly leader: Product;
  readonly third: Product;
  /** The one that is away. */
  readonly away: Product;
}

const CASES: readonly Case[] = [
  { title: 'etsd from etsd', leader: 'etsd', third: 'etsd', away: 'etsd' },
  { title: 'etsd from real etcd', leader: 'etcd', third: 'etcd', away: 'etsd' },
  { title: 'real etcd from etsd', leader: 'etsd', third: 'etsd', away: 'etcd' },
];

async function put(cluster: TestCluster, key: string, value: string, lease = '0'): Promise<void> {
  await cluster.ask('KV/Put', { key: Buffer.from(key), value: Buffer.from(value), lease });
}

async function revisionOf(cluster: TestCluster, member: ClusterMember): Promise<number> {
  const status = await eventually(20_000, 'a status', () => cluster.status(member));
  return status.revision;
}

/** All members have the same history, whoever is asked. */
async function compare(cluster: TestCluster, leader: ClusterMember): Promise<void> {
  const hashes = await cluster.hashes(await revisionOf(cluster, leader));
  const distinct = new Set([...hashes.values()].map(({ hash, compactRevision }) => `${hash} at ${compactRevision}`));
  assert.equal(distinct.size, 1, JSON.stringify([...hashes]));
}

async function membersOf(cluster: TestCluster, member: ClusterMember): Promise<unknown> {
  const { response } = await cluster.client(member).call('Cluster/MemberList', { linearizable: false }, 5000);
  const members = (response?.['members'] ?? []) as Message[];
  return members.map(({ ID, name, peerURLs, clientURLs, isLearner }) => ({
    ID,
    name,
    peerURLs,
    clientURLs,
    isLearner,
  }));
}

async function keysOfLease(cluster: TestCluster, member: ClusterMember, lease: string): Promise<string[]> {
  const answer = await eventually(20_000, 'a lease', async () => {
    const { response } = await cluster.client(member).call('Lease/LeaseTimeToLive', { ID: lease, keys: true }, 5000);
    return response;
  });
  return (answer['keys'] as Buffer[]).map(String).sort();
}

/** A learner comes and goes, so that the snapshot has former members. */
async function comeAndGo(cluster: TestCluster, port: number): Promise<void> {
  const request = { peerURLs: [`http://127.0.0.1:${port}`], isLearner: true };
  const added = (await cluster.ask('Cluster/MemberAdd', request))['member'] as Message;
  await cluster.ask('Cluster/MemberRemove', { ID: added['ID'] });
}

/**
 * Writes until the leader's log no longer has the entry behind `index`: it keeps what a member lacks that it heard of within
 * an election timeout, which might only be slow.
 */
async function untilCut(cluster: TestCluster, leader: ClusterMember, index: number): Promise<void> {
  await eventually(20_000, `the log is cut behind ${index}`, async () => {
    await put(cluster, 'more', 'x');
    const cuts = leader.logs.flatMap((line) => /"(?:firstIndex|compact-index)":(\d+)/.exec(line)?.[1] ?? []);
    return cuts.some((first) => Number(first) > index + 1) ? true : null;
  });
}

/** It was sent a snapshot; the line comes through a pipe. */
async function appliedSnapshot(member: ClusterMember): Promise<void> {
  const isIt = (line: string): boolean => line.includes('"applied snapshot"');
  await eventually(20_000, 'a snapshot was applied', () => member.logs.find(isIt) ?? null);
}

async function run({ leader: leaderProduct, third, away: awayProduct }: Case): Promise<void> {
  const cluster = await TestCluster.start({ products: [leaderProduct, third, awayProduct], flags: FLAGS });
  try {
    const [leader, , away] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
    await cluster.agreed();
    await put(cluster, 'before', 'x');
    await cluster.moveLeader(leader);
    const { applied } = await eventually(20_000, 'a status', () => cluster.status(away));
    await away.stop();
    const lease = (await cluster.ask('Lease/LeaseGrant', { TTL: '3000', ID: '0' }))['ID'] as string;
    for (let i = 0; i < PUTS; i++) await put(cluster, `key${i % 50}`, 'v'.repeat(i * 20), i % 3 === 0 ? lease : '0');
    await cluster.ask('KV/DeleteRange', { key: Buffer.from('key7') });
    await comeAndGo(cluster, 7);
    await cluster.ask('KV/Compact', { revision: '100', physical: true });
    await put(cluster, 'last', 'x');
    await untilCut(cluster, leader, applied);
    await away.start();
    await compare(cluster, leader);
    await appliedSnapshot(away);
    await put(cluster, 'afterwards', 'x');
    await comeAndGo(cluster, 9);
    await compare(cluster, leader);
    assert.deepEqual(await membersOf(cluster, away), await membersOf(cluster, leader));
    assert.deepEqual(await keysOfLease(cluster, away, lease), await keysOfLease(cluster, leader, lease));
    // Long enough for the member to cut its own log behind the snapshot.
    for (let i = 0; i < PUTS; i++) await put(cluster, `more${i}`, 'x');
    await compare(cluster, leader);
    await away.stop();
    await away.start();
    await compare(cluster, leader);
    await cluster.moveLeader(away);
    await put(cluster, 'under the new leader', 'x');
    await compare(cluster, away);
  } finally {
    await cluster.dispose();
  }
}

describe('catching up by a snapshot', () => {
  for (const each of CASES) {
    const isMixed = [each.leader, each.third, each.away].includes('etcd');
    test(each.title, { skip: isMixed && needsPeer('etcd') }, () => run(each));
  }
});

/** A new member of one kind is sent everything by a leader of the other, and leads afterwards. */
async function joins(leaderProduct: Product, newcomer: Product): Promise<void> {
  const cluster = await TestCluster.start({ products: [leaderProduct], flags: FLAGS });
  try {
    const [leader] = cluster.members as [ClusterMember];
    await cluster.agreed();
    for (let i = 0; i < PUTS; i++) await put(cluster, `key${i % 50}`, 'v'.repeat(i));
    // The log is cut a tick later; until then a newcomer could be given all of it.
    await untilCut(cluster, leader, 0);
    const added = await cluster.addMember(newcomer);
    await added.start();
    await compare(cluster, leader);
    await appliedSnapshot(added);
    await cluster.moveLeader(added);
    await put(cluster, 'under the new leader', 'x');
    await compare(cluster, added);
  } finally {
    await cluster.dispose();
  }
}

/** etsd joins an etcd that was restored with its revision lifted, which leaves a record without key or value. */
async function joinLifted(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'lifted-'));
  const cluster = await TestCluster.start({ products: ['etcd'], flags: FLAGS });
  try {
    const [first] = cluster.members as [ClusterMember];
    for (let i = 0; i < 20; i++) await put(cluster, `key${i}`, 'v');
    const { dataDir, membership } = first;
    const saved = join(directory, 'saved.db');
    execFileSync(
      findPeerProgram('etcdctl') as string,
      ['--endpoints', first.address, 'snapshot', 'save', saved],
      QUIET,
    );
    await first.stop();
    rmSync(join(dataDir, 'member.etcd'), { recursive: true });
    const flags = ['--name', membership.name, '--initial-cluster', membership.initialCluster];
    flags.push('--initial-cluster-token', membership.token);
    flags.push('--initial-advertise-peer-urls', membership.advertisePeerUrl);
    flags.push('--data-dir', join(dataDir, 'member.etcd'), '--bump-revision', '1000', '--mark-compacted');
    execFileSync(findPeerProgram('etcdutl') as string, ['snapshot', 'restore', saved, ...flags], QUIET);
    await first.start();
    for (let i = 0; i < PUTS; i++) await put(cluster, `more${i}`, 'v');
    const added = await cluster.addMember('etsd');
    await added.start();
    await compare(cluster, first);
    assert.ok((await revisionOf(cluster, added)) > 1000);
    await cluster.ask('KV/Compact', { revision: '1100', physical: true });
    await compare(cluster, first);
    const all = { key: Buffer.from([0]), range_end: Buffer.from([0]), count_only: true, serializable: true };
    const count = (await cluster.client(added).call('KV/Range', all, 5000)).response?.['count'];
    assert.equal(count, String(20 + PUTS));
  } finally {
    await cluster.dispose();
    rmSync(directory, { recursive: true });
  }
}

const QUIET: ExecFileSyncOptions = { stdio: ['ignore', 'pipe', 'pipe'] };

describe('joining by a snapshot', () => {
  test('etsd joins etsd', () => joins('etsd', 'etsd'));
  test('etsd joins real etcd', { skip: needsPeer('etcd') }, () => joins('etcd', 'etsd'));
  test('etsd joins an etcd whose revision was lifted by a restore', { skip: needsPeer('etcd', 'etcdutl') }, joinLifted);
  test('real etcd joins etsd', { skip: needsPeer('etcd') }, () => joins('etsd', 'etcd'));
});
