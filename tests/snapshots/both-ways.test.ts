// Goal: a backup goes from etsd to etcd and from etcd to etsd with every key, revision, lease, user and role, packed or not.
// Method: a filled member of the one product, the real tools of both, a member of the other product made of the backup.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { Client, type Message } from '../support/client.ts';
import { type Product, startServer, TestServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl', 'etcdutl');
/** Generous: a machine may have a lot else to do. */
const READY_MS = 120_000;

interface Result {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: number | null;
}

/** A tool of either product: `etcdctl`, `etsdutl`, … */
function tool(name: string, ...args: string[]): Result {
  const isOurs = name.startsWith('etsd');
  const program = isOurs ? NODE : (findPeerProgram(name) as string);
  const words = isOurs ? [join(ROOT, `packages/cli/bin/${name}.ts`), ...args] : args;
  const { stdout, stderr, status } = spawnSync(program, words, { encoding: 'utf8', timeout: 150_000 });
  return { stdout, stderr, exit: status };
}

function done(name: string, ...args: string[]): string {
  const { stdout, stderr, exit } = tool(name, ...args);
  assert.equal(exit, 0, `${name} ${args.join(' ')}\n${stderr}`);
  return stdout;
}

async function fill(client: Client): Promise<void> {
  await client.expect('Lease/LeaseGrant', { TTL: '5000', ID: '77' });
  for (let i = 0; i < 400; i++) {
    const value = Buffer.alloc((i * 41) % 4000, i);
    await client.expect('KV/Put', { key: Buffer.from(`k${i % 90}`), value, lease: i % 9 === 0 ? '77' : '0' });
  }
  await client.expect('KV/DeleteRange', { key: Buffer.from('k5') });
  await client.expect('KV/Compact', { revision: '120', physical: true });
  for (const name of ['root', 'alice']) await client.expect('Auth/UserAdd', { name, password: `${name}-pw` });
  for (const name of ['root', 'reader']) await client.expect('Auth/RoleAdd', { name });
  const perm = { permType: 'READ', key: Buffer.from('k1'), range_end: Buffer.from('k3') };
  await client.expect('Auth/RoleGrantPermission', { name: 'reader', perm });
  await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
  await client.expect('Auth/UserGrantRole', { user: 'alice', role: 'reader' });
}

/** Everything a client can ask for, as it must be afterwards too. */
async function everything(client: Client): Promise<Record<string, unknown>> {
  const all = Buffer.from([0]);
  const seen: Record<string, unknown> = {};
  for (const revision of ['0', '130', '300']) {
    const { kvs, count } = await client.expect('KV/Range', { key: all, range_end: all, revision });
    seen[`keys at ${revision}`] = { kvs, count };
    const { hash, compact_revision } = await client.expect('Maintenance/HashKV', { revision });
    seen[`hash at ${revision}`] = { hash, compact_revision };
  }
  const lease = await client.expect('Lease/LeaseTimeToLive', { ID: '77', keys: true });
  seen['lease'] = { granted: lease['grantedTTL'], keys: (lease['keys'] as Buffer[]).map(String).sort() };
  seen['users'] = (await client.expect('Auth/UserList', {}))['users'];
  for (const name of ['root', 'alice']) seen[`user ${name}`] = (await client.expect('Auth/UserGet', { name }))['roles'];
  seen['reader'] = (await client.expect('Auth/RoleGet', { role: 'reader' }))['perm'];
  return seen;
}

/** Passwords and permissions are those of before. */
async function checkAuth(client: Client): Promise<void> {
  await client.expect('Auth/AuthEnable', {});
  assert.match((await client.call('Auth/Authenticate', { name: 'alice', password: 'wrong' })).message, /auth/);
  const { token } = await client.expect('Auth/Authenticate', { name: 'alice', password: 'alice-pw' });
  assert.ok(String(token).length > 10);
}

interface Place {
  readonly flags: readonly string[];
  readonly dataDir: string;
  readonly server: TestServer;
}

/** Where a member of the product is to be restored to. */
async function place(directory: string, product: Product, name: string): Promise<Place> {
  const dataDir = join(directory, name);
  const peerPort = await freePort();
  const url = `http://127.0.0.1:${peerPort}`;
  const flags = ['--name', 'infra1', '--initial-cluster', `infra1=${url}`, '--initial-advertise-peer-urls', url];
  flags.push('--data-dir', join(dataDir, 'member.etcd'));
  return {
    flags,
    dataDir,
    server: new TestServer({ product, dataDir, readyMs: READY_MS }, await freePort(), peerPort),
  };
}

async function served<T>(server: TestServer, use: (client: Client) => Promise<T>): Promise<T> {
  await server.start();
  const client = new Client(server.address);
  try {
    return await use(client);
  } finally {
    client.close();
    await server.dispose();
  }
}

for (const [from, to, restorer] of [
  ['etsd', 'etcd', 'etcdutl'],
  ['etcd', 'etsd', 'etsdutl'],
] as const) {
  test(`from ${from} to ${to}`, { skip, timeout: 400_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'both-ways-'));
    const server = await startServer({ product: from, readyMs: READY_MS });
    const client = new Client(server.address);
    try {
      await fill(client);
      const file = join(directory, 'saved.db');
      const packed = join(directory, 'saved.db.zst');
      done('etcdctl', '--endpoints', server.address, 'snapshot', 'save', file);
      const save = tool('etsdctl', '--endpoints', server.address, 'snapshot', 'save', packed, '--compress=zstd');
      assert.deepEqual(save, { stdout: `Snapshot saved at ${packed}\n`, stderr: '', exit: 0 }, 'a pipe stays clean');
      assert.deepEqual(readdirSync(directory), ['saved.db', 'saved.db.zst']);
      assert.ok(statSync(packed).size < statSync(file).size / 2);
      const unpacked = join(directory, 'unpacked.db');
      writeFileSync(unpacked, zstdDecompressSync(readFileSync(packed)));
      const table = done('etcdutl', 'snapshot', 'status', unpacked, '-w', 'table');
      for (const each of [unpacked, packed]) {
        assert.equal(done('etsdutl', 'snapshot', 'status', each, '-w', 'table'), table);
      }
      const { hash } = await client.expect('Maintenance/HashKV', { revision: '300' });
      assert.equal(done('etsdutl', 'hashkv', packed, '--rev=300').split(',')[0], String(hash));

      const before = await everything(client);
      const target = await place(directory, to, 'restored');
      if (restorer === 'etcdutl') done('etcdutl', 'snapshot', 'restore', unpacked, ...target.flags);
      else done('etsdutl', 'snapshot', 'restore', packed, '--keep-revision', ...target.flags);
      await served(target.server, async (restored) => {
        assert.deepEqual(await everything(restored), before);
        await checkAuth(restored);
      });
      if (restorer === 'etsdutl') await restoredSafely(directory, packed, client);
    } finally {
      client.close();
      await server.dispose();
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

/** Without any flag nobody can go on as if nothing had happened. */
async function restoredSafely(directory: string, file: string, client: Client): Promise<void> {
  const target = await place(directory, 'etsd', 'safely');
  const words = tool('etsdutl', 'snapshot', 'restore', file, ...target.flags).stderr;
  assert.match(words, /revision lifted.*"bump-revision":1000000000/);
  const all = Buffer.from([0]);
  const before = await client.expect('KV/Range', { key: all, range_end: all });
  const revision = Number((before['header'] as Message)['revision']);
  await served(target.server, async (restored) => {
    const after = await restored.expect('KV/Range', { key: all, range_end: all });
    assert.deepEqual(after['kvs'], before['kvs']);
    assert.equal(Number((after['header'] as Message)['revision']), revision + 1_000_000_000);
    const old = { key: all, range_end: all, revision: String(revision) };
    assert.match((await restored.call('KV/Range', old)).message, /required revision has been compacted/);
    const cluster = (message: Message): unknown => (message['header'] as Message)['cluster_id'];
    assert.notEqual(cluster(after), cluster(before));
  });
}

// Goal: what cannot be right is refused before anything is made, in etcd's words, and what was refused leaves nothing.
test('what etsdutl does not restore', { skip, timeout: 300_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'both-ways-'));
  const server = await startServer({ product: 'etsd', readyMs: READY_MS });
  const client = new Client(server.address);
  try {
    for (let i = 0; i < 50; i++) await client.expect('KV/Put', { key: Buffer.from(`k${i}`), value: Buffer.alloc(999) });
    const file = join(directory, 'saved.db');
    done('etsdctl', '--endpoints', server.address, 'snapshot', 'save', file);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(file, bytes);
    const target = join(directory, 'new');
    const words = (name: string, ...flags: string[]): string | undefined => {
      const { stderr, exit } = tool(name, 'snapshot', 'restore', file, '--data-dir', target, ...flags);
      assert.equal(exit, 1);
      return /^Error: .*$/m.exec(stderr)?.[0];
    };
    const mine = words('etsdutl');
    assert.match(mine ?? '', /^Error: expected sha256 \[[\d ]+\], got \[[\d ]+\]$/);
    assert.equal(existsSync(target), false);
    assert.equal(mine, words('etcdutl'));
    rmSync(target, { recursive: true, force: true });
    done('etsdutl', 'snapshot', 'restore', file, '--data-dir', target, '--skip-hash-check');
    assert.deepEqual(readdirSync(target), ['member']);
    assert.match(words('etsdutl', '--skip-hash-check') ?? '', /data-dir ".*" not empty or could not be read/);
    const together = ['--keep-revision', '--bump-revision=5', '--mark-compacted'];
    const both = tool('etsdutl', 'snapshot', 'restore', file, '--data-dir', join(directory, 'x'), ...together);
    assert.match(both.stderr, /--keep-revision cannot be given together/);
    assert.equal(both.exit, 128);
    const unknown = tool('etsdctl', '--endpoints', server.address, 'snapshot', 'save', 'x', '--compress=gzip');
    assert.match(unknown.stderr, /unknown format "gzip" of --compress/);
  } finally {
    client.close();
    await server.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
});
