/** A member of three whose stored data was changed: real processes, real disks. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LmdbBackend } from '@etsd/backend/lmdb';
import type { Message } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';

const KEYS = 200;

function storeOf(member: ClusterMember): string {
  return join(member.dataDir, 'member.etcd/member/snap');
}

/** Flips a bit of the oldest record of a member that does not run. */
async function spoil(member: ClusterMember): Promise<void> {
  const backend = new LmdbBackend(join(storeOf(member), 'store.mdb'), (error) => assert.fail(error));
  let oldest: { key: Buffer; record: Buffer } | null = null;
  backend.scan('key', null, null, (key, record) => {
    oldest = { key: Buffer.from(key), record: Buffer.from(record) };
    return false;
  });
  assert.ok(oldest !== null);
  const { key, record } = oldest as { key: Buffer; record: Buffer };
  record[record.length - 1] = (record.at(-1) as number) ^ 1;
  backend.put('key', key, record);
  await backend.flush();
  await backend.close();
}

// Goal: rot in one member's store is found though nobody reads what it hit; the member leaves service, says so, takes the
// state of another and comes back, while the others serve; nothing acknowledged is lost. What is in doubt is not archived.
test('a member with rot in its store goes into quarantine and heals', async () => {
  const archive = mkdtempSync(join(tmpdir(), 'etsd-quarantine-'));
  const flags = ['--state-check-time', '1s', '--archive-dir', archive];
  flags.push('--archive-interval', '100ms', '--archive-base-interval', '100ms');
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], flags });
  try {
    for (let at = 0; at < KEYS; at++) {
      await cluster.ask('KV/Put', { key: Buffer.from(`k${at}`), value: Buffer.from(`value ${at}`) });
    }
    const leader = await cluster.agreed();
    const wrong = cluster.members.find((member) => member !== leader) as ClusterMember;
    await wrong.stop();
    await spoil(wrong);
    await wrong.start();
    const told = (pattern: RegExp): string | null => wrong.logs.find((line) => pattern.test(line)) ?? null;
    const line = await eventually(60_000, 'the quarantine', async () => told(/goes into quarantine/));
    assert.match(line, /"differs":"state","from-revision":1,"to-revision":\d+,"members-that-agree":\["\w+","\w+"\]/);
    await cluster.client(leader).expect('KV/Put', { key: Buffer.from('meanwhile'), value: Buffer.from('taken') });
    const { alarms } = await cluster.client(leader).expect('Maintenance/Alarm', { action: 'GET' });
    assert.deepEqual(alarms, [], 'the cluster has no alarm');
    await eventually(60_000, 'the way out of it', async () => told(/left its quarantine/));
    assert.equal(readdirSync(storeOf(wrong)).filter((name) => name.startsWith('store.mdb.differed-')).length, 1);
    const range = { key: Buffer.from('k'), range_end: Buffer.from('l') };
    const { kvs } = (await cluster.client(wrong).expect('KV/Range', range)) as { kvs: Message[] };
    assert.equal(kvs.length, KEYS);
    for (const { key, value } of kvs) assert.equal(`value ${String(key).slice(1)}`, String(value));
    await eventually(30_000, 'all hold the same', async () => {
      const hashes = await cluster.hashes(0);
      return new Set([...hashes.values()].map(({ hash }) => hash)).size === 1 ? true : null;
    });
    await wrong.kill();
    await wrong.start();
    await cluster.client(wrong).expect('KV/Put', { key: Buffer.from('after'), value: Buffer.from('a restart') });
    assert.equal(wrong.logs.filter((text) => text.includes('still in quarantine')).length, 0);

    // With an empty archive it would copy its store at once.
    const id = BigInt(await cluster.idOf(wrong)).toString(16);
    await wrong.stop();
    const own = readdirSync(archive).filter((name) => name.endsWith(id));
    assert.equal(own.length, 1);
    for (const name of own) rmSync(join(archive, name), { recursive: true });
    writeFileSync(join(storeOf(wrong), '../quarantine.json'), '{"what":"state","fromRevision":1,"toRevision":2}\n');
    wrong.logs = [];
    await wrong.start();
    const copied = await eventually(60_000, 'a copy of its store', async () => told(/archived a copy of the store/));
    const healed = told(/left its quarantine/);
    assert.ok(told(/still in quarantine/) !== null && healed !== null, wrong.tail(20));
    assert.ok(wrong.logs.indexOf(copied) > wrong.logs.indexOf(healed), 'not while it was in doubt');
  } finally {
    await cluster.dispose();
    rmSync(archive, { recursive: true, force: true });
  }
});
