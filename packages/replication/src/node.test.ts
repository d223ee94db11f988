/**
 * A member that is alone, from its foundation through proposals, reads and failures to its next life. Time and disk are
 * in the hands of the test.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfChange, ConfChangeType } from '@etsd/proto';
import { benchProposals } from './node.bench.ts';
import { RecordingApplier, RecordingWaiter } from './testing/fakes.ts';
import { SELF, Single } from './testing/single.ts';

test('a founding member adds itself, elects itself and opens its term, all of it durable', () => {
  const single = new Single().started();
  assert.equal(single.node.isLeader, true);
  assert.equal(single.node.term, 2);
  assert.deepEqual(single.applier.seen, [`(change 0 of ${SELF.id})`, '(empty)']);
  assert.deepEqual(single.applier.confState?.voters, [SELF.id]);
  assert.deepEqual(
    single.log.durable.map((entry) => [entry.index, entry.term]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  assert.equal(single.log.hardState?.vote, SELF.id);
});

test('nothing is applied, and nobody answered, before the disk has it', () => {
  const single = new Single().started();
  const waiter = single.propose('a');
  single.time.endTurn();
  single.time.endTurn();
  assert.equal(waiter.outcome, 'waiting');
  assert.equal(single.node.commitIndex, 2);
  single.log.finish();
  single.time.drainMicrotasks();
  assert.equal(waiter.outcome, 'a');
  assert.equal(single.node.commitIndex, 3);
});

test('proposals of a turn share one write, and those that come while the disk works share the next', () => {
  const single = new Single().started();
  const before = { syncs: single.log.syncs, batches: single.applier.batches };
  const first = ['a', 'b', 'c'].map((text) => single.propose(text));
  single.time.endTurn();
  assert.equal(single.log.isWriting, true);
  const second: RecordingWaiter[] = [];
  for (const text of ['d', 'e', 'f']) {
    second.push(single.propose(text));
    single.time.endTurn();
  }
  single.log.finish();
  single.time.drainMicrotasks();
  assert.deepEqual(
    first.map((waiter) => waiter.outcome),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(
    second.map((waiter) => waiter.outcome),
    ['waiting', 'waiting', 'waiting'],
  );
  single.log.finish();
  single.time.drainMicrotasks();
  assert.deepEqual(
    second.map((waiter) => waiter.outcome),
    ['d', 'e', 'f'],
  );
  assert.equal(single.log.syncs - before.syncs, 2);
  assert.equal(single.applier.batches - before.batches, 2, 'three writes in one sync are applied as one batch');
});

// Goal: what can wait for others' proposals costs no sync, and is not asked for where nobody proposed.
test('what accompanies writes is part of the write that others caused', () => {
  const single = new Single().started();
  const before = { syncs: single.log.syncs, batches: single.applier.batches };
  const companions: RecordingWaiter[] = [];
  single.node.accompanyWrites(() => companions.push(single.propose('companion')));
  assert.equal(single.read().outcome, 'done');
  single.time.advance(1000);
  single.settle();
  assert.equal(companions.length, 0);
  const others = ['a', 'b'].map((text) => single.propose(text));
  single.settle();
  assert.deepEqual(
    [...others, ...companions].map((waiter) => waiter.outcome),
    ['a', 'b', 'companion'],
  );
  assert.equal(single.log.syncs - before.syncs, 1);
  assert.equal(single.applier.batches - before.batches, 1);
});

test('a read needs no turn where everything committed is applied, and waits for what is being applied otherwise', () => {
  const single = new Single();
  single.node.start();
  const early = single.read();
  assert.equal(early.outcome, 'waiting', 'no term was opened yet');
  single.settle();
  single.time.advance(100);
  assert.equal(early.outcome, 'done');
  assert.equal(single.read().outcome, 'done');

  // Applying takes 1 ms an entry: a slice ends with the commit index ahead of what is applied.
  single.applier.onApply = () => single.time.spend(1);
  for (let count = 0; count < 200; count++) single.propose(`v${count}`);
  single.time.endTurn();
  single.log.finish();
  single.time.drainMicrotasks();
  assert.ok(single.node.appliedIndex < single.node.commitIndex, 'the slice ended early');
  const late = single.read();
  assert.equal(late.outcome, 'waiting');
  single.settle();
  assert.equal(late.outcome, 'done');
  assert.equal(single.node.appliedIndex, single.node.commitIndex);
});

test('long applying is cut into slices, so that ticks and input come in between', () => {
  const single = new Single().started();
  single.applier.onApply = () => single.time.spend(1);
  for (let count = 0; count < 1000; count++) single.propose('x');
  single.time.endTurn();
  const batches = single.applier.batches;
  single.settle();
  // A slice ends with the entry that goes beyond 5 ms, here the sixth.
  assert.equal(single.applier.batches - batches, Math.ceil(1000 / 6));
});

test('a request the disk does not get to fails when its time is up, and may still be applied', () => {
  const single = new Single().started();
  const waiter = single.propose('slow');
  single.time.advance(6900);
  assert.equal(waiter.outcome, 'waiting');
  single.time.advance(300);
  assert.equal(waiter.outcome, 'etcdserver: request timed out');
  assert.equal(single.node.pendingProposals, 0);
  single.settle();
  assert.equal(single.applier.seen.at(-1), 'slow');
});

test('what waits to be applied is bounded', () => {
  const single = new Single().started();
  single.applier.onApply = () => single.time.spend(6);
  const accepted: RecordingWaiter[] = [];
  for (let count = 0; count < 5100; count++) accepted.push(single.propose('x'));
  single.time.endTurn();
  single.log.finish();
  single.time.drainMicrotasks();
  assert.ok(single.node.commitIndex - single.node.appliedIndex > 5000);
  assert.equal(single.propose('one too many').outcome, 'etcdserver: too many requests');
  single.applier.onApply = () => {};
  single.settle();
  assert.equal(single.propose('welcome again').outcome, 'waiting');
});

test('the bytes of proposals in flight are bounded', () => {
  const single = new Single().started();
  const data = Buffer.alloc(64 * 1024 * 1024);
  const outcomes: string[] = [];
  for (let count = 0; count < 6; count++) {
    const waiter = new RecordingWaiter();
    single.node.propose(data, waiter);
    outcomes.push(waiter.outcome);
  }
  assert.deepEqual(outcomes.slice(0, 4), ['waiting', 'waiting', 'waiting', 'waiting']);
  assert.equal(outcomes[5], 'etcdserver: too many requests');
});

test('a disk that fails stops the member and everybody who waits', async () => {
  const single = new Single().started();
  const waiter = single.propose('lost');
  single.time.endTurn();
  single.log.finish(new Error('input/output error'));
  assert.equal(waiter.outcome, 'etcdserver: server stopped');
  assert.deepEqual(
    single.fatal.map((error) => error.message),
    ['input/output error'],
  );
  assert.equal(single.propose('after').outcome, 'etcdserver: server stopped');
  assert.equal(single.read().outcome, 'etcdserver: server stopped');
  await single.node.stop();
  assert.equal(single.log.isClosed, true);
});

test('an applier that throws stops the member', () => {
  const single = new Single().started();
  single.applier.onApply = () => {
    throw new Error('the state is damaged');
  };
  single.propose('x');
  single.settle();
  assert.deepEqual(
    single.fatal.map((error) => error.message),
    ['the state is damaged'],
  );
});

test('stopping fails everybody who waits and leaves the commit index in the log', async () => {
  const single = new Single().started();
  assert.equal(single.propose('kept').outcome, 'waiting');
  single.settle();
  const waiter = single.propose('too late');
  await single.node.stop();
  assert.equal(waiter.outcome, 'etcdserver: server stopped');
  assert.equal(single.log.hardState?.commit, 3);
  assert.equal(single.log.isClosed, true);
});

test('a new life applies what the stored state lacks, once, and goes on', () => {
  const first = new Single().started();
  for (const text of ['a', 'b', 'c', 'd']) first.propose(text);
  first.settle();
  // The state on disk is that after entry 4, which is the second proposal.
  const applier = new RecordingApplier();
  applier.appliedIndex = 4;
  applier.confState = first.applier.confState;
  const second = first.reborn(applier).started();
  assert.deepEqual(applier.seen, ['c', 'd', '(empty)']);
  assert.equal(second.node.term, 3);
  const waiter = second.propose('e');
  second.settle();
  assert.equal(waiter.outcome, 'e');
  assert.equal(applier.appliedIndex, 8);
});

test('a new life before anything was stored begins with the first entry', () => {
  const first = new Single().started();
  first.propose('a');
  first.settle();
  const second = first.reborn(new RecordingApplier()).started();
  assert.deepEqual(second.applier.seen, [`(change 0 of ${SELF.id})`, '(empty)', 'a', '(empty)']);
  assert.equal(second.node.isLeader, true);
});

test('the log is cut when enough is applied and the state is on disk, and not before', () => {
  const single = new Single({ snapshotCount: 100 }).started();
  single.durableIndex = 2;
  for (let count = 0; count < 150; count++) single.propose('x');
  single.settle();
  single.time.advance(100);
  single.settle();
  assert.equal(single.log.snapshots.length, 0, 'the state on disk contains next to nothing');
  single.durableIndex = 120;
  single.time.advance(100);
  single.settle();
  assert.deepEqual(
    single.log.snapshots.map(({ index, term }) => ({ index, term })),
    [{ index: 120, term: 2 }],
  );
  assert.deepEqual(single.log.snapshots[0]?.confState?.voters, [SELF.id]);
  assert.ok((single.log.hardState?.commit ?? 0) >= 120, 'a snapshot counts only if the log knows it is committed');
  assert.equal(single.log.releasedTo, 120);
  assert.equal(single.node.snapshotIndex, 120);
  const waiter = single.propose('after the cut');
  single.settle();
  assert.equal(waiter.outcome, 'after the cut');
});

test('a change of members is applied, a refused one changes nobody', () => {
  const single = new Single().started();
  const learner = '00000000000000aa';
  const change = ConfChange.create({ id: '1', type: ConfChangeType.ConfChangeAddLearnerNode, nodeId: learner });
  single.applier.refused = learner;
  const refused = new RecordingWaiter();
  single.node.proposeConfChange(change, refused);
  const second = new RecordingWaiter();
  single.node.proposeConfChange(ConfChange.create({ ...change, id: '2', nodeId: '00000000000000bb' }), second);
  single.settle();
  assert.deepEqual([refused.outcome, second.outcome], ['changed', 'waiting'], 'one at a time');
  single.time.advance(100);
  single.settle();
  assert.equal(second.outcome, 'changed');
  assert.deepEqual(single.applier.confState?.learners, ['00000000000000bb']);
  single.applier.refused = '';
  const accepted = new RecordingWaiter();
  single.node.proposeConfChange(change, accepted);
  single.settle();
  assert.equal(accepted.outcome, 'changed');
  assert.deepEqual(single.applier.confState?.learners, [learner, '00000000000000bb']);
  const waiter = single.propose('a learner does not count');
  single.settle();
  assert.equal(waiter.outcome, 'a learner does not count');
});

test('the last voter cannot be removed', () => {
  const single = new Single().started();
  const waiter = new RecordingWaiter();
  const change = ConfChange.create({ id: '1', type: ConfChangeType.ConfChangeRemoveNode, nodeId: SELF.id });
  single.node.proposeConfChange(change, waiter);
  assert.match(waiter.outcome, /not enough started members/);
});

test('listeners hear of leadership', () => {
  const single = new Single();
  const heard: [boolean, number][] = [];
  single.node.onLeadership((isLeader, _leader, term) => heard.push([isLeader, term]));
  single.started();
  assert.deepEqual(heard.at(-1), [true, 2]);
});

test('the benchmark runs and every proposal is answered', () => {
  assert.equal(benchProposals(1000, 10).completed, 1000);
});
