import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, NODE, needsPeer, ROOT } from '../support/binaries.ts';
import { Client, type Message } from '../support/client.ts';
import { freePort, startServer, TestServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl', 'etcdutl');

interface Result {
  stdout: string;
  stderr: string;
  exit: number | null;
}

function run(words: string[]): Result {
  const [program, ...args] = words;
  const { status, stderr, stdout } = spawnSync(program as string, args, { encoding: 'utf8', timeout: 60_000 });
  return { stdout, stderr, exit: status };
}

const ours = (...args: string[]): Result => run([NODE, join(ROOT, 'packages/cli/bin/etsdutl.ts'), ...args]);
const theirs = (name: string, ...args: string[]): Result => run([findPeerProgram(name) as string, ...args]);

async function fill(client: Client): Promise<void> {
  await client.expect('Lease/LeaseGrant', { TTL: '5000', ID: '77' });
  for (let i = 0; i < 300; i++) {
    const value = Buffer.alloc((i * 41) % 5000, i);
    await client.expect('KV/Put', { key: Buffer.from(`k${i % 90}`), value, lease: i % 9 === 0 ? '77' : '0' });
  }
  await client.expect('KV/DeleteRange', { key: Buffer.from('k5') });
  await client.expect('KV/Compact', { revision: '120', physical: true });
}

/** A saved snapshot of a real etcd, and what that etcd says of itself. */
async function saved(directory: string): Promise<{ file: string; hash: (revision: string) => Message }> {
  const server = await startServer({ product: 'etcd' });
  const client = new Client(server.address);
  try {
    await fill(client);
    const file = join(directory, 'saved.db');
    assert.equal(theirs('etcdctl', '--endpoints', server.address, 'snapshot', 'save', file).exit, 0);
    const hashes = new Map<string, Message>();
    for (const revision of ['0', '200']) hashes.set(revision, await client.expect('Maintenance/HashKV', { revision }));
    return { file, hash: (revision) => hashes.get(revision) as Message };
  } finally {
    client.close();
    await server.dispose();
  }
}

// Goal: what is a good backup to etcdutl is one to us, down to the printed byte, and what we restore from it has every
// key, revision and lease, and goes on from there.
test('etsdutl prints what etcdutl prints, and restores what etcd saved', { skip, timeout: 180_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-test-'));
  try {
    const { file, hash } = await saved(directory);
    let compared = 0;
    for (const format of ['simple', 'json', 'fields', 'table', 'protobuf', 'yaml']) {
      const [mine, other] = [ours, (...args: string[]) => theirs('etcdutl', ...args)].map((tool) => {
        const { exit, stderr, stdout } = tool('snapshot', 'status', file, '-w', format);
        return { exit, stdout, error: /^Error: .*$/m.exec(stderr)?.[0] };
      });
      assert.deepEqual(mine, other, format);
      compared++;
    }
    for (const args of [['snapshot', 'status', '/no/such/file'], ['snapshot', 'restore'], ['defrag'], ['nope']]) {
      assert.equal(ours(...args).exit, theirs('etcdutl', ...args).exit, args.join(' '));
      compared++;
    }
    console.log(`etsdutl: ${compared} commands compared with etcdutl's`);

    for (const revision of ['0', '200']) {
      const { stdout } = ours('hashkv', file, '--rev', revision, '-w', 'json');
      const printed = JSON.parse(stdout) as Record<string, number>;
      assert.equal(printed['hash'], hash(revision)['hash']);
      assert.equal(String(printed['compactRevision']), hash(revision)['compact_revision']);
    }
    await restoreAndRun(directory, file, hash('0'), 0);
    await restoreAndRun(directory, file, hash('0'), 1000);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

async function restoreAndRun(directory: string, file: string, hash: Message, bump: number): Promise<void> {
  const peerPort = await freePort();
  const dataDir = join(directory, `bumped-by-${bump}`);
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const flags = [
    '--name',
    'infra1',
    '--initial-cluster',
    `infra1=${peerUrl}`,
    '--initial-advertise-peer-urls',
    peerUrl,
  ];
  if (bump > 0) flags.push('--bump-revision', String(bump), '--mark-compacted');
  const target = join(dataDir, 'member.etcd');
  assert.deepEqual(pick(ours('snapshot', 'restore', file, '--data-dir', target, ...flags)), { exit: 0, stdout: '' });
  assert.equal(ours('snapshot', 'restore', file, '--data-dir', target, ...flags).exit, 1, 'nothing is overwritten');

  const server = new TestServer({ product: 'etsd', dataDir }, await freePort(), peerPort);
  const client = new Client(server.address);
  try {
    await server.start();
    const revision = Number((hash['header'] as Message)['revision']);
    if (bump === 0) {
      const own = await client.expect('Maintenance/HashKV', { revision: '0' });
      assert.equal(own['hash'], hash['hash']);
    } else {
      const range = { key: Buffer.from('k1'), revision: String(revision) };
      assert.match((await client.call('KV/Range', range)).message, /required revision has been compacted/);
    }
    const lease = await client.expect('Lease/LeaseTimeToLive', { ID: '77', keys: true });
    assert.ok((lease['keys'] as Buffer[]).length > 5);
    const put = await client.expect('KV/Put', { key: Buffer.from('next'), value: Buffer.from('x') });
    assert.equal(Number((put['header'] as Message)['revision']), revision + bump + 1);
    assert.match(ours('defrag', '--data-dir', target).stderr, /a member is using it/);
    await server.stop();
    assert.equal(ours('defrag', '--data-dir', target).exit, 0);
    await server.start();
    assert.equal((await client.expect('KV/Range', { key: Buffer.from('next') }))['count'], '1');
  } finally {
    client.close();
    await server.dispose();
  }
}

function pick({ exit, stdout }: Result): { exit: number | null; stdout: string } {
  return { exit, stdout };
}

// Goal: a damaged file is refused and named; nothing is made of it.
test('a damaged snapshot is refused', { skip, timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-test-'));
  try {
    const { file } = await saved(directory);
    const { readFileSync } = await import('node:fs');
    const bytes = readFileSync(file);
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 0xff;
    const damaged = join(directory, 'damaged.db');
    writeFileSync(damaged, bytes);
    const result = ours('snapshot', 'restore', damaged, '--data-dir', join(directory, 'never'));
    assert.equal(result.exit, 1);
    assert.match(result.stderr, /sha256/);
    writeFileSync(damaged, bytes.subarray(0, bytes.length - 32));
    const unchecked = ours('snapshot', 'restore', damaged, '--data-dir', join(directory, 'never'));
    assert.match(unchecked.stderr, /snapshot missing hash but --skip-hash-check=false/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
