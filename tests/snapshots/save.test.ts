// Goal: what `snapshot save` gets from etsd is a snapshot to etcd's own tools, and a real etcd that is restored from it
// has every key, revision and lease. Method: a filled member, real etcdctl and etcdutl, a real etcd beside it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BoltFile } from '@etsd/boltfile';
import { nodeWorld } from '@etsd/runtime/node';
import { checkSavedSnapshot, summariseSnapshot } from '@etsd/server';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { Client, type Message } from '../support/client.ts';
import { startServer, TestServer } from '../support/server.ts';

const world = nodeWorld();
const NO_PAUSE = (): Promise<void> => Promise.resolve();
const skip = needsPeer('etcd', 'etcdctl', 'etcdutl');

function tool(name: string, ...args: string[]): string {
  return execFileSync(findPeerProgram(name) as string, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

async function ask(client: Client, method: string, request: Message): Promise<Message> {
  const { response, message } = await client.call(method, request, 10_000);
  assert.ok(response !== null, `${method}: ${message}`);
  return response;
}

async function fill(client: Client): Promise<{ lease: string }> {
  const lease = (await ask(client, 'Lease/LeaseGrant', { TTL: '5000', ID: '0' }))['ID'] as string;
  for (let i = 0; i < 600; i++) {
    const value = Buffer.alloc((i * 37) % 9000, i);
    await ask(client, 'KV/Put', { key: Buffer.from(`key${i % 200}`), value, lease: i % 7 === 0 ? lease : '0' });
  }
  await ask(client, 'KV/Put', { key: Buffer.from('large'), value: Buffer.alloc(1_000_000, 1) });
  await ask(client, 'KV/DeleteRange', { key: Buffer.from('key3') });
  await ask(client, 'KV/Compact', { revision: '250', physical: true });
  return { lease };
}

async function everything(client: Client, revision: string): Promise<Message[]> {
  const all = Buffer.from([0]);
  const range = await ask(client, 'KV/Range', { key: all, range_end: all, revision });
  return range['kvs'] as Message[];
}

test('etcdctl saves, etcdutl restores, and a real etcd has it all', { skip }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'snapshot-save-'));
  const ours = await startServer({ product: 'etsd' });
  const client = new Client(ours.address);
  const file = join(directory, 'saved.db');
  const dataDir = join(directory, 'restored');
  const peerPort = await freePort();
  const theirs = new TestServer({ product: 'etcd', dataDir }, await freePort(), peerPort);
  let restored: Client | null = null;
  try {
    const { lease } = await fill(client);
    tool('etcdctl', '--endpoints', ours.address, 'snapshot', 'save', file);
    assert.equal(statSync(file).size % 512, 32, 'pages and the checksum behind them');
    const status = JSON.parse(tool('etcdutl', 'snapshot', 'status', file, '-w', 'json'));
    const { disk } = world;
    assert.deepEqual(await checkSavedSnapshot(disk, file, NO_PAUSE), { bytes: status.totalSize, hasChecksum: true });
    const bolt = await BoltFile.open(disk, file);
    const { hash, revision, totalKeys, totalSize } = await summariseSnapshot(bolt, NO_PAUSE);
    await bolt.close();
    assert.deepEqual({ hash, revision, totalKey: totalKeys, totalSize }, status, 'our summary is that of etcdutl');
    const now = await ask(client, 'Maintenance/Status', {});
    assert.equal(status.revision, Number((now['header'] as Message)['revision']));
    const cluster = `infra1=http://127.0.0.1:${peerPort}`;
    const own = ['--name', 'infra1', '--initial-cluster', cluster, '--initial-cluster-token', 'conformance'];
    own.push('--initial-advertise-peer-urls', `http://127.0.0.1:${peerPort}`);
    tool('etcdutl', 'snapshot', 'restore', file, '--data-dir', join(dataDir, 'member.etcd'), ...own);
    await theirs.start();
    restored = new Client(theirs.address);
    for (const revision of ['0', '300', '601']) {
      assert.deepEqual(await everything(restored, revision), await everything(client, revision));
    }
    for (const revision of [260, 400, status.revision]) {
      const mine = await ask(client, 'Maintenance/HashKV', { revision: String(revision) });
      const other = await ask(restored, 'Maintenance/HashKV', { revision: String(revision) });
      assert.equal(mine['hash'], other['hash'], `hash at ${revision}`);
      assert.equal(mine['compact_revision'], other['compact_revision']);
    }
    const keys = async (from: Client) => {
      const answer = await ask(from, 'Lease/LeaseTimeToLive', { ID: lease, keys: true });
      assert.equal(answer['grantedTTL'], '5000');
      return (answer['keys'] as Buffer[]).map(String).sort();
    };
    assert.deepEqual(await keys(restored), await keys(client));
    // It goes on: the revision after the restored one is the next.
    const next = await ask(restored, 'KV/Put', { key: Buffer.from('next'), value: Buffer.from('x') });
    assert.equal(Number((next['header'] as Message)['revision']), status.revision + 1);
  } finally {
    client.close();
    restored?.close();
    await world.workers.close();
    await ours.dispose();
    await theirs.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
});
