/** How the members of a cluster settle on its version, and what a downgrade does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

async function isDowngrading(member: ClusterMember): Promise<string> {
  return (await fetch(`http://127.0.0.1:${member.peerPort}/downgrade/enabled`)).text();
}

for (const products of [
  ['etsd', 'etsd', 'etsd'],
  ['etsd', 'etcd', 'etsd'],
] as Product[][]) {
  // Goal: nothing above the least version is decided while a member can not be asked; then the cluster goes up.
  test(`${products.join(', ')}: the last member to start lets the version go up`, {
    skip: products.includes('etcd') && needsPeer('etcd'),
  }, async () => {
    const cluster = await TestCluster.prepare({ products });
    try {
      const [first, second, last] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
      await Promise.all([first.start(), second.start()]);
      for (const member of [first, second]) {
        assert.deepEqual(await cluster.versions(member), { etcdserver: '3.5.30', etcdcluster: '3.0.0' });
      }
      await last.start();
      await cluster.versionDecided();
      assert.match(first.logs.join('\n'), /updated cluster version.*"from":"3.0","to":"3.5"/);
    } finally {
      await cluster.dispose();
    }
  });
}

// Goal: a downgrade is known to all members, and keeps those of this version from starting, as with etcd.
test('a downgrade: enabled, seen by all, in the way of a start, cancelled', { skip: needsPeer('etcd') }, async () => {
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etcd'] });
  try {
    const [first, second, theirs] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
    await cluster.versionDecided();
    const client = cluster.client(first);
    const enabled = await client.expect('Maintenance/Downgrade', { action: 'ENABLE', version: '3.4' });
    assert.equal(enabled['version'], '3.5.0');
    for (const member of cluster.members) {
      await eventually(10_000, 'the member knows', async () =>
        (await isDowngrading(member)) === 'true' ? true : null,
      );
    }
    for (const member of [first, theirs]) {
      const again = await cluster.client(member).call('Maintenance/Downgrade', { action: 'ENABLE', version: '3.4' });
      assert.deepEqual([again.code, again.message], [9, 'etcdserver: cluster has a downgrade job in progress']);
    }
    await second.stop();
    second.launch();
    await second.ended(20_000);
    assert.equal(second.exitCode, 1);
    assert.match(second.log, /invalid downgrade; server version is not allowed to join when downgrade is enabled/);
    await client.expect('Maintenance/Downgrade', { action: 'CANCEL' });
    await eventually(10_000, 'etcd knows', async () => ((await isDowngrading(theirs)) === 'false' ? true : null));
    const none = await client.call('Maintenance/Downgrade', { action: 'CANCEL' });
    assert.deepEqual([none.code, none.message], [9, 'etcdserver: no inflight downgrade job']);
  } finally {
    await cluster.dispose();
  }
});
