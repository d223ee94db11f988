// Goal: HashKV of a file is that of a member with the same keys, at every revision, however much of its past was compacted
// or deleted. Method: random histories in a store in memory, written as files; the members' own code says what is right.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { type Prng, U64_ZERO } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { Store } from '@etsd/mvcc';
import { EtcdError } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { writeStoreToBolt } from '@etsd/server';
import { forSeeds } from '@etsd/testkit';
import { hashFile } from './hash-file.ts';

const pause = (): Promise<void> => Promise.resolve();
const SLICE = 1000;

function live(prng: Prng, backend: MemoryBackend): Store {
  const store = new Store(backend);
  store.open();
  const keys = prng.between(1, 30);
  const key = (): string => `k${prng.below(keys)}`;
  for (let change = prng.between(0, 120); change > 0; change--) {
    store.begin();
    for (let operation = prng.between(1, 3); operation > 0; operation--) {
      const value = Buffer.alloc(prng.below(40), change);
      if (prng.chance(0.3)) store.deleteRange(key(), '');
      else store.put(key(), value, 0, value.length, U64_ZERO);
    }
    store.end();
    if (prng.chance(0.02)) compact(store, prng.between(1, store.revision));
  }
  if (prng.chance(0.1)) {
    store.begin();
    store.deleteRange('k', 'l');
    store.end();
  }
  if (prng.chance(0.4)) compact(store, prng.chance(0.4) ? store.revision : prng.between(1, store.revision));
  return store;
}

function compact(store: Store, revision: number): void {
  if (store.compact(revision) !== null) return;
  while (!store.compactSlice(SLICE));
}

/** As a member that was started on these records. */
function expected(backend: MemoryBackend, revision: number): unknown {
  const store = new Store(backend);
  store.open();
  const job = store.hashKv(revision);
  if (job instanceof EtcdError) return job;
  while (!job.slice(SLICE));
  const { hash, hashRevision, compactRevision } = job;
  return { hash, hashRevision, compactRevision };
}

test('the hash of a file is that of a member, at every revision', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hash-file-'));
  const { disk } = nodeWorld();
  let compared = 0;
  let compacted = 0;
  try {
    await forSeeds(60, async (prng) => {
      const path = join(directory, `${compared}.db`);
      const backend = new MemoryBackend();
      const store = live(prng, backend);
      backend.commit();
      const frozen = backend.snapshot();
      await writeStoreToBolt(frozen, disk, path, { pause, isDurable: false });
      frozen.close();
      const file = await BoltFile.open(disk, path);
      try {
        for (const revision of [0, store.revision, store.revision + 1, prng.between(1, store.revision), 1]) {
          assert.deepEqual(await hashFile(file, revision), expected(backend, revision), `at ${revision}`);
          compared++;
        }
        if (store.compactRevision > 0) compacted++;
      } finally {
        await file.close();
      }
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  assert.ok(compacted > 8, `${compacted} were compacted`);
});

test('a compaction under way is left to whoever has an index', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hash-file-'));
  const { disk } = nodeWorld();
  const path = join(directory, 'file.db');
  try {
    const backend = new MemoryBackend();
    const store = new Store(backend);
    store.open();
    for (let i = 0; i < 10; i++) {
      store.begin();
      store.put('k', Buffer.from('v'), 0, 1, U64_ZERO);
      store.end();
    }
    assert.equal(store.compact(5), null);
    backend.commit();
    await writeStoreToBolt(backend.snapshot(), disk, path, { pause, isDurable: false });
    const file = await BoltFile.open(disk, path);
    assert.equal(await hashFile(file, 0), null);
    await file.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
