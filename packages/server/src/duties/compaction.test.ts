import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompactionDuty } from './compaction.ts';

class SlowStore {
  slicesLeft = 0;

  get compacting(): boolean {
    return this.slicesLeft > 0;
  }

  compactSlice(): boolean {
    this.slicesLeft--;
    return this.slicesLeft <= 0;
  }
}

function setUp() {
  const store = new SlowStore();
  const due: (() => void)[] = [];
  const log: string[] = [];
  const duty = new CompactionDuty({
    store,
    commit: () => log.push('commit'),
    after: (_ms, callback) => {
      due.push(callback);
      return { cancel: () => due.splice(0) };
    },
    pauseMs: 10,
    sliceKeys: 100,
  });
  const turn = () => {
    for (const callback of due.splice(0)) callback();
  };
  return { store, due, log, duty, turn };
}

// Goal: whoever waits for the space hears of it once, after the last slice and its commit, and nobody waits for nothing.
test('a compaction is done in slices and its waiters are told at the end', () => {
  const { store, due, log, duty, turn } = setUp();
  duty.applied();
  assert.equal(due.length, 0, 'nothing to do, no timer');
  store.slicesLeft = 3;
  duty.whenPurged(7, () => log.push('first'));
  duty.applied();
  duty.whenPurged(7, () => log.push('second'));
  assert.equal(due.length, 1, 'one slice is due, however often it was asked for');
  turn();
  turn();
  assert.equal(log.length, 0);
  turn();
  assert.deepEqual(log, ['commit', 'first', 'second']);
  duty.whenPurged(7, () => log.push('third'));
  assert.equal(log.at(-1), 'third');
  assert.equal(due.length, 0);
});

test('a stopped duty does nothing more', () => {
  const { store, due, duty, turn } = setUp();
  store.slicesLeft = 3;
  duty.applied();
  duty.stop();
  turn();
  duty.applied();
  assert.equal(due.length, 0);
  assert.equal(store.slicesLeft, 3);
});
