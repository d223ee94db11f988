import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, type Message, type Outcome } from '../support/client.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { assertAlive, PRODUCT, skip } from './target.ts';

const value = Buffer.alloc(200_000, 120);

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

// Goal: over the quota the store refuses to grow, says why, still reads and deletes, and recovers as operators know it.
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
    const grant = await client.call('Lease/LeaseGrant', { TTL: '100' });
    assert.equal(grant.code, 8, 'a lease is refused too');
    // Reading and deleting go on.
    const all = { key: Buffer.from('fill/'), range_end: Buffer.from('fill0') };
    assert.equal((await client.expect('KV/Range', { ...all, count_only: true }))['count'], String(accepted));
    const gone = await client.expect('KV/DeleteRange', all);
    assert.equal(gone['deleted'], String(accepted));
    const { revision } = gone['header'] as { revision: string };
    await client.expect('KV/Compact', { revision, physical: true });
    await client.expect('Maintenance/Defragment', {}, 60_000);
    const disarmed = await client.expect('Maintenance/Alarm', { ...alarms[0], action: 'DEACTIVATE' });
    assert.equal((disarmed['alarms'] as Message[]).length, 1);
    await assertAlive(server);
    assert.match(await health(server), /^200 /);
  } finally {
    client.close();
    await server.dispose();
  }
});

/** A small file system in memory; null where we may not mount one. */
function smallDisk(megabytes: number): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'small-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], { stdio: 'ignore' });
    return folder;
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
}

const disk = skip === false ? smallDisk(240) : null;

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

// Goal: a disk without room never costs what was acknowledged; with room again, the member goes on.
test('a disk that is really full', {
  skip: skip || (disk === null && 'mounting a small disk is not permitted'),
}, async (context) => {
  const root = disk as string;
  const server = await startServer({ product: PRODUCT, dataRoot: root });
  let client = new Client(server.address);
  try {
    const before = await fill(client, 'before/', 20);
    assert.equal(before.accepted, 20);
    occupy(join(root, 'filler'));
    // Enough to go beyond whatever was allocated in advance. The server may refuse, or end with a message.
    const during = await fill(client, 'during/', 600);
    // A connection that is lost means that the server has decided to end.
    if (during.refused?.code === 14) await server.ended(10_000);
    const ended = !server.isRunning;
    context.diagnostic(
      `${during.accepted} puts on a full disk, then ${during.refused?.code} ${during.refused?.message}; ` +
        `the server ${ended ? `ended: ${server.tail(3)}` : 'lives'}`,
    );
    assert.notEqual(during.refused, null, 'a full disk was never noticed');
    rmSync(join(root, 'filler'));
    if (!server.isRunning) await server.start();
    client.close();
    client = new Client(server.address);
    for (const [prefix, count] of [
      ['before/', before.accepted],
      ['during/', during.accepted],
    ] as const) {
      const end = Buffer.from(prefix.replace('/', '0'));
      const range = await client.expect('KV/Range', { key: Buffer.from(prefix), range_end: end, keys_only: true });
      const keys = new Set((range['kvs'] as Message[]).map((kv) => (kv['key'] as Buffer).toString()));
      for (let index = 0; index < count; index++)
        assert.ok(keys.has(`${prefix}${index}`), `${prefix}${index} was acknowledged`);
    }
    await assertAlive(server);
  } finally {
    client.close();
    await server.dispose();
    execFileSync('umount', ['-l', root], { stdio: 'ignore' });
    rmSync(root, { recursive: true, force: true });
  }
});
