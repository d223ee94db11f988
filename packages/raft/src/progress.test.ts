/** What a leader believes of a follower: every state with every event, and the window of appends under way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Inflights } from './inflights.ts';
import { PROBE, Progress, type ProgressState, REPLICATE, SNAPSHOT } from './progress.ts';
import { idOf } from './testing/member.ts';

function progressIn(state: ProgressState): Progress {
  const progress = new Progress(idOf(2), 6, false, 2, 0);
  progress.match = 5;
  if (state === REPLICATE) progress.becomeReplicate();
  if (state === SNAPSHOT) progress.becomeSnapshot(9);
  return progress;
}

function shape({ state, match, next, isPaused }: Progress): [ProgressState, number, number, boolean] {
  return [state, match, next, isPaused];
}

test('probing: one append, then wait', () => {
  const progress = progressIn(PROBE);
  assert.deepEqual(shape(progress), [PROBE, 5, 6, false]);
  progress.sent(3, 300, 4);
  assert.deepEqual(shape(progress), [PROBE, 5, 6, true]);
  assert.equal(progress.sentCommit, 4);
  assert.equal(progress.rejected(5, 3), true);
  assert.deepEqual(shape(progress), [PROBE, 5, 6, false], 'never below what is acknowledged');
  assert.equal(progress.rejected(2, 1), false, 'a refusal of another append is stale');
});

test('probing backwards goes to the hint, at most one below the refused', () => {
  const progress = new Progress(idOf(2), 10, false, 2, 0);
  assert.equal(progress.rejected(9, 4), true);
  assert.equal(progress.next, 5);
  const cautious = new Progress(idOf(2), 10, false, 2, 0);
  assert.equal(cautious.rejected(9, 20), true);
  assert.equal(cautious.next, 9);
});

test('replicating: the next append does not wait, until the window is full', () => {
  const progress = progressIn(REPLICATE);
  progress.sent(2, 10, 5);
  assert.deepEqual(shape(progress), [REPLICATE, 5, 8, false]);
  progress.sent(1, 10, 5);
  assert.deepEqual(shape(progress), [REPLICATE, 5, 9, true]);
  assert.equal(progress.acknowledged(7), true);
  progress.inflights.freeTo(7);
  assert.deepEqual(shape(progress), [REPLICATE, 7, 9, false]);
  assert.equal(progress.acknowledged(6), false, 'old news');
  assert.equal(progress.rejected(7, 0), false, 'what is acknowledged cannot be refused');
  assert.equal(progress.rejected(8, 0), true);
  assert.equal(progress.next, 8);
});

test('a snapshot under way stops everything; afterwards probing begins behind it, or behind the match if it failed', () => {
  const progress = progressIn(SNAPSHOT);
  assert.deepEqual(shape(progress), [SNAPSHOT, 5, 10, true]);
  assert.equal(progress.rejected(9, 3), false);
  progress.becomeProbe();
  assert.deepEqual(shape(progress), [PROBE, 5, 10, false]);
  const failed = progressIn(SNAPSHOT);
  failed.pendingSnapshot = 0;
  failed.becomeProbe();
  assert.deepEqual(shape(failed), [PROBE, 5, 6, false]);
});

test('a new term knows nothing', () => {
  const progress = progressIn(REPLICATE);
  progress.sent(2, 10, 5);
  progress.recentActive = true;
  progress.reset(0, 20);
  assert.deepEqual(shape(progress), [PROBE, 0, 21, false]);
  assert.equal(progress.inflights.count, 0);
  assert.equal(progress.recentActive, false);
});

test('the window counts messages and bytes and frees in order, also around its end', () => {
  const window = new Inflights(20, 0);
  let oldest = 1;
  for (let index = 1; index <= 100; index++) {
    window.add(index, 10);
    if (index % 3 === 0) {
      oldest = index;
      window.freeTo(index);
    }
    assert.equal(window.count, index - (oldest === 1 ? 0 : oldest));
    assert.equal(window.bytes, window.count * 10);
  }
  const bytes = new Inflights(100, 25);
  bytes.add(1, 10);
  bytes.add(2, 10);
  assert.equal(bytes.full, false);
  bytes.add(3, 10);
  assert.equal(bytes.full, true);
  bytes.freeFirst();
  assert.equal(bytes.full, false);
  assert.throws(() => {
    const full = new Inflights(1, 0);
    full.add(1, 1);
    full.add(2, 1);
  }, /full window/);
});
