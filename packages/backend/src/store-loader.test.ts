import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Prng } from '@etsd/base';
import { BUCKETS, type Bucket } from './buckets.ts';
import { checkLmdb, LmdbBackend, StoreLoader } from './lmdb.ts';

const directory = mkdtempSync(join(tmpdir(), 'etsd-loader-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(directory, `${count++}.mdb`);
const pause = async (): Promise<void> => {};
const fail = (error: Error): void => {
  throw error;
};

interface Written {
  readonly bucket: Bucket;
  readonly key: Buffer;
  readonly value: Buffer;
}

async function load(path: string, records: readonly Written[]): Promise<void> {
  const loader = await StoreLoader.create(path);
  for (const { bucket, key, value } of records) {
    loader.add(bucket, key, value);
    if (loader.isFull) await loader.drain();
  }
  await loader.close();
}

function contentOf(backend: LmdbBackend): Written[] {
  const found: Written[] = [];
  for (const bucket of BUCKETS) {
    backend.scan(bucket, null, null, (key, value) => {
      found.push({ bucket, key: Buffer.from(key), value: Buffer.from(value) });
      return true;
    });
  }
  return found;
}

function bytesOf(prng: Prng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => prng.below(256)));
}

/** Keys in order, of this many bytes, with values as long as `lengthOf` says. */
function records(bucket: Bucket, amount: number, keyBytes: number, lengthOf: (at: number) => number): Written[] {
  return Array.from({ length: amount }, (_, at) => {
    const key = Buffer.alloc(keyBytes, at & 255);
    key.writeUInt32BE(at, 0);
    return { bucket, key, value: Buffer.alloc(lengthOf(at), at & 255) };
  });
}

/** Loads, and lets the engine work on it: what it finds, and after writing everywhere in the tree, is what should be there. */
async function judged(written: readonly Written[], prng: Prng): Promise<void> {
  const path = fresh();
  await load(path, written);
  const check = await checkLmdb(path, pause);
  assert.equal(check?.hasChecksum, true);
  // With those two that say what the file is.
  assert.equal(check?.records, written.length);

  const backend = new LmdbBackend(path, fail);
  const expected = [...written].sort((a, b) => (a.bucket < b.bucket ? -1 : a.bucket > b.bucket ? 1 : 0));
  assert.deepEqual(contentOf(backend), expected);
  const model = new Map(expected.map(({ bucket, key, value }) => [`${bucket} ${key.toString('latin1')}`, value]));
  for (let round = 0; round < 4; round++) {
    for (const { bucket, key } of written) {
      const name = `${bucket} ${key.toString('latin1')}`;
      const dice = prng.below(6);
      if (dice < 2) {
        backend.delete(bucket, key);
        model.delete(name);
      } else if (dice === 2) {
        const value = bytesOf(prng, prng.below(40));
        backend.put(bucket, key, value);
        model.set(name, value);
      }
    }
    backend.put('key', Buffer.from(`~${round}`), Buffer.from('behind'));
    model.set(`key ~${round}`, Buffer.from('behind'));
    await backend.flush();
  }
  const names = [...model.keys()].sort();
  const after = contentOf(backend).map(({ bucket, key }) => `${bucket} ${key.toString('latin1')}`);
  assert.deepEqual([...after].sort(), names);
  for (const { bucket, key, value } of contentOf(backend)) {
    assert.deepEqual(value, model.get(`${bucket} ${key.toString('latin1')}`));
  }
  await backend.close();
  assert.equal((await checkLmdb(path, pause))?.hasChecksum, true);
}

test('loader: the engine finds what was loaded, and works on it, whatever the sizes', async () => {
  const seed = 71;
  const prng = new Prng(seed);
  await judged([], prng);
  await judged(
    records('meta', 1, 5, () => 0),
    prng,
  );
  // Around the size from which on a value lies in pages of its own.
  await judged(
    records('key', 80, 17, (at) => 1980 + at),
    prng,
  );
  // Long keys make a tree of several levels out of few records.
  await judged(
    records('lease', 400, 1978, (at) => at % 3),
    prng,
  );
  const lengths = [0, 1, 17, 300, 1000, 2500, 4072, 4073, 9000];
  const mixed = records('key', 2500, 17, () => lengths[prng.below(lengths.length)] as number);
  await judged([...records('alarm', 3, 8, () => 8), ...mixed, ...records('meta', 12, 20, () => 40)], prng);
});

test('loader: every number of pages ends in a sound tree', async () => {
  // Keys of 1000 bytes: two records to a leaf and three leaves to a branch.
  for (let amount = 1; amount < 32; amount += amount < 12 ? 1 : 3) {
    const path = fresh();
    await load(
      path,
      records('auth', amount, 1000, () => 900),
    );
    assert.equal((await checkLmdb(path, pause))?.records, amount, `${amount} records`);
  }
});

test('loader: a value larger than what is written at once', async () => {
  const path = fresh();
  const prng = new Prng(5);
  const large = Buffer.alloc(5_000_003, bytesOf(prng, 1009));
  const written: Written[] = [
    { bucket: 'key', key: Buffer.from('a'), value: large },
    { bucket: 'key', key: Buffer.from('b'), value: Buffer.from('small') },
    { bucket: 'key', key: Buffer.from('c'), value: large.subarray(1) },
  ];
  await load(path, written);
  const backend = new LmdbBackend(path, fail);
  assert.deepEqual(contentOf(backend), written);
  await backend.close();
});

test('loader: the pages are those that the engine itself would fill in this order', async () => {
  const written = records('key', 3000, 17, (at) => (at * 37) % 2600);
  const path = fresh();
  await load(path, written);
  const loaded = new LmdbBackend(path, fail);
  const engines = new LmdbBackend(fresh(), fail);
  for (const { bucket, key, value } of written) engines.put(bucket, key, value);
  await engines.defragment();
  assert.equal(loaded.inUseBytes(), engines.inUseBytes());
  await loaded.close();
  await engines.close();
});
