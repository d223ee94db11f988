// Goal: etcd's files are read as etcd reads them, and etcd takes ours for its own. Method: a real etcd makes a file of
// every shape its buckets take; it is read, compared with what etcdctl says, written anew, and given to etcdutl.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { checkBoltFile } from './check.ts';
import { BoltFile } from './reader.ts';
import { NO_PAUSE, readFile, withDirectory, writeFile } from './testing/files.ts';

const [etcd, etcdctl, etcdutl] = ['etcd', 'etcdctl', 'etcdutl'].map(findPeerProgram) as [string, string, string];
const skip = needsPeer('etcd', 'etcdctl', 'etcdutl');

async function withEtcd(directory: string, run: (ctl: (...args: string[]) => string) => void): Promise<void> {
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const flags = ['--name', 'one', '--data-dir', directory, '--listen-client-urls', endpoint];
  flags.push('--advertise-client-urls', endpoint, '--listen-peer-urls', peer);
  flags.push('--initial-advertise-peer-urls', peer, '--initial-cluster', `one=${peer}`);
  const child: ChildProcess = spawn(etcd, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  try {
    await new Promise<void>((resolve, reject) => {
      let output = '';
      child.stderr?.on('data', (piece: Buffer) => {
        output += piece.toString();
        if (output.includes('ready to serve client requests')) resolve();
      });
      void ended.then(() => reject(new Error(`etcd ended:\n${output}`)));
    });
    run((...args) =>
      execFileSync(etcdctl, ['--endpoints', endpoint, ...args], { stdio: ['pipe', 'pipe', 'pipe'] }).toString(),
    );
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
}

test('a file of real etcd is read whole, and the copy we write of it has the same hash', { skip }, async () => {
  await withDirectory(async (disk, directory) => {
    let saved = { keys: 0, revision: 0 };
    await withEtcd(join(directory, 'data'), (ctl) => {
      const value = 'x'.repeat(700);
      for (let batch = 0; batch < 20; batch++) {
        ctl('put', `single${batch}`, value.repeat(batch * 5));
      }
      const lease = ctl('lease', 'grant', '1000').split(' ')[1] as string;
      ctl('put', 'leased', 'v', `--lease=${lease}`);
      ctl('user', 'add', 'root:pw');
      ctl('role', 'add', 'reader');
      ctl('role', 'grant-permission', 'reader', 'read', 'a', 'b');
      ctl('del', 'single3');
      ctl('compaction', '9');
      const range = JSON.parse(ctl('get', '', '--prefix', '--keys-only', '-w', 'json'));
      saved = { keys: range.count, revision: range.header.revision };
      ctl('snapshot', 'save', join(directory, 'saved.db'));
    });
    const path = join(directory, 'saved.db');
    const content = await readFile(disk, path);
    assert.deepEqual(
      content.map(([name]) => name),
      ['alarm', 'auth', 'authRoles', 'authUsers', 'cluster', 'key', 'lease', 'members', 'members_removed', 'meta'],
    );
    const bucket = (name: string) => content.find(([each]) => each === name)?.[1] ?? [];
    const last = bucket('key').at(-1)?.[0] as Buffer;
    assert.equal(Number(last.readBigUInt64BE(0)), saved.revision, 'the last record is that of the last revision');
    assert.equal(bucket('lease').length, 1);
    assert.deepEqual(
      bucket('authUsers').map(([name]) => name.toString()),
      ['root'],
    );
    assert.deepEqual(
      bucket('authRoles').map(([name]) => name.toString()),
      ['reader'],
    );
    assert.ok(saved.keys >= 20);
    const ours = join(directory, 'ours.db');
    await writeFile(disk, ours, content);
    const status = (file: string) =>
      JSON.parse(execFileSync(etcdutl, ['snapshot', 'status', file, '-w', 'json']).toString());
    const theirs = status(path);
    const mine = status(ours);
    assert.deepEqual([mine.hash, mine.revision, mine.totalKey], [theirs.hash, theirs.revision, theirs.totalKey]);
    assert.equal(mine.totalSize, readFileSync(ours).length);
  });
});

test('the store of a stopped etcd, with pages free and used anew, passes the check', { skip }, async () => {
  await withDirectory(async (disk, directory) => {
    await withEtcd(join(directory, 'data'), (ctl) => {
      for (let i = 0; i < 40; i++) ctl('put', `key${i % 10}`, 'v'.repeat(2000 + 900 * i));
      ctl('compaction', '35');
      ctl('put', 'last', 'v');
    });
    const file = await BoltFile.open(disk, join(directory, 'data/member/snap/db'));
    try {
      const { keys, usedPages, pages } = await checkBoltFile(file, NO_PAUSE);
      assert.ok(keys >= 6 + 2, `${keys} keys`);
      assert.ok(usedPages < pages);
    } finally {
      await file.close();
    }
  });
});

test('etcd goes on from a store we wrote: it reads, writes, compacts and defragments it', { skip }, async () => {
  await withDirectory(async (disk, directory) => {
    const data = join(directory, 'data');
    await withEtcd(data, (ctl) => {
      for (let i = 0; i < 100; i++) ctl('put', `key${i}`, 'v'.repeat(200 + 30 * i));
    });
    const db = join(data, 'member/snap/db');
    const content = await readFile(disk, db);
    await disk.remove(db);
    await writeFile(disk, db, content);
    await withEtcd(data, (ctl) => {
      assert.equal(ctl('get', 'key7', '--print-value-only').trim().length, 410);
      for (let i = 0; i < 100; i += 2) ctl('del', `key${i}`);
      for (let i = 0; i < 60; i++) ctl('put', `key${i}`, 'w'.repeat(1000));
      ctl('compaction', '190', '--physical');
      ctl('defrag');
      assert.equal(ctl('get', 'key7', '--print-value-only').trim(), 'w'.repeat(1000));
      assert.equal(JSON.parse(ctl('get', '', '--prefix', '--keys-only', '-w', 'json')).count, 80);
    });
  });
});
