import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { crc32c, U64_ZERO } from '@etsd/base';
import { EtcdError } from '@etsd/proto';
import { Store } from './store.ts';

function storeWith(puts: number): Store {
  const store = new Store(new MemoryBackend(), { cacheBytes: 4096 });
  store.open();
  for (let number = 0; number < puts; number++) {
    store.begin();
    store.put(`k${number % 3}`, Buffer.from('value'), 0, 5, U64_ZERO);
    store.end();
  }
  return store;
}

function hashAt(store: Store, revision: number): number {
  const job = store.hashKv(revision);
  assert.ok(!(job instanceof EtcdError));
  while (!job.slice(100));
  return job.hash;
}

// Goal: etcd takes a negative revision as it stands, and no record is that old. Only zero means "now".
test('the hash below revision zero is that of no records', () => {
  const store = storeWith(10);
  const none = crc32c(Buffer.from('key'));
  assert.equal(hashAt(store, -1), none);
  assert.notEqual(hashAt(store, 0), none);
  assert.equal(hashAt(store, 0), hashAt(store, store.revision));
});

// Goal: whoever asks right after a compaction of a small store is given the compaction's own hash, as etcd gives it.
test('one slice is enough to hash and compact a small store', () => {
  const store = storeWith(20);
  const before = hashAt(store, 12);
  assert.equal(store.compact(12), null);
  assert.equal(store.compactSlice(1000), true);
  assert.equal(hashAt(store, 12), before);
  assert.equal(store.compactionHashes.all().length, 1);
});
