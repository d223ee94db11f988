// Goal: whatever sequence of transactions, reads, compactions and restarts, the store answers as the naive model does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { type Key, OPEN_END, Prng, U64_ZERO, u64FromNumber } from '@etsd/base';
import { ErrCompacted, ErrFutureRev, type EtcdError } from '@etsd/proto';
import type { RangeCursor } from './cursor.ts';
import { KvHash } from './hash.ts';
import { Model } from './model.fixture.ts';
import { type RangeOptions, WHOLE_RANGE } from './range.ts';
import { isTombstoneKey, revisionMain, revisionSub } from './revision.ts';
import { Store } from './store.ts';

class Run {
  readonly random: Prng;
  readonly model = new Model();
  readonly backend = new MemoryBackend();
  store = new Store(this.backend, { cacheBytes: 1 << 20 });
  readonly cursors: { cursor: RangeCursor; expected: Buffer[]; seen: Buffer[]; count: number; more: boolean }[] = [];
  readonly keySpace: number;
  /** What HashKV said just before each compaction. */
  readonly compactionHashes = new Map<number, number>();

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.keySpace = this.random.chance(0.5) ? 12 : 400;
    this.store.open();
  }

  key(): Key {
    const n = this.random.below(this.keySpace);
    return `k${String.fromCharCode(n % 256)}${n >> 6}`;
  }

  rangeEnd(): Key {
    const choice = this.random.below(10);
    return choice < 3 ? '' : choice < 5 ? OPEN_END : this.key();
  }

  revision(): number {
    const { model, random } = this;
    if (random.chance(0.4)) return 0;
    return random.between(Math.max(-1, model.compactRevision - 2), model.readRevision + 1);
  }

  options(): RangeOptions {
    const { random } = this;
    const filter = (): number => (random.chance(0.1) ? random.between(1, this.model.revision + 1) : 0);
    return {
      limit: random.chance(0.5) ? 0 : random.between(1, 8),
      revision: this.revision(),
      sortOrder: random.below(3),
      sortTarget: random.chance(0.5) ? 0 : random.below(5),
      countOnly: random.chance(0.1),
      minModRevision: filter(),
      maxModRevision: filter(),
      minCreateRevision: filter(),
      maxCreateRevision: filter(),
    };
  }

  transaction(): void {
    const { random, store, model } = this;
    store.begin();
    const operations = random.chance(0.7) ? 1 : random.below(5);
    for (let i = 0; i < operations; i++) {
      if (random.chance(0.7)) {
        const key = this.key();
        const value = String(random.below(1000)).repeat(random.below(4));
        const lease = random.chance(0.2) ? u64FromNumber(random.between(1, 3)) : U64_ZERO;
        const bytes = Buffer.from(`##${value}#`, 'latin1');
        store.put(key, bytes, 2, bytes.length - 1, lease);
        model.put(key, value, lease);
      } else {
        const key = this.key();
        const end = random.chance(0.7) ? '' : this.rangeEnd();
        assert.equal(store.deleteRange(key, end), model.deleteRange(key, end));
      }
      if (random.chance(0.2)) this.read();
    }
    assert.equal(store.changes, model.changes);
    assert.equal(store.end(), model.end());
  }

  read(): void {
    const { random, store, model } = this;
    const key = this.key();
    if (random.chance(0.5)) {
      const at = random.chance(0.5) ? 0 : random.between(Math.max(1, model.compactRevision), model.readRevision);
      const expected = model.at(key, at === 0 ? model.readRevision : at);
      assert.equal(store.lookup(key, at), expected !== null);
      if (expected === null) return;
      const { mainRevision, subRevision, createRevision, version } = store.found;
      assert.deepEqual(
        [mainRevision, subRevision, createRevision, version],
        [expected.main, expected.sub, expected.create, expected.version],
      );
      assert.ok(store.record(mainRevision, subRevision).equals(expected.record));
      return;
    }
    const options = this.options();
    const end = this.rangeEnd();
    const result = { records: [] as Buffer[], count: 0, more: false };
    const error = store.range(key, end, options, result);
    const expected = model.range(key, end, options);
    if (typeof expected === 'string') {
      assert.equal(error, expected === 'future' ? ErrFutureRev : ErrCompacted);
      return;
    }
    assert.equal(error, null);
    assert.deepEqual(result.records.map(String), expected.records.map(String), JSON.stringify(options));
    assert.deepEqual([result.count, result.more], [expected.count, expected.more], JSON.stringify(options));
  }

  cursor(): void {
    const { random, store, model } = this;
    const open = this.cursors;
    if (open.length < 3 && random.chance(0.5)) {
      const options = { ...this.options(), sortOrder: random.pick([0, 2]), sortTarget: 0 };
      const key = this.key();
      const end = this.rangeEnd();
      const expected = model.range(key, end, options);
      const cursor = store.openCursor(key, end, options);
      if (typeof expected === 'string') {
        assert.equal(cursor, expected === 'future' ? ErrFutureRev : ErrCompacted);
        return;
      }
      open.push({
        cursor: cursor as RangeCursor,
        expected: expected.records,
        seen: [],
        count: expected.count,
        more: expected.more,
      });
      return;
    }
    const one = open[random.below(Math.max(1, open.length))];
    if (one === undefined) return;
    const done = one.cursor.next(random.between(1, 200), random.between(1, 50));
    one.seen.push(...one.cursor.records);
    if (!done) {
      if (random.chance(0.05)) {
        one.cursor.close();
        open.splice(open.indexOf(one), 1);
      }
      return;
    }
    open.splice(open.indexOf(one), 1);
    assert.deepEqual(one.seen.map(String), one.expected.map(String));
    assert.equal(one.cursor.count, one.count);
    assert.equal(one.cursor.more, one.more);
  }

  compact(): void {
    const { random, store, model } = this;
    const revision = random.between(Math.max(1, model.compactRevision - 1), model.revision + 1);
    const wholePast = !store.compacting;
    const hash = wholePast ? model.hashKv(this.stored(), revision, true) : 0;
    const expected = model.compact(revision);
    if (expected === null && wholePast) this.compactionHashes.set(revision, hash);
    const error = store.compact(revision);
    assert.equal(error, expected === null ? null : expected === 'future' ? ErrFutureRev : ErrCompacted);
  }

  hash(): void {
    const { random, store, model } = this;
    const revision = random.chance(0.5) ? 0 : random.between(Math.max(1, model.compactRevision), model.revision);
    const job = store.hashKv(revision);
    assert.ok(!(job instanceof Error));
    const at = revision === 0 ? model.revision : revision;
    if (!(job instanceof KvHash)) {
      assert.equal(job.hash, this.compactionHashes.get(at));
      return;
    }
    while (!job.slice(random.between(1, 500)));
    assert.equal(job.hash, model.hashKv(this.stored(), at));
    assert.equal(job.compactRevision, model.compactRevision);
  }

  /** The model's versions whose records the store still has. */
  stored(): Model['versions'] {
    const there = new Set<string>();
    this.backend.scan('key', null, null, (key) => {
      there.add(`${revisionMain(key)}/${revisionSub(key)}/${isTombstoneKey(key)}`);
      return true;
    });
    return this.model.versions.filter((version) => there.has(`${version.main}/${version.sub}/${version.deleted}`));
  }

  history(): void {
    const { random, store, model } = this;
    const from = random.between(Math.max(1, model.compactRevision + 1), model.revision + 1);
    const to = random.between(from, model.revision + 1);
    const seen: string[] = [];
    store.history(from, to, (main, sub, deleted, record) => {
      seen.push(`${main}/${sub}/${deleted}/${record}`);
      return true;
    });
    const expected = model.versions.filter((version) => version.main >= from && version.main <= to);
    assert.deepEqual(
      seen,
      expected.map((version) => `${version.main}/${version.sub}/${version.deleted}/${version.record}`),
    );
    const key = this.key();
    const before = random.between(Math.max(2, model.compactRevision + 1), model.revision + 1);
    assert.equal(String(store.recordBefore(key, before)), String(model.at(key, before - 1)?.record ?? null));
  }

  restart(): void {
    for (const { cursor } of this.cursors) cursor.close();
    this.cursors.length = 0;
    this.backend.commit();
    const { compactRevision, revision } = this.store;
    this.store = new Store(this.backend, { cacheBytes: 1 << 20 });
    this.store.beginRestore();
    while (!this.store.restoreSlice(this.random.between(1, 100)));
    assert.equal(this.store.revision, revision);
    assert.equal(this.store.compactRevision, compactRevision);
    const expected = this.model.keysIn('\0', OPEN_END, revision).filter((version) => version.lease !== U64_ZERO);
    assert.deepEqual(
      [...(this.store.restoredLeases as Map<Key, string>)].sort(),
      expected.map((version) => [version.key, version.lease]),
    );
  }

  step(): void {
    const { random, store } = this;
    const choice = random.below(100);
    if (choice < 50) this.transaction();
    else if (choice < 70) this.read();
    else if (choice < 82) this.cursor();
    else if (choice < 84) this.compact();
    else if (choice < 90) store.compactSlice(random.between(1, 60));
    else if (choice < 93) this.hash();
    else if (choice < 96) this.history();
    else if (choice < 98) this.backend.commit();
    else if (choice < 99) this.restart();
    else store.index.tree.verify(store.index.isLive);
  }

  /** Compacts to the end and compares what is left record by record. */
  finish(): void {
    const { store, model } = this;
    for (const { cursor } of this.cursors) cursor.close();
    if (model.compactRevision < model.revision) {
      assert.equal(store.compact(model.revision), null);
      model.compact(model.revision);
    }
    while (!store.compactSlice(this.random.between(1, 100)));
    assert.deepEqual(
      this.stored().map((version) => version.record),
      model.survivors().map((version) => version.record),
    );
    store.index.tree.verify(store.index.isLive);
    assert.equal(store.index.tree.size, model.survivors().length, 'forgotten keys leave the index');
    assert.equal(store.index.lists.entries, 0);
    assert.equal(store.index.lists.bytes(), 0, 'the history gives its memory back');
    const result = { records: [] as Buffer[], count: 0, more: false };
    assert.equal(store.range('\0', OPEN_END, WHOLE_RANGE, result), null as EtcdError | null);
    assert.deepEqual(
      result.records.map(String),
      model.keysIn('\0', OPEN_END, model.revision).map((version) => String(version.record)),
    );
  }
}

/** A seed that hashes at a revision where no key exists, while a compaction has records to remove that lead up to it. */
const NO_KEY_LEFT = 77167;

test('store: random runs equal the naive model', (context) => {
  const base = Number(process.env['SEED'] ?? 1763723000);
  const runs = Number(process.env['RUNS'] ?? 12);
  for (const seed of [NO_KEY_LEFT, ...Array.from({ length: runs }, (_, run) => base + run)]) {
    context.diagnostic(`seed ${seed}`);
    const run = new Run(seed);
    try {
      for (let step = 0; step < 1500; step++) run.step();
      run.finish();
    } catch (error) {
      console.log(`seed ${seed}`);
      throw error;
    }
  }
});
