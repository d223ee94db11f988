import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { prefixOf } from './largest-prefixes.ts';
import { PrefixTally } from './prefix-tally.ts';

class Bench {
  store: Store;
  tally: PrefixTally;
  nowMs = 0;
  private waiting: (() => void)[] = [];

  constructor() {
    this.store = new Store(new MemoryBackend());
    this.store.open();
    this.tally = this.tallyOf(this.store);
  }

  tallyOf(store: Store): PrefixTally {
    return new PrefixTally({
      store,
      after: (_ms, callback) => {
        this.waiting.push(callback);
        return {
          cancel: () => {
            this.waiting = this.waiting.filter((each) => each !== callback);
          },
        };
      },
      // Each look takes a whole slice.
      nowMs: () => this.nowMs++,
    });
  }

  put(key: string, bytes: number): void {
    this.store.begin();
    this.store.put(key, Buffer.alloc(bytes), 0, bytes, '0000000000000000');
    this.store.end();
  }

  remove(key: string, rangeEnd = ''): void {
    this.store.begin();
    this.store.deleteRange(key, rangeEnd);
    this.store.end();
  }

  /** Lets one slice of the walk run; false where none is due. */
  slice(): boolean {
    const next = this.waiting.shift();
    next?.();
    return next !== undefined;
  }

  /** What a look at every key says. */
  naive(): Map<string, { keys: number; bytes: number }> {
    const all = new Map<string, { keys: number; bytes: number }>();
    const { index } = this.store;
    for (let slot = 0; slot < index.slotsEnd; slot++) {
      if (!index.isTaken(slot) || index.version(slot) === 0) continue;
      const prefix = prefixOf(index.keyOf(slot));
      const sum = all.get(prefix) ?? { keys: 0, bytes: 0 };
      sum.keys++;
      sum.bytes += this.store.recordView(index.main(slot), index.sub(slot)).length;
      all.set(prefix, sum);
    }
    return all;
  }

  check(): void {
    const told = this.tally.largest(10_000);
    const expected = [...this.naive()].map(([prefix, sum]) => ({ prefix, ...sum }));
    const order = (a: { prefix: string }, b: { prefix: string }): number => (a.prefix < b.prefix ? -1 : 1);
    assert.deepEqual(
      told.map(({ prefix, keys, bytes }) => ({ prefix, keys, bytes })).sort(order),
      expected.sort(order),
    );
    assert.equal(
      this.tally.keys,
      expected.reduce((sum, { keys }) => sum + keys, 0),
    );
    assert.equal(
      this.tally.bytes,
      expected.reduce((sum, { bytes }) => sum + bytes, 0),
    );
  }
}

// Goal: the figures are exact at every moment, whatever was there before, is written during the walk, compacted or read
// again from disk. Method: random operations, and a look at every key.
test('keys and bytes by prefix are those of the store', () => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  const random = new Prng(seed);
  const bench = new Bench();
  const draw = (): string => `/app${random.below(4)}/kind${random.below(3)}/${random.below(120)}`;
  const step = (): void => {
    if (random.below(3) > 0) bench.put(draw(), random.below(300));
    else if (random.below(4) > 0) bench.remove(draw());
    else bench.remove(`/app${random.below(4)}/kind1/1`, `/app${random.below(4)}/kind1/2`);
  };
  for (let round = 0; round < 800; round++) step();
  bench.tally.start();
  while (!bench.tally.isComplete) {
    step();
    assert.ok(bench.slice(), `seed ${seed}`);
  }
  bench.check();
  for (let round = 0; round < 300; round++) step();
  bench.check();
  bench.store.compact(bench.store.revision);
  while (!bench.store.compactSlice(100));
  for (let round = 0; round < 300; round++) step();
  bench.check();
  bench.tally.stop();
  const again = new Store(bench.store.backend);
  again.open();
  bench.store = again;
  bench.tally = bench.tallyOf(again);
  bench.tally.start();
  while (bench.slice());
  bench.check();
});

// Goal: no number of prefixes takes more than its share of memory.
test('beyond a number of prefixes the others count as one, and are told apart again once there is room', () => {
  const bench = new Bench();
  bench.tally.start();
  while (bench.slice());
  for (let at = 0; at < 5000; at++) bench.put(`p${at}/x/1`, 10);
  assert.equal(bench.tally.length, 4096);
  const [first] = bench.tally.largest(1);
  assert.deepEqual([first?.prefix, first?.keys], ['(others)', 904]);
  bench.nowMs += 3_600_000;
  for (let at = 0; at < 1500; at++) bench.remove(`p${at}/x/1`);
  while (bench.slice());
  assert.ok(bench.tally.isComplete);
  assert.equal(bench.tally.largest(1)[0]?.keys, 1);
  bench.check();
});
