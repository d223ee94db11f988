import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeSmallDisk, removeSmallDisk } from '@etsd/testkit';
import { Client, type Message, type Outcome } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { assertAlive, PRODUCT, skip } from './target.ts';

const value = Buffer.alloc(200_000, 120);
/** A member that would clear an alarm does so within a second or two. */
const HELD_MS = 2500;

async function health(server: TestServer): Promise<string> {
  return await new Promise((resolve, reject) => {
    get(`http://${server.address}/health`, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on('end', () => resolve(`${response.statusCode} ${body.trim()}`));
    }).on('error', reject);
  });
}

/** Puts until one is refused; gives how it was refused and how many were accepted. */
async function fill(
  client: Client,
  prefix: string,
  most: number,
): Promise<{ refused: Outcome | null; accepted: number }> {
  for (let index = 0; index < most; index++) {
    const outcome = await client.call('KV/Put', { key: Buffer.from(`${prefix}${index}`), value });
    if (outcome.code !== 0) return { refused: outcome, accepted: index };
  }
  return { refused: null, accepted: most };
}

// Goal: over the quota the store refuses to grow, says why, still reads and deletes, and goes on by itself once enough is
// deleted (etcd once its operator has compacted, defragmented and disarmed).
test('an alarm that an operator has raised is cleared by nobody else, also after a restart', {
  skip: skip || (PRODUCT === 'etcd' && 'etcd clears none'),
}, async () => {
  const server = await startServer({ product: PRODUCT });
  let client = new Client(server.address);
  try {
    const status = await client.expect('Maintenance/Status', {});
    const memberID = (status['header'] as Message)['member_id'];
    await client.expect('Maintenance/Alarm', { action: 'ACTIVATE', memberID, alarm: 'NOSPACE' });
    await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    await server.stop();
    await server.start();
    client.close();
    client = new Client(server.address);
    await new Promise((resolve) => setTimeout(resolve, HELD_MS));
    assert.equal((await alarmsOf(client)).length, 1);
    assert.equal((await client.call('KV/Put', { key: Buffer.from('no'), value })).code, 8);
    await client.expect('Maintenance/Alarm', { action: 'DEACTIVATE', memberID, alarm: 'NOSPACE' });
    await client.expect('KV/Put', { key: Buffer.from('yes'), value });
  } finally {
    client.close();
    await server.dispose();
  }
});

test('the NOSPACE alarm, and the way out of it', { skip }, async () => {
  const quota = 16 * 1024 * 1024;
  const server = await startServer({ product: PRODUCT, flags: ['--quota-backend-bytes', String(quota)] });
  const client = new Client(server.address);
  try {
    const { refused, accepted } = await fill(client, 'fill/', 500);
    assert.deepEqual([refused?.code, refused?.message], [8, 'etcdserver: mvcc: database space exceeded']);
    assert.ok(accepted * value.length > quota / 4, `refused after ${accepted} puts`);
    const alarms = (await client.expect('Maintenance/Alarm', { action: 'GET' }))['alarms'] as Message[];
    assert.deepEqual(
      alarms.map((alarm) => alarm['alarm']),
      ['NOSPACE'],
    );
    assert.equal(await health(server), '503 {"health":"false","reason":"ALARM NOSPACE"}');
    if (PRODUCT === 'etsd') {
      const answer = await fetch(`http://${server.address}/api/keys/x`, { method: 'PUT', body: 'y' });
      const { detail, space } = (await answer.json()) as { detail: string; space: Record<string, unknown> };
      assert.equal(detail, 'etcdserver: mvcc: database space exceeded');
      assert.deepEqual([space['quotaBytes'], space['flag']], [quota, '--quota-backend-bytes']);
      assert.ok(Number(space['usedBytes']) > 0.9 * quota, JSON.stringify(space));
      assert.equal((space['largestPrefixes'] as { prefix: string }[])[0]?.prefix, 'fill/', JSON.stringify(space));
    }
    const grant = await client.call('Lease/LeaseGrant', { TTL: '100' });
    assert.equal(grant.code, 8, 'a lease is refused too');
    // Reading and deleting go on.
    const all = { key: Buffer.from('fill/'), range_end: Buffer.from('fill0') };
    assert.equal((await client.expect('KV/Range', { ...all, count_only: true }))['count'], String(accepted));
    const gone = await client.expect('KV/DeleteRange', all);
    assert.equal(gone['deleted'], String(accepted));
    if (PRODUCT === 'etsd') {
      // Nothing else is asked of the operator.
      await eventually(30_000, 'the alarm clears itself', async () =>
        (await alarmsOf(client)).length === 0 ? true : null,
      );
      const isIt = (line: string) => line.includes('cleared the alarm NOSPACE');
      await eventually(30_000, 'a line about it', () => server.logs.find(isIt) ?? null);
      const told = server.logs.find((line) => line.includes('the alarm NOSPACE stands')) ?? '';
      assert.match(told, /"quota-bytes":16777216,"flag":"--quota-backend-bytes".*"prefix":"fill\/"/);
    } else {
      const { revision } = gone['header'] as { revision: string };
      await client.expect('KV/Compact', { revision, physical: true });
      await client.expect('Maintenance/Defragment', {}, 60_000);
      const disarmed = await client.expect('Maintenance/Alarm', { ...alarms[0], action: 'DEACTIVATE' });
      assert.equal((disarmed['alarms'] as Message[]).length, 1);
    }
    await assertAlive(server);
    assert.match(await health(server), /^200 /);
  } finally {
    client.close();
    await server.dispose();
  }
});

const disk = skip === false ? makeSmallDisk(240) : null;

after(() => {
  if (disk !== null) removeSmallDisk(disk);
});

/** Writes a file until the disk is full. */
function occupy(path: string): void {
  const file = openSync(path, 'w');
  for (const size of [1_000_000, 4096]) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size));
    } catch {
      // Full.
    }
  }
  closeSync(file);
}

/** Every key of these puts is there. */
async function assertKept(client: Client, puts: Record<string, number>): Promise<void> {
  for (const [prefix, count] of Object.entries(puts)) {
    const end = Buffer.from(prefix.replace('/', '0'));
    const range = await client.expect('KV/Range', { key: Buffer.from(prefix), range_end: end, keys_only: true });
    const keys = new Set((range['kvs'] as Message[]).map((kv) => (kv['key'] as Buffer).toString()));
    for (let index = 0; index < count; index++)
      assert.ok(keys.has(`${prefix}${index}`), `${prefix}${index} was acknowledged`);
  }
}

async function alarmsOf(client: Client): Promise<Message[]> {
  return (await client.expect('Maintenance/Alarm', { action: 'GET' }))['alarms'] as Message[];
}

/** Until a put is taken after room was made: etsd notices the room within seconds, with etcd the operator disarms. */
async function recover(client: Client): Promise<void> {
  await eventually(15_000, 'a put after the alarm was cleared', async () => {
    for (const alarm of PRODUCT === 'etsd' ? [] : await alarmsOf(client)) {
      await client.expect('Maintenance/Alarm', { ...alarm, action: 'DEACTIVATE' });
    }
    const outcome = await client.call('KV/Put', { key: Buffer.from('again'), value });
    return outcome.code === 0 ? true : null;
  });
}

const skipFull = skip || (disk === null && 'mounting a small disk is not permitted');

// Goal: a disk without room never costs what was acknowledged, nor the member its life; with room again it goes on.
test('a disk that is really full', { skip: skipFull }, async (context) => {
  const root = disk as string;
  const server = await startServer({ product: PRODUCT, dataRoot: root });
  let client = new Client(server.address);
  try {
    const before = await fill(client, 'before/', 20);
    assert.equal(before.accepted, 20);
    occupy(join(root, 'filler'));
    // Enough to go beyond whatever was allocated in advance.
    const during = await fill(client, 'during/', 600);
    assert.notEqual(during.refused, null, 'a full disk was never noticed');
    context.diagnostic(
      `${during.accepted} puts on a full disk, then ${during.refused?.code} ${during.refused?.message}`,
    );
    if (PRODUCT === 'etsd') {
      assert.equal(during.refused?.code, 8, server.tail(3));
      assert.deepEqual(
        (await alarmsOf(client)).map((alarm) => alarm['alarm']),
        ['NOSPACE'],
      );
      for (let again = 0; again < 30; again++) {
        assert.equal((await client.call('KV/Put', { key: Buffer.from('no'), value })).code, 8);
      }
      // Reading and deleting go on, and see each other.
      assert.equal((await client.expect('KV/DeleteRange', { key: Buffer.from('before/0') }))['deleted'], '1');
      assert.equal((await client.expect('KV/Range', { key: Buffer.from('before/0') }))['count'], '0');
      await client.expect('KV/Range', { key: Buffer.from('during/0') });
      // What takes space itself goes on or says that it cannot; the member lives.
      const { header } = (await client.expect('KV/Range', { key: Buffer.from('before/1') })) as { header: Message };
      await client.expect('KV/Compact', { revision: header['revision'], physical: true }, 60_000);
      const snapshot = client.stream('Maintenance/Snapshot');
      snapshot.send({});
      snapshot.halfClose();
      await snapshot.until(60_000, 'the snapshot is refused', () => snapshot.ended !== null);
      assert.notEqual(snapshot.ended?.code, 0, 'a snapshot was made without room');
      assert.ok(server.isRunning, server.tail());
      const defragmented = await client.call('Maintenance/Defragment', {}, 60_000);
      assert.match(defragmented.message, /no room on the disk|writing to .* failed/, server.tail());
      assert.match(await health(server), /^503 /);
    }
    rmSync(join(root, 'filler'));
    if (!server.isRunning) await server.start();
    client.close();
    client = new Client(server.address);
    await recover(client);
    await client.expect('KV/Put', { key: Buffer.from('before/0'), value });
    await assertKept(client, { 'before/': before.accepted, 'during/': during.accepted });
    await server.kill();
    await server.start();
    await assertAlive(server);
    const reader = new Client(server.address);
    await assertKept(reader, { 'before/': before.accepted, 'during/': during.accepted });
    reader.close();
  } finally {
    client.close();
    await server.dispose();
    rmSync(join(root, 'filler'), { force: true });
  }
});

// Goal: the alarm comes before the disk is full, while everything can still be written; a member can stop and start then.
test('a disk that is nearly full', {
  skip: skipFull || (PRODUCT === 'etcd' && 'etcd does not look at the disk'),
}, async () => {
  const root = disk as string;
  const server = await startServer({ product: PRODUCT, dataRoot: root });
  let client = new Client(server.address);
  try {
    const before = await fill(client, 'before/', 20);
    occupy(join(root, 'filler'));
    truncateSync(join(root, 'filler'), statSync(join(root, 'filler')).size - 40 * 1024 * 1024);
    await eventually(10_000, 'the alarm', async () => ((await alarmsOf(client)).length > 0 ? true : null));
    assert.equal((await client.call('KV/Put', { key: Buffer.from('no'), value })).code, 8);
    const warning = server.logs.find((line) => line.includes('disk space is running out')) ?? '';
    assert.match(warning, /"path":".*member\.etcd".*"free-bytes":\d+.*"advice":"Free space/);
    await server.stop();
    assert.equal(server.exitSignal, 'SIGTERM');
    await server.start();
    client.close();
    client = new Client(server.address);
    assert.equal((await client.call('KV/Put', { key: Buffer.from('no'), value })).code, 8);
    rmSync(join(root, 'filler'));
    await recover(client);
    await assertKept(client, { 'before/': before.accepted });
  } finally {
    client.close();
    await server.dispose();
    rmSync(join(root, 'filler'), { force: true });
  }
});

/** Names of the log's segments, in order. */
function segmentsOf(server: TestServer): string[] {
  const directory = join(server.dataDir, 'member.etcd', 'member', 'wal');
  return readdirSync(directory).filter((name) => name.endsWith('.wal'));
}

const DELETE_BYTES = 1_200_000;
/** Longer than any of them takes where there is room, also on a machine that has other things to do. */
const DELETE_MS = 60_000;

/** Deletes what is not there, under keys so long that the log grows by them; how many were acknowledged. */
async function lengthen(client: Client, most: number, timeoutMs = DELETE_MS): Promise<number> {
  const name = Buffer.alloc(DELETE_BYTES, 'd');
  for (let deletes = 0; deletes < most; deletes++) {
    const outcome = await client.call('KV/DeleteRange', { key: name }, timeoutMs);
    if (outcome.code !== 0) return deletes;
  }
  return most;
}

const skipLog = skipFull || (PRODUCT === 'etcd' && 'etcd ends');
const SEGMENT_BYTES = 64_000_000;
/** So many that the next one, or the one after it, is in the next segment. */
const TO_THE_END = Math.floor(SEGMENT_BYTES / DELETE_BYTES);

// Goal: the log comes to the end of a segment on a disk that is full: the alarm stands, deleting goes on into the next
// segment, for which room was made in time, and nothing that was acknowledged is missing, then or after a restart.
test('a disk that is full when the log needs its next segment', { skip: skipLog }, async () => {
  const root = disk as string;
  const server = await startServer({ product: PRODUCT, dataRoot: root });
  let client = new Client(server.address);
  try {
    const before = await fill(client, 'before/', 5);
    assert.equal(await lengthen(client, TO_THE_END), TO_THE_END);
    assert.equal(segmentsOf(server).length, 1);
    occupy(join(root, 'filler'));
    // More than are taken before the store writes and finds no room, and fewer than the next segment takes.
    const during = await fill(client, 'during/', 250);
    assert.equal(during.refused?.code, 8, server.tail(3));
    assert.equal(await lengthen(client, 6), 6);
    assert.equal(segmentsOf(server).length, 2, 'the log has gone on to its next segment');
    assert.deepEqual(
      (await alarmsOf(client)).map((alarm) => alarm['alarm']),
      ['NOSPACE'],
    );
    assert.ok(server.isRunning, server.tail());
    rmSync(join(root, 'filler'));
    await recover(client);
    await assertKept(client, { 'before/': before.accepted, 'during/': during.accepted });
    await server.kill();
    await server.start();
    client.close();
    client = new Client(server.address);
    await assertAlive(server);
    await assertKept(client, { 'before/': before.accepted, 'during/': during.accepted });
  } finally {
    client.close();
    await server.dispose();
    rmSync(join(root, 'filler'), { force: true });
  }
});

// Goal: where not even the log has room any more, whoever writes is told nothing good, the member lives, and it goes on by
// itself as soon as there is room.
test('a disk that has no room for the log', { skip: skipLog }, async () => {
  const root = disk as string;
  const server = await startServer({ product: PRODUCT, dataRoot: root });
  const client = new Client(server.address);
  try {
    const before = await fill(client, 'before/', 5);
    occupy(join(root, 'filler'));
    assert.ok((await lengthen(client, TO_THE_END, 3000)) < TO_THE_END, 'the log has room without end');
    assert.ok(server.isRunning, server.tail());
    rmSync(join(root, 'filler'));
    await recover(client);
    assert.equal(await lengthen(client, 3), 3);
    assert.equal(server.run, 1, 'it was not started again');
    await assertKept(client, { 'before/': before.accepted });
  } finally {
    client.close();
    await server.dispose();
    rmSync(join(root, 'filler'), { force: true });
  }
});
