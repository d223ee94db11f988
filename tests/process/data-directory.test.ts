/** Goal: data that is not ours, not whole, or in use is refused with a clear message and left as it is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { open } from 'lmdb';
import { Client } from '../support/client.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { aloneIn, run, scratch } from './program.ts';

/** Names and content of a tree. */
function fingerprint(path: string): string {
  const hash = createHash('sha256');
  for (const name of (readdirSync(path, { recursive: true }) as string[]).sort()) {
    const file = join(path, name);
    hash.update(name);
    if (statSync(file).isFile()) hash.update(readFileSync(file));
  }
  return hash.digest('hex');
}

async function put(server: TestServer, count: number): Promise<void> {
  const client = new Client(server.address);
  for (let i = 0; i < count; i++) {
    await client.expect('KV/Put', { key: Buffer.from(`k${i}`), value: Buffer.alloc(1000, 120) });
  }
  client.close();
}

/** A data directory that was used and left in peace. */
async function used(flags: string[] = []): Promise<{ dataDir: string; memberDir: string }> {
  const dataDir = scratch();
  const server = await startServer({ product: 'etsd', dataDir, flags });
  await put(server, 50);
  await server.stop();
  return { dataDir, memberDir: join(dataDir, 'member.etcd/member') };
}

test('a second process on the same directory', async () => {
  const server = await startServer({ product: 'etsd' });
  try {
    const { code, stderr } = await run(await aloneIn(join(server.dataDir, 'member.etcd')));
    assert.equal(code, 1);
    assert.match(stderr, /another process is using the data directory .*Stop it first/);
    await put(server, 1);
  } finally {
    await server.dispose();
  }
});

test('a directory of real etcd stays untouched', { skip: needsPeer('etcd') }, async () => {
  const dataDir = scratch();
  const etcd = await startServer({ product: 'etcd', dataDir });
  await put(etcd, 5);
  await etcd.stop();
  const path = join(dataDir, 'member.etcd');
  const before = fingerprint(path);
  const { code, stderr } = await run(await aloneIn(path));
  assert.equal(code, 1);
  assert.match(stderr, /is a data directory of etcd/);
  assert.equal(fingerprint(path), before);
});

test('the log of another cluster', async () => {
  const one = await used(['--initial-cluster-token', 'one']);
  const other = await used(['--initial-cluster-token', 'other']);
  const words = [...(await aloneIn(join(one.dataDir, 'member.etcd'))), '--wal-dir', join(other.memberDir, 'wal')];
  const { code, stderr } = await run(words);
  assert.equal(code, 1);
  assert.match(stderr, /does not know.*different clusters/);
});

test('a store without its log', async () => {
  const { dataDir } = await used();
  const words = [...(await aloneIn(join(dataDir, 'member.etcd'))), '--wal-dir', join(scratch(), 'empty')];
  const { code, stderr } = await run(words);
  assert.equal(code, 1);
  assert.match(stderr, /there is no log in .*--wal-dir/);
});

test('a store of a newer format', async () => {
  const { dataDir, memberDir } = await used();
  const raw = open({ path: join(memberDir, 'snap/store.mdb'), noSubdir: true, maxDbs: 20 });
  await raw
    .openDB({ name: 'etsd', encoding: 'binary', keyEncoding: 'binary' })
    .put(Buffer.from('format'), Buffer.from('9'));
  await raw.close();
  const { code, stderr } = await run(await aloneIn(join(dataDir, 'member.etcd')));
  assert.equal(code, 1);
  assert.match(stderr, /storage format 9.*reads format 1.*Start the version of etsd that wrote it/);
});

test('a store that is something else', async () => {
  const dataDir = join(scratch(), 'data');
  mkdirSync(join(dataDir, 'member/snap'), { recursive: true });
  writeFileSync(join(dataDir, 'member/snap/store.mdb'), 'not a store');
  const { code, stderr } = await run(await aloneIn(dataDir));
  assert.equal(code, 1);
  assert.match(stderr, /is not a file of etsd's store/);
});

test('damage in the middle of the log is named with its position', async () => {
  const { dataDir, memberDir } = await used();
  const wal = join(memberDir, 'wal');
  const name = readdirSync(wal).find((file) => file.endsWith('.wal')) as string;
  const bytes = readFileSync(join(wal, name));
  bytes.fill(0xa5, 20_000, 20_100);
  writeFileSync(join(wal, name), bytes);
  const before = fingerprint(wal);
  const { code, stderr } = await run(await aloneIn(join(dataDir, 'member.etcd')));
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`${name}.*\\d{5}`), 'file and position');
  assert.match(stderr, /"advice":".*backup/);
  assert.doesNotMatch(stderr, /stacktrace/);
  assert.equal(fingerprint(wal), before, 'nothing is changed');
});

test('a directory that cannot be made, or is a file', async () => {
  const file = join(scratch(), 'file');
  writeFileSync(file, '');
  for (const path of [file, join(file, 'below')]) {
    const { code, stderr } = await run(await aloneIn(path));
    assert.equal(code, 1);
    assert.match(stderr, /data.dir/);
    assert.doesNotMatch(stderr, /stacktrace/);
  }
});

test('a copy of the data of a stopped member serves', async () => {
  const { dataDir } = await used();
  const copy = scratch();
  cpSync(dataDir, copy, { recursive: true });
  assert.ok(existsSync(join(copy, 'member.etcd/member/snap/store.mdb')));
  execFileSync('rm', ['-f', join(copy, 'member.etcd/member/snap/store.mdb-lock')]);
  const server = await startServer({ product: 'etsd', dataDir: copy });
  const client = new Client(server.address);
  try {
    const range = await client.expect('KV/Range', {
      key: Buffer.from('k'),
      range_end: Buffer.from('l'),
      count_only: true,
    });
    assert.equal(range['count'], '50');
  } finally {
    client.close();
    await server.dispose();
  }
});
