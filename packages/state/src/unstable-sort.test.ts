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

// Method: McIlroy's adversary ("A Killer Adversary for Quicksort", 1999) decides what compares how as late as it can, so
// that every pivot is a bad one; after some of these the sort goes over to a heap.
test('what makes every pivot a bad one is sorted all the same, and soon', () => {
  const length = 2000;
  const values = new Array<number>(length).fill(length);
  let [solid, candidate, compares] = [0, 0, 0];
  const items = Array.from({ length }, (_, at) => at);
  sortUnstably(items, (a, b) => {
    compares++;
    if (values[a] === length && values[b] === length) {
      const isFirst = candidate === a || (candidate !== b && solid % 3 === 0);
      values[isFirst ? a : b] = solid++;
    }
    if (values[a] === length) candidate = a;
    else if (values[b] === length) candidate = b;
    return (values[a] as number) - (values[b] as number);
  });
  for (let at = 1; at < length; at++) {
    assert.ok((values[items[at - 1] as number] as number) <= (values[items[at] as number] as number));
  }
  assert.equal(new Set(items).size, length);
  assert.ok(compares < 100_000, `${compares} compares`);
});

test('up to twelve elements equal ones keep their order', () => {
  const items = Array.from({ length: 12 }, (_, at) => ({ value: at % 3, at }));
  sortUnstably(items, (a, b) => a.value - b.value);
  assert.deepEqual(
    items.map((item) => item.at),
    [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11],
  );
});
