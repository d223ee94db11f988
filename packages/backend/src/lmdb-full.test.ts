import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeSmallDisk, removeSmallDisk } from '@etsd/testkit';
import { LmdbBackend } from './lmdb.ts';

const small = makeSmallDisk(64);
const disk = small ?? '';
const isMounted = small !== null;
after(() => removeSmallDisk(disk));

const filler = join(disk, 'filler');

/** Leaves about `bytes` free. */
function occupyAllBut(bytes: number): void {
  const file = openSync(filler, 'w');
  const pieces = [];
  try {
    for (;;) pieces.push(writeSync(file, Buffer.alloc(4096)));
  } catch {
    // Full.
  }
  closeSync(file);
  const keep = pieces.length - Math.ceil(bytes / 4096);
  execFileSync('truncate', ['-s', String(keep * 4096), filler]);
}

const SIZES = [200, 20_000, 200_000];

// Goal: a batch without room is neither lost nor fatal. Method: fill a small disk, write until a batch is refused, try
// again in vain, make room, try again; then everything is there, also for a reader of the file.
for (const size of SIZES) {
  test(`lmdb: a full disk, values of ${size} bytes`, async (context) => {
    if (!isMounted) return context.skip('mounting a small disk is not permitted');
    const path = join(disk, `of-${size}`, 'store.mdb');
    let refusals = 0;
    const fail = (error: Error): void => {
      throw error;
    };
    const backend = new LmdbBackend(path, fail, () => refusals++);
    occupyAllBut(2_000_000);
    let count = 0;
    while (!backend.isOutOfSpace) {
      for (let bytes = 0; bytes < 300_000; bytes += size) {
        backend.put('key', Buffer.from(`k${count++}`), Buffer.alloc(size, count % 251));
      }
      backend.commit();
      await backend.idle();
    }
    assert.equal(refusals, 1);
    for (let again = 2; again < 6; again++) {
      backend.retry();
      await backend.idle();
      assert.equal(refusals, again);
    }
    assert.equal(backend.get('key', Buffer.from(`k${count - 1}`))?.length, size, 'reads find what waits');
    await assert.rejects(backend.defragment(), /failed/);
    rmSync(filler);
    backend.retry();
    await backend.flush();
    assert.equal(backend.isOutOfSpace, false);
    assert.equal(backend.pendingBytes, 0);
    occupyAllBut(1_000_000);
    await assert.rejects(backend.defragment(), /no room/);
    assert.deepEqual(readdirSync(join(path, '..')).sort(), ['store.mdb', 'store.mdb-lock']);
    // What is refused only now does not keep a defragmentation waiting for room either.
    backend.put('key', Buffer.from('large'), Buffer.alloc(3_000_000));
    await assert.rejects(backend.defragment(), /failed/);
    rmSync(filler);
    backend.retry();
    await backend.flush();
    await backend.defragment();
    await backend.close();
    const reader = new LmdbBackend(path, fail);
    let found = 0;
    reader.scan('key', null, null, (_key, value) => value.length === size && ++found > 0);
    assert.equal(found, count);
    await reader.close();
  });
}

// Goal: a member can stop while its disk is full; what had no room is missing in the file as a whole.
test('lmdb: closing on a full disk', async (context) => {
  if (!isMounted) return context.skip('mounting a small disk is not permitted');
  const path = join(disk, 'closing', 'store.mdb');
  const fail = (error: Error): void => {
    throw error;
  };
  const backend = new LmdbBackend(path, fail);
  occupyAllBut(1_000_000);
  let batches = 0;
  while (!backend.isOutOfSpace) {
    batches++;
    for (let i = 0; i < 100; i++) backend.put('key', Buffer.from(`${batches}/${i}`), Buffer.alloc(2000));
    backend.commit();
    await backend.idle();
  }
  await backend.close();
  rmSync(filler);
  const reader = new LmdbBackend(path, fail);
  let found = 0;
  reader.scan('key', null, null, () => ++found > 0);
  assert.equal(found, (batches - 1) * 100);
  await reader.close();
});
