/** Goal: every mutation of the catalogue fits the product's text, and what is loaded with it is a copy that has it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { U64_ZERO } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { MUTATIONS } from './catalogue.ts';
import { checkEdits, importMutated, mutate } from './testing/loader.ts';

type Mvcc = typeof import('@etsd/mvcc');

test('there are 17, and each has its text where it says', () => {
  assert.equal(new Set(MUTATIONS.map(({ id }) => id)).size, 17);
  for (const mutation of MUTATIONS) checkEdits(mutation);
});

test('an edit that fits nowhere, or twice, is refused', () => {
  const edit = { file: 'x.ts', find: 'a', replace: 'b' };
  assert.equal(mutate('cac', [edit]), 'cbc');
  assert.throws(() => mutate('c', [edit]), /fits x.ts no more/);
  assert.throws(() => mutate('aa', [edit]), /in several places/);
});

test('a mutated module is a copy of its own, and so is what it imports; the real one stays as it is', async () => {
  const mutation = MUTATIONS.find(({ id }) => id === '18089');
  assert.ok(mutation !== undefined);
  const mutated = await importMutated<Mvcc>('mvcc/src/index.ts', mutation);
  assert.notEqual(mutated.Store, Store);
  assert.equal((await importMutated<Mvcc>('mvcc/src/index.ts', mutation)).Store, mutated.Store);
  const left = (Kind: typeof Store): number => {
    const backend = new MemoryBackend();
    const store = new Kind(backend);
    store.open();
    for (const change of [() => store.put('k', Buffer.from('v'), 0, 1, U64_ZERO), () => store.deleteRange('k', '')]) {
      store.begin();
      change();
      store.end();
    }
    assert.equal(store.compact(store.revision), null);
    while (!store.compactSlice(100));
    let records = 0;
    store.history(1, store.revision, () => ++records > 0);
    return records;
  };
  assert.equal(left(Store), 1, 'the deletion at the revision stays');
  assert.equal(left(mutated.Store), 0);
});
