import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { U64_ZERO } from '@etsd/base';
import { Store } from './store.ts';

// Goal: etcd 3.5 loses such a key: of the two changes at the compacted revision it keeps the deletion.
test('a key which one transaction deletes and makes anew outlives a compaction at its revision', () => {
  const backend = new MemoryBackend();
  let store = new Store(backend);
  store.open();
  const put = (value: string): void => store.put('k', Buffer.from(value), 0, value.length, U64_ZERO);
  store.begin();
  put('old');
  store.end();
  store.begin();
  store.deleteRange('k', '');
  put('new');
  store.end();
  for (const revision of [2, 3]) {
    assert.equal(store.compact(revision), null);
    while (!store.compactSlice(1));
    const isThere = store.lookup('k', 0);
    assert.ok(isThere);
    assert.ok(store.record(store.found.mainRevision, store.found.subRevision).includes('new'));
    assert.equal(store.found.version, 1);
  }
  backend.commit();
  store = new Store(backend);
  store.open();
  assert.ok(store.lookup('k', 3), 'also after a restart');
});
