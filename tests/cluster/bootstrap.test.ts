/**
 * How members begin, join, leave and come back, as processes: what must work does, beside members of either product; what
 * would do harm is refused, and said in one line.
 */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freePort, needsPeer } from '@etsd/testkit';
import { startNameServer } from '../../packages/runtime/src/node/testing/name-server.ts';
import { Client, type Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, startServer, TestServer } from '../support/server.ts';

const skip = needsPeer('etcd');
const disposables: { dispose(): Promise<void> }[] = [];
after(async () => {
  for (const each of disposables) await each.dispose();
});

async function clusterOf(...products: Product[]): Promise<TestCluster> {
  const cluster = await TestCluster.start({ products });
  disposables.push(cluster);
  await cluster.agreed();
  return cluster;
}

/** A process that is to be refused: its last words. */
async function lastWords(server: TestServer, status = 1, message = 'member stopped'): Promise<string> {
  server.logs = [];
  server.launch();
  await server.ended(30_000);
  assert.equal(server.exitCode, status, server.tail());
  const line = server.logs.filter((each) => each.includes(`"msg":"${message}"`));
  assert.equal(line.length, 1, server.tail());
  return JSON.parse(line[0] as string).error as string;
}

/** The same of a member that was removed: it has not failed. */
async function farewell(server: TestServer): Promise<string> {
  return await lastWords(server, 0, 'server error');
}

/** A further member of etsd with these settings, not started. */
async function member(settings: Partial<TestServer['membership']>, flags: string[] = [], dataDir?: string) {
  const peerPort = await freePort();
  const membership = {
    name: 'x',
    advertisePeerUrl: `http://127.0.0.1:${peerPort}`,
    initialCluster: '',
    state: 'new' as const,
    token: 'tests',
    ...settings,
  };
  const place = dataDir === undefined ? {} : { dataDir };
  const server = new TestServer({ product: 'etsd', membership, flags, ...place }, await freePort(), peerPort);
  disposables.push(server);
  return server;
}

async function put(cluster: TestCluster, key: string): Promise<void> {
  await cluster.ask('KV/Put', { key: Buffer.from(key), value: Buffer.from('v') });
}

async function has(server: TestServer, key: string): Promise<boolean> {
  const client = new Client(server.address);
  try {
    const { count } = await client.expect('KV/Range', { key: Buffer.from(key) });
    return count === '1';
  } finally {
    client.close();
  }
}

async function memberIds(cluster: TestCluster): Promise<Map<string, string>> {
  const list = (await cluster.ask('Cluster/MemberList', { linearizable: true }))['members'] as Message[];
  return new Map(list.map((each) => [(each['peerURLs'] as string[])[0] as string, each['ID'] as string]));
}

async function idOf(cluster: TestCluster, of: ClusterMember): Promise<string> {
  return (await memberIds(cluster)).get(of.membership.advertisePeerUrl) as string;
}

/** Adds a learner, starts it, has it promoted; returns it once it knows that it votes. */
async function grow(cluster: TestCluster, product: Product): Promise<ClusterMember> {
  const added = await eventually(20_000, 'a member can be added', () =>
    cluster.addMember(product, { isLearner: true }).catch(() => null),
  );
  await added.start();
  const ID = await idOf(cluster, added);
  await cluster.ask('Cluster/MemberPromote', { ID });
  // The others may answer before it has applied the change; until then it serves as a learner does.
  await eventually(20_000, 'it knows that it votes', async () => {
    const { response } = await cluster.client(added).call('Maintenance/Status', {});
    return response?.['isLearner'] === false ? true : null;
  });
  return added;
}

for (const [products, joining] of [
  [['etsd', 'etsd', 'etsd'], 'etsd'],
  [['etcd', 'etcd', 'etcd'], 'etsd'],
  [['etsd', 'etsd', 'etsd'], 'etcd'],
] as [Product[], Product][]) {
  test(`${joining} joins a cluster of ${products[0]}, is removed, and stops for good`, { skip }, async () => {
    const cluster = await clusterOf(...products);
    await put(cluster, 'before');
    const added = await grow(cluster, joining);
    assert.ok(await has(added, 'before'));
    const ID = await idOf(cluster, added);
    const leader = await cluster.agreed();
    await cluster.client(leader).expect('Cluster/MemberRemove', { ID });
    await added.ended(20_000);
    assert.equal(added.exitCode, 0);
    assert.match(added.log, /the member has been permanently removed from the cluster/);
    if (joining === 'etsd') {
      assert.equal(await farewell(added), 'the member has been permanently removed from the cluster');
    }
    assert.ok(!(await memberIds(cluster)).has(added.membership.advertisePeerUrl));
  });
}

for (const other of ['etsd', 'etcd'] as Product[]) {
  test(`one that was removed while it was down hears it from ${other}`, { skip }, async () => {
    const cluster = await clusterOf('etsd', other, other);
    const [gone, witness] = cluster.members as [ClusterMember, ClusterMember];
    const ID = await idOf(cluster, gone);
    await gone.kill();
    await eventually(20_000, 'it is removed', async () => {
      const { code } = await cluster.client(witness).call('Cluster/MemberRemove', { ID }, 5000);
      return code === 0 || code === 5 ? true : null;
    });
    assert.equal(await farewell(gone), 'the member has been permanently removed from the cluster');
  });
}

test('a member that lost its data is refused, as founder and as one that joins', async () => {
  const cluster = await clusterOf('etsd', 'etsd', 'etsd');
  const [lost] = cluster.members as [ClusterMember];
  await lost.kill();
  rmSync(join(lost.dataDir, 'member.etcd'), { recursive: true });
  assert.match(await lastWords(lost), /^member [0-9a-f]+ has already been bootstrapped$/);
  lost.membership.state = 'existing';
  assert.match(await lastWords(lost), /^member [0-9a-f]+ has already been bootstrapped$/);
});

test('a copied data directory is refused while the original runs', async () => {
  const cluster = await clusterOf('etsd', 'etsd', 'etsd');
  const [original] = cluster.members as [ClusterMember];
  await original.stop();
  const { initialCluster, token, name } = original.membership;
  const copy = await member({ name, initialCluster, token });
  cpSync(original.dataDir, copy.dataDir, { recursive: true });
  await original.start();
  assert.match(
    await lastWords(copy),
    /^member [0-9a-f]+ is running at http:\S+ already: \S+ is a copy of its data dir/,
  );
});

test('a wrong token is refused, and a stranger’s cluster', async () => {
  const cluster = await TestCluster.prepare({ products: ['etsd', 'etsd', 'etsd'] });
  disposables.push(cluster);
  const [one, two, three] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
  await Promise.all([one.start(), two.start()]);
  const { token } = three.membership;
  three.membership.token = 'other';
  assert.match(
    await lastWords(three),
    /^cluster ID mismatch: http:\S+ belongs to cluster \S+, the flags of this member/,
  );
  three.membership.token = token;
  await three.start();
  const stranger = await member({ state: 'existing' });
  const { advertisePeerUrl } = stranger.membership;
  stranger.membership.initialCluster = `x=${advertisePeerUrl},one=${one.membership.advertisePeerUrl}`;
  assert.match(await lastWords(stranger), /^error validating peerURLs .*: member count is unequal$/);
});

test('a member of another cluster at a peer URL is survived, and said in a few lines', async () => {
  const [one, other] = await Promise.all([clusterOf('etsd'), clusterOf('etsd')]);
  const [inner, stranger] = [one.members[0] as ClusterMember, other.members[0] as ClusterMember];
  const peerURLs = [stranger.membership.advertisePeerUrl];
  await one.client(inner).expect('Cluster/MemberAdd', { peerURLs, isLearner: true });
  const complaints = (of: ClusterMember): number =>
    of.logs.filter((line) => line.includes('cluster ID mismatch')).length;
  await eventually(10_000, 'both have noticed', () =>
    complaints(inner) > 0 && complaints(stranger) > 0 ? true : null,
  );
  const { lineCount } = stranger;
  // Each puts twenty keys through its log meanwhile: time for many attempts of the other.
  for (let count = 0; count < 20; count++) {
    await put(one, `k${count}`);
    await put(other, `k${count}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.ok(complaints(inner) <= 4 && complaints(stranger) <= 4, `${complaints(inner)}, ${complaints(stranger)}`);
  assert.ok(stranger.lineCount - lineCount < 10, 'no flood');
});

test('after a restart the flags about the cluster count no more', async () => {
  const cluster = await clusterOf('etsd', 'etsd', 'etsd');
  await put(cluster, 'k');
  const [one] = cluster.members as [ClusterMember];
  await one.stop();
  one.membership.initialCluster = 'other=http://127.0.0.1:9';
  one.membership.token = 'other';
  await one.start();
  assert.ok(await has(one, 'k'));
});

test('one of three is forced to be a cluster of its own, and grows again', async () => {
  const cluster = await clusterOf('etsd', 'etsd', 'etsd');
  await put(cluster, 'k');
  const [one, two, three] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
  // Stopped, not killed: of what was committed last, a process that is killed may not know that it was.
  assert.ok(await has(one, 'k'));
  await one.stop();
  await Promise.all([two, three].map((each) => each.kill()));
  const { membership, dataDir } = one;
  const forced = await member({ ...membership }, ['--force-new-cluster'], dataDir);
  await forced.start();
  assert.ok(await has(forced, 'k'));
  await forced.stop();
  await one.start();
  assert.equal((await memberIds(cluster)).size, 1);
  const added = await grow(cluster, 'etsd');
  assert.ok(await has(added, 'k'));
});

for (const keeper of ['etsd', 'etcd'] as Product[]) {
  test(`members find each other through ${keeper} as discovery service`, {
    skip: keeper === 'etcd' && skip,
  }, async () => {
    const service = await startServer({ product: keeper });
    disposables.push(service);
    const client = new Client(service.address);
    const token = 'c0ffee';
    const size = { key: Buffer.from(`/_etcd/registry/${token}/_config/size`), value: Buffer.from('3') };
    const flags = ['--discovery-endpoints', `http://${service.address}`, '--discovery-token', token];
    const early = await member({ name: 'early' }, flags);
    assert.equal(await lastWords(early), 'failed to join discovery cluster (discovery: size key not found)');
    await client.expect('KV/Put', size);
    const members = await Promise.all(['a', 'b', 'c'].map((name) => member({ name }, flags)));
    await Promise.all(members.map((each) => each.start()));
    const late = await member({ name: 'd' }, flags);
    assert.equal(await lastWords(late), 'failed to join discovery cluster (discovery: cluster is full)');
    const { response } = await client.call('KV/Range', { ...prefix(`/_etcd/registry/${token}/members/`) });
    assert.equal(response?.['count'], '3');
    client.close();
    const [one] = members as [TestServer];
    const own = new Client(one.address);
    const list = (await own.expect('Cluster/MemberList', { linearizable: true }))['members'] as Message[];
    own.close();
    assert.deepEqual(list.map((each) => each['name'] as string).sort(), ['a', 'b', 'c']);
    // The service is needed once only.
    await service.stop();
    await one.stop();
    await one.start();
  });
}

test('members find each other through the records of a domain', async () => {
  const ports = [await freePort(), await freePort(), await freePort()];
  const records = ports.map((port) => ({ target: 'localhost', port, priority: 0, weight: 0 }));
  const server = await startNameServer(new Map([['_etcd-server-blue._tcp.example.test', records]]));
  const script = join(import.meta.dirname, 'named-member.ts');
  const members: TestServer[] = [];
  try {
    for (const port of ports) {
      const advertisePeerUrl = `http://localhost:${port}`;
      const name = `m${port}`;
      const membership = { name, advertisePeerUrl, initialCluster: '', state: 'new' as const, token: 'srv' };
      const flags = ['--discovery-srv', 'example.test', '--discovery-srv-name', 'blue'];
      const env = { TEST_NAME_SERVER: server.address };
      const one = new TestServer({ product: 'etsd', script, env, flags, membership }, await freePort(), port);
      disposables.push(one);
      members.push(one);
    }
    await Promise.all(members.map((each) => each.start()));
    const client = new Client((members[0] as TestServer).address);
    const list = (await client.expect('Cluster/MemberList', { linearizable: true }))['members'] as Message[];
    client.close();
    assert.deepEqual(list.map((each) => each['name'] as string).sort(), ports.map((port) => `m${port}`).sort());
  } finally {
    server.close();
  }
});

function prefix(text: string): Message {
  const key = Buffer.from(text);
  const range_end = Buffer.from(key);
  range_end[range_end.length - 1] = (range_end.at(-1) as number) + 1;
  return { key, range_end };
}

test('a learner votes by itself once it has caught up, where the operator asked for it', async () => {
  const cluster = await TestCluster.start({ products: ['etsd'], flags: ['--auto-promote-learners'] });
  disposables.push(cluster);
  await put(cluster, 'k');
  const added = await cluster.addMember('etsd', { isLearner: true });
  await added.start();
  await eventually(20_000, 'it votes', async () => {
    const list = (await cluster.ask('Cluster/MemberList', {}))['members'] as Message[];
    return list.some((each) => each['isLearner'] === true) ? null : true;
  });
});
