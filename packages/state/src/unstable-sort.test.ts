/** That the order is etcd's is seen against etcd itself (tests/differential/auth-log.test.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { sortUnstably } from './unstable-sort.ts';

/** Inputs that lead into every part of the sort: runs, few values, patterns that make bad pivots. */
const SHAPES: readonly ((at: number, length: number, random: Prng) => number)[] = [
  (at) => at,
  (at, length) => length - at,
  () => 7,
  (at) => at % 3,
  (at, length) => (at === length - 1 ? -1 : 0),
  (at, length) => Math.min(at, length - at),
  (at, length) => (at * 2) % length,
  (_at, _length, random) => random.below(4),
  (_at, length, random) => random.below(length + 1),
  (at, length, random) => (random.below(20) === 0 ? random.below(length + 1) : at),
];

test('every shape of input comes out in order, with nothing lost', () => {
  const random = new Prng(11);
  for (const shape of SHAPES) {
    for (const length of [0, 1, 2, 12, 13, 49, 50, 51, 100, 777]) {
      const items = Array.from({ length }, (_, at) => ({ value: shape(at, length, random), at }));
      sortUnstably(items, (a, b) => a.value - b.value);
      for (let at = 1; at < length; at++) assert.ok((items[at - 1]?.value ?? 0) <= (items[at]?.value ?? 0));
      assert.equal(new Set(items.map((item) => item.at)).size, length);
    }
  }
});

test('up to twelve elements equal ones keep their order', () => {
  const items = Array.from({ length: 12 }, (_, at) => ({ value: at % 3, at }));
  sortUnstably(items, (a, b) => a.value - b.value);
  assert.deepEqual(
    items.map((item) => item.at),
    [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11],
  );
});
