/** Leases in clusters of one product and of both: every member answers for the leader, and a change of leader costs none. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

const KEY = Buffer.from('leased');

async function timeToLive(cluster: TestCluster, member: ClusterMember, id: string): Promise<Message> {
  const outcome = await cluster.client(member).call('Lease/LeaseTimeToLive', { ID: id, keys: true });
  assert.equal(outcome.code, 0, outcome.message);
  return outcome.response as Message;
}

/** One renewal by a stream of its own: the time to live, or the error as `code message`. */
async function renew(cluster: TestCluster, member: ClusterMember, id: string): Promise<string> {
  const stream = cluster.client(member).stream('Lease/LeaseKeepAlive');
  stream.send({ ID: id });
  await stream.changed.wait(15_000, 'an answer', () => stream.received.length > 0 || stream.ended !== null);
  stream.halfClose();
  const [first] = stream.received;
  return first === undefined ? `${stream.ended?.code} ${stream.ended?.message}` : (first['TTL'] as string);
}

async function checkEveryMember(cluster: TestCluster): Promise<void> {
  const granted = await cluster.ask('Lease/LeaseGrant', { TTL: 100 });
  const id = granted['ID'] as string;
  await cluster.ask('KV/Put', { key: KEY, value: KEY, lease: id });
  for (const member of cluster.members) {
    const name = `${member.membership.name} (${member.product})`;
    assert.equal(await renew(cluster, member, id), '100', name);
    const { TTL, grantedTTL, keys } = await timeToLive(cluster, member, id);
    assert.ok(Number(TTL) >= 98 && Number(TTL) <= 100, `${name} says ${TTL}`);
    assert.deepEqual([grantedTTL, keys], ['100', [KEY]], name);
    assert.equal(await renew(cluster, member, '12345'), '0', name);
    assert.equal((await timeToLive(cluster, member, '12345'))['TTL'], '-1', name);
  }
  await cluster.ask('Lease/LeaseRevoke', { ID: id });
  for (const member of cluster.members) assert.equal(await renew(cluster, member, id), '0');
}

async function expires(cluster: TestCluster): Promise<void> {
  const { ID } = await cluster.ask('Lease/LeaseGrant', { TTL: 2 });
  await cluster.ask('KV/Put', { key: KEY, value: KEY, lease: ID });
  await eventually(20_000, 'the key is gone on every member', async () => {
    for (const member of cluster.members) {
      const { response } = await cluster.client(member).call('KV/Range', { key: KEY, serializable: true });
      if (response?.['count'] !== '0') return null;
    }
    return true;
  });
}

for (const [products, leaders] of [
  [['etsd', 'etsd', 'etsd'], [0]],
  [
    ['etsd', 'etsd', 'etcd'],
    [0, 2],
  ],
] as [Product[], number[]][]) {
  const skip = products.includes('etcd') ? needsPeer('etcd') : false;
  describe(`leases of ${products.join(', ')}`, { skip }, () => {
    for (const leader of leaders) {
      // Goal: renewals and questions reach the leader whoever is asked, and only it lets leases expire.
      test(`while ${products[leader]} leads`, async () => {
        const cluster = await TestCluster.start({ products });
        try {
          await cluster.moveLeader(cluster.members[leader] as ClusterMember);
          await checkEveryMember(cluster);
          await expires(cluster);
        } finally {
          await cluster.dispose();
        }
      });
    }
  });
}

// Goal: a client that renews in time keeps its lease and its stream while the leader dies or hangs; one that
// does not loses it.
for (const end of ['dies', 'hangs'] as const) {
  test(`renewals go on while the leader ${end}`, async () => {
    const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'] });
    try {
      const leader = await cluster.agreed();
      const [follower] = cluster.members.filter((member) => member !== leader) as [ClusterMember];
      const { ID: kept } = await cluster.ask('Lease/LeaseGrant', { TTL: 5 });
      const { ID: lost } = await cluster.ask('Lease/LeaseGrant', { TTL: 3 });
      const stream = cluster.client(follower).stream('Lease/LeaseKeepAlive');
      let sent = 0;
      const send = (): void => {
        sent++;
        stream.send({ ID: kept });
      };
      stream.onMessage = (message) => {
        assert.equal(message['TTL'], '5');
        if (sent < 60) setTimeout(send, 100);
        if (sent === 5 && end === 'dies') void leader.kill();
        else if (sent === 5) leader.pause();
      };
      send();
      await stream.until(30_000, 'all renewals are answered', () => stream.received.length === 60);
      const left = await timeToLive(cluster, follower, kept as string);
      assert.ok(Number(left['TTL']) >= 3);
      await eventually(20_000, 'the other lease expires', async () =>
        (await timeToLive(cluster, follower, lost as string))['TTL'] === '-1' ? true : null,
      );
    } finally {
      await cluster.dispose();
    }
  });
}

// Goal: an orderly stop of the leader hands the remaining times on, to seconds, as nothing else would for so short a run.
test('a leader that is stopped tells how much time long leases have left', async () => {
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'] });
  try {
    const leader = await cluster.agreed();
    const [follower] = cluster.members.filter((member) => member !== leader) as [ClusterMember];
    const { ID } = await cluster.ask('Lease/LeaseGrant', { TTL: 1000 });
    await eventually(30_000, 'it has lost some time', async () =>
      Number((await timeToLive(cluster, follower, ID as string))['TTL']) < 988 ? true : null,
    );
    await leader.stop();
    await cluster.agreed();
    const { TTL } = await timeToLive(cluster, follower, ID as string);
    assert.ok(Number(TTL) < 992, `${TTL} s are left`);
  } finally {
    await cluster.dispose();
  }
});
