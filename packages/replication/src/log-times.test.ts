import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogTimes } from './log-times.ts';

// Goal: of an entry are told the times of its own batch, also where several share one, and never those of another.
test('an entry has the times of the batch that held it', () => {
  const times = new LogTimes();
  for (const [last, at] of [
    [3, 100],
    [0, 150],
    [7, 200],
    [8, 300],
  ] as const) {
    times.written(last, at, at + 5);
    if (last > 0) times.committed(last, at + 9);
  }
  for (const [index, givenMs] of [
    [1, 100],
    [3, 100],
    [4, 200],
    [7, 200],
    [8, 300],
  ] as const) {
    const found = times.of(index);
    assert.deepEqual(
      [found.givenMs, found.durableMs, found.committedMs],
      [givenMs, givenMs + 5, givenMs + 9],
      `${index}`,
    );
  }
  assert.ok(Number.isNaN(times.of(9).givenMs), 'not written yet');
});

test('what lies far back is forgotten, not guessed', () => {
  const times = new LogTimes();
  for (let index = 1; index <= 5000; index++) times.written(index, index, index);
  assert.equal(times.of(4500).givenMs, 4500);
  assert.ok(Number.isNaN(times.of(100).givenMs));
});

// A new leader replaces the end of the log: its entries have lower indexes than those that were written last.
test('an entry that took the place of another has its own times', () => {
  const times = new LogTimes();
  times.written(5, 10, 11);
  times.written(9, 20, 21);
  times.written(7, 30, 31);
  assert.equal(times.of(7).givenMs, 30);
  assert.equal(times.of(6).givenMs, 30);
});
