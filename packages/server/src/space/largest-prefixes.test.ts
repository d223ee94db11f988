import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Store } from '@etsd/mvcc';
import { LargestPrefixes, type PrefixShare, prefixOf } from './largest-prefixes.ts';

function storeWith(puts: readonly [key: string, bytes: number][]): Store {
  const store = new Store(new MemoryBackend());
  store.open();
  for (const [key, bytes] of puts) {
    store.begin();
    store.put(key, Buffer.alloc(bytes), 0, bytes, '0000000000000000');
    store.end();
  }
  return store;
}

/** Asks, and lets the slices run one after the other. */
function survey(store: Store): { shares: readonly PrefixShare[]; slices: number } {
  const waiting: (() => void)[] = [];
  let nowMs = 0;
  const prefixes = new LargestPrefixes({
    store,
    after: (_ms, callback) => {
      waiting.push(callback);
      return { cancel: () => {} };
    },
    nowMs: () => nowMs++,
  });
  let shares: readonly PrefixShare[] | null = null;
  prefixes.ask((found) => {
    shares = found;
  });
  let slices = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    next();
    slices++;
  }
  assert.ok(shares !== null);
  assert.deepEqual(prefixes.latest, shares);
  return { shares, slices };
}

test('a prefix is two segments, or what there is', () => {
  const prefixes = new Map([
    ['/registry/pods/default/a', '/registry/pods/'],
    ['app/users/7', 'app/users/'],
    ['user:7:name', 'user:7:'],
    ['app/x', 'app/'],
    ['/x', '/x'],
    ['a-key-without-any-separator', 'a-key-without-an'],
    ['', ''],
  ]);
  for (const [key, prefix] of prefixes) assert.equal(prefixOf(key), prefix, key);
});

test('history counts, deleted keys count with what is left of them, bytes that are no text are escaped', () => {
  const store = storeWith([
    ['a/b/1', 1000],
    ['a/b/1', 1000],
    ['a/c/1', 1500],
    ['\xff\x00/d/1', 100],
    ['k\xc3\xa4se/d/1', 50],
    ['gone/x/1', 5000],
  ]);
  store.begin();
  store.deleteRange('gone/x/1', '');
  store.end();
  const { shares } = survey(store);
  assert.deepEqual(
    shares.map(({ prefix, keys }) => [prefix, keys]),
    [
      ['gone/x/', 0],
      ['a/b/', 1],
      ['a/c/', 1],
      ['\\xff\\x00/d/', 1],
      ['käse/d/', 1],
    ],
  );
  const bytes = shares.map((share) => share.bytes);
  for (const [at, least] of [5000, 2000, 1500, 100, 50].entries()) {
    const value = bytes[at] as number;
    assert.ok(value >= least && value < least + 100, `${value} of ${least}`);
  }
});

// Goal: the cost does not grow with the store, and the sample tells the shares.
test('of many keys a sample is enough, in slices', () => {
  const puts: [string, number][] = [];
  for (let at = 0; at < 60_000; at++) puts.push([`p/${at % 10 < 7 ? 'most' : 'rest'}/${at}`, 20]);
  const { shares, slices } = survey(storeWith(puts));
  assert.ok(slices > 100);
  const [most, rest] = shares as [PrefixShare, PrefixShare];
  assert.equal(most.prefix, 'p/most/');
  assert.ok(Math.abs(most.keys - 42_000) < 4000, `${most.keys}`);
  assert.ok(Math.abs(rest.keys - 18_000) < 4000, `${rest.keys}`);
});
