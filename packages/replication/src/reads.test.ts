/** Goal: a read that is asked for again has another name each time, and an answer to any of them is one to all who wait. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reads } from './reads.ts';
import { RecordingWaiter } from './testing/fakes.ts';

function named(...names: string[]): () => Buffer {
  const left = [...names];
  return () => Buffer.from(left.splice(0, 1)[0] ?? 'none left');
}

function asked(reads: Reads, name: string, tick: number): RecordingWaiter {
  const waiter = new RecordingWaiter();
  reads.add(waiter);
  reads.startRound(Buffer.from(name), tick);
  return waiter;
}

for (const answered of ['a', 'a2', 'a3']) {
  test(`an answer to "${answered}", of three questions for the same, lets the reader go`, () => {
    const reads = new Reads();
    const waiter = asked(reads, 'a', 1);
    const later = asked(reads, 'b', 4);
    assert.deepEqual(reads.overdue(1, 5, named('a2')).map(String), ['a2'], 'only what is overdue is asked again');
    assert.deepEqual(reads.overdue(1, 6, named()).map(String), [], 'and not twice in a row');
    assert.deepEqual(reads.overdue(5, 9, named('a3', 'b2')).map(String), ['a3', 'b2']);
    reads.confirmed(Buffer.from(answered), 7, 7);
    assert.deepEqual([waiter.outcome, later.outcome], ['done', 'waiting'], 'what was asked behind it waits');
    reads.confirmed(Buffer.from('none'), 7, 7);
    assert.equal(later.outcome, 'waiting');
  });
}
