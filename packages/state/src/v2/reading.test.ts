import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { V2Request } from '@etsd/proto';
import { V2Failure } from './event.ts';
import type { V2Node } from './node.ts';
import { V2Store } from './store.ts';

function put(store: V2Store, path: string, val: string): void {
  store.apply(V2Request.create({ method: 'PUT', val }), path);
}

function rootOf(store: V2Store): V2Node {
  const node = store.get('/');
  assert.ok(!(node instanceof V2Failure));
  return node;
}

/** What is to be told, made another way: as objects, by the JSON of this platform. */
function told(node: V2Node, isOpened: boolean, isRecursive: boolean): object {
  const children = [...(node.children?.values() ?? [])].filter(({ name }) => !name.startsWith('_'));
  children.sort((a, b) => (a.name < b.name ? -1 : 1));
  const isListed = isOpened && children.length > 0;
  return {
    ...(node.path === '/' ? {} : { key: node.path }),
    ...(node.isDir ? { dir: true } : { value: node.value }),
    ...(isListed ? { nodes: children.map((child) => told(child, isRecursive, isRecursive)) } : {}),
    ...(node.path === '/' ? {} : { modifiedIndex: node.modified, createdIndex: node.created }),
  };
}

/** A random change: keys are made, written, removed and replaced by directories, in one large directory and many small ones. */
function change(store: V2Store, prng: Prng): void {
  const directory = prng.below(2) === 0 ? '/all' : `/d${prng.below(40)}/${prng.below(3) === 0 ? '_h' : 'e'}`;
  const path = `${directory}/k${prng.below(4000)}`;
  const kind = prng.below(12);
  if (kind < 7) put(store, path, `value ${prng.below(1000)}`);
  else if (kind < 8) store.apply(V2Request.create({ method: 'POST', val: 'queued' }), '/all');
  else if (kind < 9) store.apply(V2Request.create({ method: 'DELETE' }), path);
  else if (kind < 11) store.apply(V2Request.create({ method: 'PUT', val: 'updated', prevExist: true }), path);
  else if (prng.below(4) === 0)
    store.apply(V2Request.create({ method: 'DELETE', recursive: true }), `/d${prng.below(40)}`);
}

// Goal: a large tree is told in slices as it was at one moment, whatever becomes of it meanwhile. Method: random trees told
// while random changes go on between the steps, compared with a picture of them made beforehand in another way.
test('a tree is told as it was, while it changes', () => {
  for (let seed = 1; seed <= 2; seed++) {
    const prng = new Prng(seed);
    const store = new V2Store(new MemoryBackend(), () => 0);
    for (let at = 0; at < 6000; at++) change(store, prng);
    for (const isRecursive of [true, false]) {
      const root = rootOf(store);
      const expected = JSON.stringify(told(root, true, isRecursive));
      const reading = store.openReading(root, isRecursive);
      let text = '';
      let steps = 0;
      for (let isWhole = false; !isWhole; steps++) {
        isWhole = reading.step();
        text += reading.take();
        for (let at = 0; at < 200; at++) change(store, prng);
      }
      store.closeReading(reading);
      assert.ok(text === expected, `seed ${seed}: what was told is not what was there`);
      if (isRecursive) assert.ok(steps > 5, 'it took one step, so nothing was tried');
    }
  }
});

// Goal: no step holds the event loop, however the keys lie. Method: a directory of 20,000 keys in random order; each step
// may tell so much and no more.
test('a step is short, also where all lies in one directory', () => {
  const store = new V2Store(new MemoryBackend(), () => 0);
  const prng = new Prng(1);
  for (let at = 0; at < 20_000; at++) put(store, `/all/${prng.below(1_000_000_000)}`, 'x'.repeat(20));
  const expected = told(rootOf(store), true, true);
  const reading = store.openReading(rootOf(store), true);
  let text = '';
  for (let isWhole = false; !isWhole; ) {
    isWhole = reading.step();
    const part = reading.take();
    assert.ok(part.length < 200_000, `${part.length} characters at once`);
    text += part;
  }
  assert.deepEqual(JSON.parse(text), expected);
});
