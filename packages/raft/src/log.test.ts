/** The log as a structure: what follows from merging, committing, writing and forgetting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { Entry, RaftSnapshot } from '@etsd/proto';
import { PendingWrite, RaftLog } from './log.ts';

function logOf(...terms: number[]): RaftLog {
  const log = new RaftLog();
  for (const [place, term] of terms.entries()) log.push(Entry.create({ term, index: place + 1 }));
  return log;
}

function termsOf(log: RaftLog): number[] {
  return log.entries.map(({ term }) => term);
}

function entriesOf(first: number, ...terms: number[]): Entry[] {
  return terms.map((term, place) => Entry.create({ term, index: first + place }));
}

test('a log is at least as complete by its last term, then by its length', () => {
  const log = logOf(1, 2, 2);
  assert.equal(log.isUpToDate(1, 3), true);
  assert.equal(log.isUpToDate(3, 2), true);
  assert.equal(log.isUpToDate(2, 2), false);
  assert.equal(log.isUpToDate(9, 1), false);
});

test('terms are known from the compaction on, and not outside', () => {
  const log = logOf(1, 2, 3, 3);
  log.committed = 3;
  log.applied = 3;
  log.compact(2);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((index) => log.termAt(index)),
    [-1, -1, 2, 3, 3, -1],
  );
  assert.equal(log.lastIndex, 4);
  log.compact(1);
  assert.equal(log.base, 2, 'what is forgotten stays forgotten');
});

test('merging keeps what agrees and replaces what does not', () => {
  const log = logOf(1, 1, 2, 2);
  assert.equal(log.merge(2, entriesOf(3, 2)), 3);
  assert.deepEqual(termsOf(log), [1, 1, 2, 2], 'an old message takes nothing away');
  assert.equal(log.merge(2, entriesOf(3, 3, 3, 3)), 5);
  assert.deepEqual(termsOf(log), [1, 1, 3, 3, 3]);
});

test('a committed entry is never replaced', () => {
  const log = logOf(1, 1);
  log.commitTo(2);
  assert.throws(() => log.merge(0, entriesOf(1, 2)), /committed entry must not be replaced/);
});

test('the commit index behind the end of the log means that the log was lost', () => {
  const log = logOf(1);
  assert.throws(() => log.commitTo(2), /the log was lost/);
});

test('a write under way does not vouch for entries that were replaced after it began', () => {
  const log = logOf(1, 1, 1);
  log.handed = 3;
  const write = new PendingWrite(3, 0);
  log.writes.push(write);
  log.merge(1, entriesOf(2, 2));
  assert.equal(write.lastIndex, 1);
  assert.equal(log.handed, 1);
  assert.equal(log.stable, 0);
});

test('a snapshot takes the place of everything, writes under way included', () => {
  const log = logOf(1, 1, 1);
  log.handed = 3;
  const write = new PendingWrite(3, 0);
  log.writes.push(write);
  log.restore(new RaftSnapshot(), 10, 4);
  assert.deepEqual([log.base, log.lastIndex, log.lastTerm, log.committed, log.stable], [10, 10, 4, 10, 10]);
  assert.equal(write.lastIndex, 0);
  assert.equal(log.applicable, log.applying, 'nothing is applied before it is installed');
});

test('entries are applied when committed and durable, not before either', () => {
  const log = logOf(1, 1, 1);
  log.commitTo(2);
  assert.equal(log.applicable, 0);
  log.stable = 1;
  assert.equal(log.applicable, 1);
  log.stable = 3;
  assert.equal(log.applicable, 2);
});

test('slices are bounded in bytes, and never empty', () => {
  const log = new RaftLog();
  for (let index = 1; index <= 5; index++) log.push(Entry.create({ index, term: 1, data: Buffer.alloc(76) }));
  const lengths = [1, 100, 250, 1e9].map((bytes) => log.slice(2, bytes).length);
  assert.deepEqual(lengths, [1, 1, 2, 4]);
});

test('where two logs may agree is found as a scan over both would find it (seed 5)', () => {
  const random = new Prng(5);
  for (let round = 0; round < 2000; round++) {
    const terms: number[] = [];
    for (let count = random.between(1, 12), term = 1; count > 0; count--) {
      if (random.chance(0.3)) term++;
      terms.push(term);
    }
    const log = logOf(...terms);
    const index = random.below(terms.length + 1);
    const term = random.below(6);
    const expected = Math.max(0, ...terms.slice(0, index).map((own, place) => (own <= term ? place + 1 : 0)));
    assert.equal(log.lastWithTermAtMost(index, term), expected);
  }
});
