import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster, startMember } from '../index.ts';

// Goal: a program can be tested against a cluster whose leader goes, inside of the test's process.

test('a cluster in one process goes on when its leader is closed, with everything that was acknowledged', async () => {
  await using cluster = await startCluster();
  const client = cluster.client();
  await client.kv.put('before', '1');
  const { leader } = cluster;
  assert.ok(leader !== null);
  await leader.close();
  assert.notEqual(cluster.leader, leader);
  await client.kv.put('after', '2', { timeoutMs: 30_000 });
  assert.equal((await client.kv.get('before', { timeoutMs: 30_000 }))?.value.toString(), '1');
  const { members } = await client.cluster.list({ timeoutMs: 30_000 });
  assert.equal(members.length, 3);
  assert.deepEqual(new Set(members.flatMap((member) => member.clientURLs)), new Set(cluster.endpoints));
});

test('clusters and members in one process keep apart, and leave nothing behind', async () => {
  const before = process.getActiveResourcesInfo().length;
  const [one, other, alone] = await Promise.all([startCluster({ size: 1 }), startCluster({ size: 1 }), startMember()]);
  const clients = [one.client(), other.client(), alone.client()];
  await Promise.all(clients.map((client, i) => client.kv.put('who', String(i))));
  const who = await Promise.all(clients.map(async (client) => (await client.kv.get('who'))?.value.toString()));
  assert.deepEqual(who, ['0', '1', '2']);
  await Promise.all([one.close(), other.close(), alone.close()]);
  for (let turns = 0; turns < 200 && process.getActiveResourcesInfo().length > before; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  const left = process.getActiveResourcesInfo();
  assert.ok(left.length <= before, left.join());
});
