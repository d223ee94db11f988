import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { ask } from '../gateway/http.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { TestServer } from '../support/server.ts';
import { sameTree, v2 } from './keys-client.ts';

/** So many changes that a member that was away is sent a snapshot. */
const MANY = 30;

function portsOf(cluster: TestCluster): number[] {
  return cluster.running.map(({ clientPort }) => clientPort);
}

/** Writes of every kind, through one member after the other. */
async function writeAll(cluster: TestCluster, name: string): Promise<void> {
  const ports = portsOf(cluster);
  for (let i = 0; i < MANY; i++) {
    const port = ports[i % ports.length] as number;
    assert.ok([200, 201].includes((await v2(port, 'PUT', `/${name}/${i % 9}/key`, { value: i })).status));
    if (i % 5 === 0) await v2(port, 'POST', `/${name}/queue`, { value: i, ttl: 1000 + i });
    if (i % 7 === 0) await v2(port, 'DELETE', `/${name}/${i % 9}`, { recursive: true });
  }
}

/** Kills the member, lets the others write more than their logs keep, and starts it again. */
async function missMuch(cluster: TestCluster, away: TestServer, name: string): Promise<void> {
  await away.kill();
  await cluster.agreed();
  await writeAll(cluster, name);
  await away.start();
}

// Goal: the keys are the same on every member, whoever is written to, after the leader is lost, and on a member that was
// sent a snapshot; what ends ends everywhere; who waits at a follower is told.
test('three members hold one tree', async () => {
  const flags = ['--enable-v2', '--snapshot-count', '15', '--snapshot-catchup-entries', '5'];
  await using cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], flags });
  await writeAll(cluster, 'first');
  const ports = portsOf(cluster);
  const before = await sameTree(ports);
  const leader = await cluster.agreed();
  const follower = cluster.members.find((member) => member !== leader) as TestServer;
  const waiting = ask(follower.clientPort, { method: 'GET', path: '/v2/keys/mail?wait=true&recursive=true' });
  await eventually(20_000, 'it waits', async () => {
    const { body } = await ask(follower.clientPort, { method: 'GET', path: '/v2/stats/store' });
    return body.endsWith('"watchers":1}') ? true : null;
  });
  const short = await v2(leader.clientPort, 'PUT', '/mail/short', { value: 'lived', ttl: 1 });
  assert.equal(JSON.parse((await waiting).body).node.value, 'lived');
  const expired = await ask(follower.clientPort, {
    method: 'GET',
    path: `/v2/keys/mail/short?wait=true&waitIndex=${short.index + 1}`,
  });
  assert.equal(JSON.parse(expired.body).action, 'expire');
  assert.notEqual(await sameTree(ports), before);
  await missMuch(cluster, leader, 'second');
  await sameTree(ports);
  const log = leader.logs.join('\n');
  assert.match(log, /applied snapshot/, 'it was sent a snapshot');
  // What happened while it was away can be asked for there, too.
  const { index } = await v2(leader.clientPort, 'GET', '/');
  const path = `/v2/keys/?recursive=true&wait=true&waitIndex=${index - 40}`;
  const [old, other] = await Promise.all(
    [leader, follower].map(({ clientPort }) => ask(clientPort, { method: 'GET', path })),
  );
  assert.equal(old?.body.replace(/"ttl":-?\d+/g, ''), other?.body.replace(/"ttl":-?\d+/g, ''));
});

// Goal: members of etcd and of etsd hold one tree and take it from each other in snapshots. Method: writes through each;
// the member of etcd misses much while one of ours leads, then one of ours misses much while that of etcd leads.
test('a mixed cluster holds one tree', { skip: needsPeer('etcd') }, async () => {
  const flags = ['--enable-v2', '--snapshot-count', '15', '--experimental-snapshot-catchup-entries', '5'];
  await using cluster = await TestCluster.start({ products: ['etcd', 'etsd', 'etsd'], flags });
  const [etcd, ours, third] = cluster.members as [TestServer, TestServer, TestServer];
  await writeAll(cluster, 'first');
  const ports = portsOf(cluster);
  const before = await sameTree(ports);
  assert.match(before, /queue/);
  await cluster.moveLeader(ours);
  await missMuch(cluster, etcd, 'second');
  await sameTree(ports);
  await cluster.moveLeader(etcd);
  await missMuch(cluster, third, 'third');
  await sameTree(ports);
  assert.match(third.logs.join('\n'), /applied snapshot/, 'it was sent a snapshot');
  const { index } = await v2(etcd.clientPort, 'GET', '/');
  const path = `/v2/keys/?recursive=true&wait=true&waitIndex=${index - 40}`;
  const answers = await Promise.all(ports.map((port) => ask(port, { method: 'GET', path })));
  assert.equal(new Set(answers.map(({ body }) => body.replace(/"ttl":-?\d+/g, ''))).size, 1, 'one history');
  // What etcd's leader ends, ends here, and the other way round.
  for (const leader of [etcd, ours]) {
    await cluster.moveLeader(leader);
    await v2(third.clientPort, 'PUT', '/short', { value: 'x', ttl: 1 });
    await eventually(30_000, 'it has ended', async () => {
      const answers = await Promise.all(ports.map((port) => v2(port, 'GET', '/short')));
      return answers.every(({ errorCode }) => errorCode === 100) ? true : null;
    });
    await sameTree(ports);
  }
});
