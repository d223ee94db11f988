/** The alarm for space in a cluster: the first member that is full stops what adds data on all of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { needsPeer } from '@etsd/testkit';
import type { Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';

const MEBIBYTE = 1024 * 1024;
const VALUE = Buffer.alloc(MEBIBYTE, 'x');

async function health(member: ClusterMember, query = ''): Promise<string> {
  const answer = await fetch(`http://${member.address}/health${query}`);
  return `${answer.status} ${(await answer.text()).trim()}`;
}

// Goal: raised by whoever is full, seen by all; a member of etsd clears its own when there is room, one of etcd has its
// operator do it.
test('one full member stops all, until the operator has made room', { skip: needsPeer('etcd') }, async () => {
  const cluster = await TestCluster.start({
    products: ['etsd', 'etsd', 'etcd'],
    flags: ['--quota-backend-bytes', String(20 * MEBIBYTE)],
  });
  try {
    const [first] = cluster.members as [ClusterMember];
    let refusal = '';
    for (let at = 0; at < 100 && refusal === ''; at++) {
      const outcome = await cluster.client(first).call('KV/Put', { key: Buffer.from(`k${at}`), value: VALUE });
      if (outcome.response === null) refusal = `${outcome.code} ${outcome.message}`;
    }
    assert.equal(refusal, '8 etcdserver: mvcc: database space exceeded');
    const raised = async (): Promise<string[]> => {
      const { alarms } = await cluster.ask('Maintenance/Alarm', { action: 'GET' });
      return (alarms as Message[]).map(({ memberID, alarm }) => `memberID:${memberID} alarm:${alarm} `);
    };
    assert.ok((await raised()).length >= 1);
    for (const member of cluster.members) {
      const client = cluster.client(member);
      const put = await client.call('KV/Put', { key: Buffer.from('small') });
      assert.equal(put.message, 'etcdserver: mvcc: database space exceeded', member.product);
      assert.equal((await client.call('Lease/LeaseGrant', { TTL: 10 })).code, 8);
      assert.equal((await client.call('KV/Range', { key: Buffer.from('k1'), count_only: true })).code, 0);
      assert.equal((await client.call('KV/DeleteRange', { key: Buffer.from('small') })).code, 0);
      // The others are as good as full: each raises its own when it comes to see it.
      await eventually(10_000, 'the member tells of all alarms', async () => {
        const { errors } = await client.expect('Maintenance/Status', {});
        return isDeepStrictEqual(errors, await raised()) ? true : null;
      });
      assert.equal(await health(member), '503 {"health":"false","reason":"ALARM NOSPACE"}');
      assert.equal(await health(member, '?exclude=NOSPACE'), '200 {"health":"true","reason":""}');
    }
    const etcd = cluster.members[2] as ClusterMember;
    const ofEtcd = await cluster.idOf(etcd);
    const { header: deleted } = (await cluster.ask('KV/DeleteRange', {
      key: Buffer.from('k'),
      range_end: Buffer.from('l'),
    })) as { header: Message };
    const compaction = await cluster
      .client(first)
      .call('KV/Compact', { revision: deleted['revision'], physical: true });
    assert.ok(compaction.code === 0 || /has been compacted/.test(compaction.message), compaction.message);
    await cluster.client(etcd).expect('Maintenance/Defragment', {});
    await eventually(60_000, 'no alarm is left', async () => {
      const { alarms: left } = await cluster.ask('Maintenance/Alarm', { action: 'GET' });
      for (const { memberID, alarm } of left as Message[]) {
        if (memberID === ofEtcd) await cluster.ask('Maintenance/Alarm', { action: 'DEACTIVATE', memberID, alarm });
      }
      return (left as Message[]).length === 0 ? true : null;
    });
    for (const member of cluster.members) {
      await cluster.client(member).expect('KV/Put', { key: Buffer.from('small') });
      assert.equal(await health(member), '200 {"health":"true","reason":""}');
    }
    const { header } = await cluster.ask('KV/Range', { key: Buffer.from('k'), count_only: true });
    const hashes = await cluster.hashes(Number((header as Message)['revision']));
    const told = [...hashes.values()].map(({ hash, compactRevision }) => `${hash} compacted at ${compactRevision}`);
    assert.equal(new Set(told).size, 1, told.join(', '));
  } finally {
    await cluster.dispose();
  }
});
