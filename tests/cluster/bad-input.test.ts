import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Message } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product, TestServer } from '../support/server.ts';

const product: Product = 'etsd';
const THREE: Product[] = [product, product, product];
const PATIENCE_MS = 30_000;

/** The line of a member's log that says what is wrong; fails with the log where none does. */
async function says(member: TestServer, pattern: RegExp): Promise<string> {
  const find = (): string | null => member.logs.slice(-member.lineCount).find((line) => pattern.test(line)) ?? null;
  return await eventually(PATIENCE_MS, `${member.membership.name} says ${pattern}`, find).catch((error: Error) => {
    throw new Error(`${error.message}; it said:\n${member.tail(20)}`);
  });
}

/** The process ends by itself, without having served anybody. */
async function refuses(member: TestServer, pattern: RegExp): Promise<void> {
  member.launch();
  await member.ended(PATIENCE_MS);
  assert.equal(member.isReady, false, 'it never served');
  await says(member, pattern);
}

async function takesWrites(cluster: TestCluster, ...members: TestServer[]): Promise<void> {
  for (const member of members) {
    const put = { key: Buffer.from('k'), value: Buffer.from(member.membership.name) };
    await eventually(PATIENCE_MS, `${member.membership.name} takes writes`, async () => {
      return (await cluster.client(member).call('KV/Put', put, 3000)).response;
    });
  }
}

describe('a cluster of members that do not belong together', () => {
  // Goal: one member with another token founds another cluster in its own eyes: it must neither join nor disturb.
  it('does without a member that has another cluster token, which says so', async () => {
    await using cluster = await TestCluster.prepare({ products: THREE });
    const [a, b, stray] = cluster.members as [TestServer, TestServer, TestServer];
    stray.membership.token = 'another';
    stray.launch();
    await Promise.all([a.start(), b.start()]);
    await takesWrites(cluster, a, b);
    await says(stray, /cluster ID mismatch|another cluster|different cluster/i);
    assert.equal(stray.isReady, false);
  });

  it('ends a member that was removed, and refuses its id for good', async () => {
    await using cluster = await TestCluster.start({ products: THREE });
    const leader = await cluster.agreed();
    const victim = cluster.members.find((member) => member !== leader) as TestServer;
    await takesWrites(cluster, victim);
    await cluster.ask('Cluster/MemberRemove', { ID: await cluster.idOf(victim) });
    await victim.ended(PATIENCE_MS);
    await says(victim, /removed from the cluster/);
    await refuses(victim, /removed from the cluster/);
    await takesWrites(cluster, leader);
  });

  it('refuses a second member of one name', async () => {
    await using cluster = await TestCluster.start({ products: THREE });
    const [first] = cluster.members as [TestServer];
    const twin = await cluster.newcomer(product);
    const [, ...others] = first.membership.initialCluster.split(',');
    twin.membership.initialCluster = [`${first.membership.name}=${first.membership.advertisePeerUrl}`, ...others].join(
      ',',
    );
    twin.membership.name = first.membership.name;
    twin.membership.state = 'new';
    await refuses(twin, /--initial-cluster|already|name/);
    await takesWrites(cluster, first);
  });

  it('refuses who was never added, and a peer of another cluster', async () => {
    await using cluster = await TestCluster.start({ products: [product] });
    await using other = await TestCluster.start({ products: [product] });
    const stranger = await cluster.newcomer(product);
    const [home] = cluster.members as [TestServer];
    stranger.membership.initialCluster = `${home.membership.initialCluster},${stranger.membership.name}=${stranger.membership.advertisePeerUrl}`;
    await refuses(stranger, /member count|not in the cluster|was not added|unequal/i);
    // A member of the one cluster is told that its neighbour is a member of the other.
    const [foreign] = other.members as [TestServer];
    await cluster.ask('Cluster/MemberAdd', { peerURLs: [foreign.membership.advertisePeerUrl] });
    await says(home, /cluster ID mismatch/);
    await takesWrites(other, foreign);
  });

  // Goal: two processes with one id would vote twice. The copy has to notice.
  it("refuses another member's data directory", async () => {
    await using cluster = await TestCluster.start({ products: THREE });
    const [original, , victim] = cluster.members as [TestServer, TestServer, TestServer];
    await takesWrites(cluster, original, victim);
    await victim.kill();
    rmSync(join(victim.dataDir, 'member.etcd'), { recursive: true });
    cpSync(join(original.dataDir, 'member.etcd'), join(victim.dataDir, 'member.etcd'), { recursive: true });
    await refuses(victim, /copy of its data directory|running at/);
    await takesWrites(cluster, original);
  });
});

describe('a clock that somebody sets', () => {
  // Goal: an hour back or forth ends no lease early, keeps none too long, and stops nothing.
  it('changes neither leases nor leadership', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'etsd-clock-'));
    const offsetOf = (name: string): string => join(folder, name);
    await using cluster = await TestCluster.start({
      products: THREE,
      script: join(import.meta.dirname, 'wall-clock-member.ts'),
      env: (name) => ({ TEST_WALL_CLOCK_OFFSET: offsetOf(name) }),
    });
    try {
      const leader = await cluster.agreed();
      const { term } = (await cluster.status(leader)) as { term: number };
      await cluster.client(leader).expect('Lease/LeaseGrant', { ID: '7', TTL: '100' });
      for (const hours of [1, -1, 0]) {
        for (const member of cluster.members) {
          writeFileSync(offsetOf(member.membership.name), String(hours * 3_600_000));
          await takesWrites(cluster, ...cluster.members);
        }
        const left = await cluster.client(leader).expect('Lease/LeaseTimeToLive', { ID: '7' });
        const ttl = Number((left as Message)['TTL']);
        assert.ok(ttl > 30 && ttl <= 100, `${ttl} s left of 100 after ${hours} h`);
      }
      await cluster.client(leader).expect('Lease/LeaseGrant', { ID: '8', TTL: '2' });
      await eventually(PATIENCE_MS, 'a lease of 2 s ends', async () => {
        const { TTL } = await cluster.client(leader).expect('Lease/LeaseTimeToLive', { ID: '8' });
        return TTL === '-1' ? true : null;
      });
      assert.equal((await cluster.status(leader))?.term, term, 'no election took place');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
