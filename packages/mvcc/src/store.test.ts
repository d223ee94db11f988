// Goal: the rules of revisions, ranges and compaction, one by one, in the words of the specification.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { META_FINISHED_COMPACT_REV, META_SCHEDULED_COMPACT_REV, MemoryBackend } from '@etsd/backend';
import { CorruptionError, type Key, keyToBytes, OPEN_END, U64_ZERO } from '@etsd/base';
import { ErrCompacted, ErrFutureRev, KeyValue } from '@etsd/proto';
import type { ChangeList } from './changes.ts';
import type { RangeCursor } from './cursor.ts';
import { type RangeOptions, WHOLE_RANGE } from './range.ts';
import { isTombstoneKey, revisionKey, revisionMain, revisionSub } from './revision.ts';
import { Store } from './store.ts';

class Bench {
  readonly backend = new MemoryBackend();
  store = new Store(this.backend, { cacheBytes: 1 << 20 });

  constructor() {
    this.store.open();
  }

  /** One transaction; null deletes. */
  write(changes: Record<Key, string | null>): number {
    this.store.begin();
    for (const [key, value] of Object.entries(changes)) {
      if (value === null) this.store.deleteRange(key, '');
      else this.store.put(key, Buffer.from(value), 0, value.length, U64_ZERO);
    }
    return this.store.end();
  }

  /** `key@create.mod.version=value` for each record. */
  range(key: Key, rangeEnd: Key, options: Partial<RangeOptions> = {}): string {
    const result = { records: [] as Buffer[], count: 0, more: false };
    const error = this.store.range(key, rangeEnd, { ...WHOLE_RANGE, ...options }, result);
    if (error !== null) return error.message;
    const shown = result.records.map((record) => {
      const kv = KeyValue.decode(record);
      return `${kv.key}@${kv.createRevision}.${kv.modRevision}.${kv.version}=${kv.value}`;
    });
    return `${shown.join(' ')} (${result.count}${result.more ? ', more' : ''})`.trim();
  }

  /** The records on disk: `revision`, with † for a deletion. */
  stored(): string[] {
    const found: string[] = [];
    this.backend.scan('key', null, null, (key) => {
      found.push(`${revisionMain(key)}.${revisionSub(key)}${isTombstoneKey(key) ? '†' : ''}`);
      return true;
    });
    return found;
  }

  compact(revision: number): void {
    assert.equal(this.store.compact(revision), null);
    while (!this.store.compactSlice(3));
  }

  restart(): void {
    this.store = new Store(this.backend);
    this.store.open();
  }
}

test('store: an empty store has revision 1, each transaction that changes something adds one', () => {
  const bench = new Bench();
  assert.equal(bench.store.revision, 1);
  assert.equal(bench.store.compactRevision, -1);
  assert.equal(bench.write({ a: '1' }), 2);
  assert.equal(bench.write({}), 2);
  assert.equal(bench.write({ missing: null }), 2);
  assert.equal(bench.write({ a: '2', b: '1', c: '1' }), 3);
  assert.equal(bench.range('a', OPEN_END), 'a@2.3.2=2 b@3.3.1=1 c@3.3.1=1 (3)');
  assert.equal(bench.write({ a: null }), 4);
  assert.equal(bench.write({ a: '3' }), 5);
  assert.equal(bench.range('a', ''), 'a@5.5.1=3 (1)');
  assert.equal(bench.range('a', '', { revision: 4 }), '(0)');
  assert.equal(bench.range('a', '', { revision: 3 }), 'a@2.3.2=2 (1)');
  assert.equal(bench.range('a', '', { revision: 6 }), ErrFutureRev.message);
  assert.deepEqual(bench.stored(), ['2.0', '3.0', '3.1', '3.2', '4.0†', '5.0']);
});

test('store: a transaction reads what it has written, at the revision it makes', () => {
  const { store } = new Bench();
  store.begin();
  assert.equal(store.readRevision, 1);
  store.put('a', Buffer.from('1'), 0, 1, U64_ZERO);
  assert.equal(store.readRevision, 2);
  assert.ok(store.lookup('a', 0));
  assert.deepEqual({ ...store.found }, { mainRevision: 2, subRevision: 0, createRevision: 2, version: 1 });
  assert.equal(store.count('a', OPEN_END, 0), 1);
  assert.equal(store.deleteRange('', OPEN_END), 1);
  assert.equal(store.deleteRange('', OPEN_END), 0);
  assert.ok(!store.lookup('a', 0));
  assert.equal(store.changes, 2);
  assert.equal(store.end(), 2);
});

test('range: limit, more and count; the last keys; nothing in an empty range', () => {
  const bench = new Bench();
  bench.write({ a: '1', b: '1', c: '1', d: '1' });
  assert.equal(bench.range('a', 'd', { limit: 2 }), 'a@2.2.1=1 b@2.2.1=1 (3, more)');
  assert.equal(bench.range('a', 'd', { limit: 3 }), 'a@2.2.1=1 b@2.2.1=1 c@2.2.1=1 (3)');
  assert.equal(bench.range('a', OPEN_END, { limit: 1, sortOrder: 2 }), 'd@2.2.1=1 (4, more)');
  assert.equal(bench.range('b', 'd', { sortOrder: 2 }), 'c@2.2.1=1 b@2.2.1=1 (2)');
  assert.equal(bench.range('a', OPEN_END, { countOnly: true, limit: 1 }), '(4)');
  assert.equal(bench.range('d', 'a'), '(0)');
  assert.equal(bench.range('d', 'd'), '(0)');
});

test('range: filters are applied before the limit and do not change the count', () => {
  const bench = new Bench();
  for (const key of ['a', 'b', 'c', 'd']) bench.write({ [key]: '1' });
  bench.write({ b: '2' });
  assert.equal(bench.range('a', OPEN_END, { minModRevision: 4, limit: 1 }), 'b@3.6.2=2 (4, more)');
  assert.equal(bench.range('a', OPEN_END, { maxCreateRevision: 3 }), 'a@2.2.1=1 b@3.6.2=2 (4)');
  assert.equal(bench.range('a', '', { minModRevision: 3 }), '(1)');
});

test('range: a sort target without an order sorts what the limit in key order left', () => {
  const bench = new Bench();
  bench.write({ a: '3' });
  bench.write({ b: '2' });
  bench.write({ c: '1' });
  const byValue = { sortTarget: 4, limit: 1 };
  assert.equal(bench.range('a', OPEN_END, byValue), 'b@3.3.1=2 (3, more)');
  assert.equal(bench.range('a', OPEN_END, { ...byValue, sortOrder: 1 }), 'c@4.4.1=1 (3, more)');
});

test('compaction: the newest revision up to it survives, unless it is an older deletion', () => {
  const bench = new Bench();
  bench.write({ a: '1', b: '1' });
  bench.write({ a: '2', b: null });
  bench.write({ a: '3', c: '1' });
  bench.write({ c: null });
  bench.write({ d: '1' });
  bench.compact(3);
  assert.deepEqual(bench.stored(), ['3.0', '3.1†', '4.0', '4.1', '5.0†', '6.0'], 'the deletion at 3 stays for now');
  assert.equal(bench.range('a', OPEN_END, { revision: 2 }), ErrCompacted.message);
  assert.equal(bench.range('a', OPEN_END, { revision: 3 }), 'a@2.3.2=2 (1)');
  bench.compact(4);
  assert.deepEqual(bench.stored(), ['4.0', '4.1', '5.0†', '6.0']);
  bench.compact(6);
  assert.deepEqual(bench.stored(), ['4.0', '6.0']);
  assert.equal(bench.store.index.tree.size, 2);
  assert.equal(bench.store.compact(6), ErrCompacted);
  assert.equal(bench.store.compact(7), ErrFutureRev);
});

test('compaction: one that was interrupted goes on after a restart', () => {
  const bench = new Bench();
  for (let i = 0; i < 50; i++) bench.write({ a: String(i), [`k${i}`]: '1' });
  assert.equal(bench.store.compact(51), null);
  assert.equal(bench.store.compactSlice(10), false);
  bench.backend.commit();
  assert.equal(revisionMain(bench.backend.get('meta', META_SCHEDULED_COMPACT_REV) as Buffer), 51);
  assert.equal(bench.backend.get('meta', META_FINISHED_COMPACT_REV), null);
  bench.restart();
  assert.equal(bench.store.compactRevision, 51);
  assert.ok(bench.store.compacting);
  while (!bench.store.compactSlice(10));
  assert.equal(bench.stored().length, 51);
  assert.equal(revisionMain(bench.backend.get('meta', META_FINISHED_COMPACT_REV) as Buffer), 51);
  bench.restart();
  assert.ok(!bench.store.compacting);
});

test('compaction: waits for a cursor that reads below it, and the cursor is not disturbed', () => {
  const bench = new Bench();
  for (let i = 0; i < 9; i++) bench.write({ [`k${i}`]: 'old' });
  const cursor = bench.store.openCursor('k', OPEN_END, WHOLE_RANGE) as RangeCursor;
  assert.equal(cursor.next(1e6, 3), false);
  for (let i = 0; i < 9; i++) bench.write({ [`k${i}`]: i % 2 === 0 ? null : 'new' });
  assert.equal(bench.store.compact(bench.store.revision), null);
  for (let i = 0; i < 100; i++) assert.equal(bench.store.compactSlice(100), false);
  const values = cursor.records.map((record) => KeyValue.decode(record).value.toString());
  while (!cursor.next(1e6, 2)) values.push(...cursor.records.map((record) => KeyValue.decode(record).value.toString()));
  values.push(...cursor.records.map((record) => KeyValue.decode(record).value.toString()));
  assert.deepEqual(values, new Array(9).fill('old'));
  while (!bench.store.compactSlice(100));
  assert.equal(bench.stored().length, 5, 'four keys, and the deletion of k8 that was made at the very revision');
});

test('changes: published once a transaction, in order, with the revisions before them', () => {
  const bench = new Bench();
  bench.write({ a: '1' });
  const seen: string[] = [];
  bench.store.listener = {
    watcherCount: 1,
    changed: (revision: number, changes: ChangeList) => {
      for (let i = 0; i < changes.count; i++) {
        const value = changes.deleted[i] ? 'gone' : KeyValue.decode(changes.records[i] as Buffer).value.toString();
        seen.push(`${revision} ${changes.keys[i]} ${value} ${changes.previousMains[i]}.${changes.previousSubs[i]}`);
      }
    },
  };
  bench.write({ b: '1', a: '2' });
  bench.write({ c: null });
  bench.write({ a: null, b: '2' });
  assert.deepEqual(seen, ['3 b 1 0.0', '3 a 2 2.0', '4 a gone 3.1', '4 b 2 3.0']);
  assert.equal(KeyValue.decode(bench.store.recordBefore('a', 4) as Buffer).value.toString(), '2');
  assert.equal(bench.store.recordBefore('a', 2), null);
  assert.equal(bench.store.recordBefore('a', 5), null);
});

test('restore: a record that is none stops the member with its place', () => {
  for (const [key, value] of [
    [revisionKey(2, 0), Buffer.from('ffff', 'hex')],
    [Buffer.from('not a revision'), Buffer.alloc(0)],
    [revisionKey(2, 0), keyToBytes('\n\x01a')],
  ] as const) {
    const backend = new MemoryBackend();
    backend.put('key', key, value);
    assert.throws(
      () => new Store(backend).open(),
      (error) => error instanceof CorruptionError && error.where.includes(key.toString('hex')),
    );
  }
});
