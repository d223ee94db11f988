import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Prng } from '@etsd/base';
import { type Interval, type Model, searchOrder } from './linearizability.ts';

interface Access {
  readonly isWrite: boolean;
  readonly value: number;
}

const REGISTER: Model<Access> = {
  initial: 0,
  step: (state, { isWrite, value }) => (isWrite ? value : value === state ? state : -1),
  isRead: ({ isWrite }) => !isWrite,
  optionalStep: (state) => (state === 0 ? -1 : 0),
};

const write = (value: number, start: number, end: number): Interval<Access> => ({
  start,
  end,
  operation: { isWrite: true, value },
});
const read = (value: number, start: number, end: number): Interval<Access> => ({
  start,
  end,
  operation: { isWrite: false, value },
});
const accepts = (intervals: Interval<Access>[], optional: number[] = []): boolean =>
  searchOrder(REGISTER, intervals, optional).isLinearizable;

/** Tries every order; the definition, word by word. */
function existsOrder(state: number, left: readonly Interval<Access>[]): boolean {
  if (left.length === 0) return true;
  const firstEnd = Math.min(...left.map((one) => one.end));
  return left.some((one) => {
    if (one.start > firstEnd) return false;
    const next = REGISTER.step(state, one.operation);
    return (
      next >= 0 &&
      existsOrder(
        next,
        left.filter((other) => other !== one),
      )
    );
  });
}

describe('the search for an order', () => {
  it('lets what overlaps happen in either order', () => {
    assert.ok(accepts([write(1, 0, 10), write(2, 0, 10), read(1, 11, 12)]));
    assert.ok(accepts([write(1, 0, 10), read(0, 1, 9), read(1, 1, 9)]));
  });

  it('refuses a stale read, a value nobody wrote, and two reads that go back', () => {
    assert.ok(!accepts([write(1, 0, 1), read(0, 2, 3)]));
    assert.ok(!accepts([read(5, 0, 1)]));
    assert.ok(!accepts([write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)]));
  });

  it('names the operation that has no place, and what ran beside it', () => {
    const stale = read(0, 2, 5);
    const beside = write(2, 3, 9);
    const { culprit, concurrent } = searchOrder(REGISTER, [write(1, 0, 1), stale, beside]);
    assert.equal(culprit, stale);
    assert.deepEqual(concurrent, [beside]);
  });

  it('uses an optional operation once, and not before it began', () => {
    const history = [write(1, 0, 1), read(0, 5, 6), write(2, 7, 8), read(0, 9, 10)];
    assert.ok(!accepts(history));
    assert.ok(!accepts(history, [2]));
    assert.ok(accepts(history, [2, 3]));
    assert.ok(!accepts(history, [2, 11]));
  });

  // Goal: the search agrees with the definition on small histories, right and wrong ones.
  it('agrees with trying all orders', () => {
    const prng = new Prng(11);
    let accepted = 0;
    for (let round = 0; round < 4000; round++) {
      const intervals = Array.from({ length: prng.between(1, 6) }, () => {
        const start = prng.below(12);
        const value = prng.below(3);
        return (prng.chance(0.5) ? write : read)(value, start, start + prng.between(1, 5));
      });
      const expected = existsOrder(0, intervals);
      if (expected) accepted++;
      assert.equal(accepts(intervals), expected, JSON.stringify(intervals));
    }
    assert.ok(accepted > 400 && accepted < 3600, `${accepted} of 4000 were linearizable`);
  });
});
