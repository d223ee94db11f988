/** The same work for either product, so that their figures can be held against each other. */
import { ask } from '../gateway/http.ts';
import type { Client, Stream } from '../support/client.ts';
import type { ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { parsePage, readPage } from './pages.ts';

const KEY = Buffer.from('load/key');
const PUTS = 20;
const HEADERS = { 'client-api-version': '3.5' };
const PATIENCE_MS = 90_000;

/** Calls whose number depends on the test alone: what waits for a condition asks other things. */
export const COUNTED_METHODS: ReadonlySet<string> = new Set([
  'Put',
  'DeleteRange',
  'Txn',
  'Compact',
  'Watch',
  'LeaseGrant',
  'LeaseRevoke',
  'LeaseKeepAlive',
  'LeaseTimeToLive',
  'Hash',
  'HashKV',
  'Defragment',
  'Snapshot',
  'Alarm',
  'MemberPromote',
  'UserAdd',
]);

/** Everything that a client can do to the leader, once; returns it. */
export async function runLoad(cluster: TestCluster): Promise<ClusterMember> {
  const leader = await cluster.agreed();
  const follower = cluster.members.find((member) => member !== leader) as ClusterMember;
  const client = cluster.client(leader);
  const watch = await openWatch(client);
  for (let turn = 0; turn < PUTS; turn++) {
    await client.expect('KV/Put', { key: Buffer.from(`load/${turn}`), value: Buffer.alloc(100, turn) }, PATIENCE_MS);
  }
  await client.expect('KV/Put', { key: KEY, value: Buffer.from('one') }, PATIENCE_MS);
  await client.expect('KV/Put', { key: KEY, value: Buffer.from('two'), prev_kv: true }, PATIENCE_MS);
  await client.expect('KV/Range', { key: KEY }, PATIENCE_MS);
  await client.expect('KV/Range', { key: Buffer.from('load/'), range_end: Buffer.from('load0') }, PATIENCE_MS);
  await client.call('KV/Range', { key: KEY, serializable: true }, PATIENCE_MS, HEADERS);
  await transact(client);
  await client.expect('KV/DeleteRange', { key: Buffer.from('load/1') }, PATIENCE_MS);
  await client.expect('KV/DeleteRange', { key: Buffer.from('load/2'), range_end: Buffer.from('load/3') }, PATIENCE_MS);
  await leases(client);
  await refused(client);
  await upkeep(client);
  await watched(watch);
  await health(leader);
  // What is counted of the links is there once it was measured, or once something went wrong.
  await shows(leader, 'etcd_network_peer_round_trip_time_seconds');
  await follower.kill();
  await client.expect('KV/Put', { key: KEY, value: Buffer.from('four') }, PATIENCE_MS);
  for (const name of ['peer_sent_failures_total', 'disconnected_peers_total'])
    await shows(leader, `etcd_network_${name}`);
  return leader;
}

async function transact(client: Client): Promise<void> {
  const put = (value: string) => ({ request_put: { key: KEY, value: Buffer.from(value) } });
  await client.expect('KV/Txn', {
    compare: [{ key: KEY, target: 'VERSION', result: 'GREATER', version: 0 }],
    success: [put('three'), { request_range: { key: KEY } }],
    failure: [put('never')],
  });
  await client.expect('KV/Txn', { success: [{ request_range: { key: KEY } }] });
}

async function leases(client: Client): Promise<void> {
  const { ID } = await client.expect('Lease/LeaseGrant', { TTL: 600 }, PATIENCE_MS);
  await client.expect('KV/Put', { key: Buffer.from('load/leased'), value: KEY, lease: ID }, PATIENCE_MS);
  const alive = client.stream('Lease/LeaseKeepAlive', HEADERS);
  alive.send({ ID });
  await alive.until(PATIENCE_MS, 'a renewal', () => alive.received.length === 1);
  alive.halfClose();
  await alive.changed.wait(PATIENCE_MS, 'the end of the renewals', () => alive.ended !== null);
  await client.expect('Lease/LeaseTimeToLive', { ID }, PATIENCE_MS);
  await client.expect('Lease/LeaseRevoke', { ID }, PATIENCE_MS);
}

/** Calls that fail, each in its own way. */
async function refused(client: Client): Promise<void> {
  await client.call('KV/Put', { key: KEY, value: KEY, lease: '7' }, PATIENCE_MS);
  await client.call('Lease/LeaseRevoke', { ID: '7' }, PATIENCE_MS);
  await client.call('KV/Put', { key: Buffer.alloc(0), value: KEY }, PATIENCE_MS);
  await client.call('Cluster/MemberPromote', { ID: '7' }, PATIENCE_MS);
  await client.call('Auth/UserAdd', { name: '', password: 'x' }, PATIENCE_MS);
  const { header } = await client.expect('KV/Range', { key: KEY }, PATIENCE_MS);
  const revision = Number((header as { revision: string }).revision);
  await client.call('KV/Compact', { revision: String(revision + 1000) }, PATIENCE_MS);
  await client.expect('KV/Compact', { revision: String(revision - 2), physical: true }, PATIENCE_MS);
}

async function upkeep(client: Client): Promise<void> {
  await client.expect('Maintenance/Hash', {}, PATIENCE_MS);
  await client.expect('Maintenance/HashKV', {}, PATIENCE_MS);
  await client.expect('Maintenance/Defragment', {}, PATIENCE_MS);
  await client.expect('Maintenance/Alarm', { action: 'ACTIVATE', memberID: '7', alarm: 'NOSPACE' }, PATIENCE_MS);
  await client.expect('Maintenance/Alarm', { action: 'DEACTIVATE', memberID: '7', alarm: 'NOSPACE' }, PATIENCE_MS);
  const snapshot = client.stream('Maintenance/Snapshot');
  snapshot.send({});
  snapshot.halfClose();
  await snapshot.changed.wait(PATIENCE_MS, 'the end of a snapshot', () => snapshot.ended !== null);
}

async function openWatch(client: Client): Promise<Stream> {
  const watch = client.stream('Watch/Watch', HEADERS);
  watch.send({ create_request: { key: KEY } });
  await watch.until(PATIENCE_MS, 'a watch', () => watch.received.length === 1);
  return watch;
}

async function watched(watch: Stream): Promise<void> {
  const events = (): number =>
    watch.received.reduce((count, message) => count + (message['events'] as unknown[]).length, 0);
  await watch.until(PATIENCE_MS, 'all events', () => events() === 3);
}

async function shows({ clientPort }: ClusterMember, name: string): Promise<void> {
  await eventually(
    PATIENCE_MS,
    name,
    async () => {
      const samples = parsePage(await readPage(clientPort)).get(name)?.samples ?? [];
      return samples.some(({ value }) => value > 0) || null;
    },
    100,
  );
}

async function health({ clientPort }: ClusterMember): Promise<void> {
  for (const path of ['/health', '/health?serializable=true', '/livez', '/readyz', '/readyz/linearizable_read']) {
    await ask(clientPort, { method: 'GET', path });
  }
  const body = JSON.stringify({ key: KEY.toString('base64') });
  await ask(clientPort, { method: 'POST', path: '/v3/kv/range', body });
}
