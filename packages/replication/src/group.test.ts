/**
 * Three members: proposals and reads from any of them, changes of the leader, crashes. Time, disks and network are in the
 * hands of the test.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeType,
  ConfChangeV2,
  Entry,
  ErrNotLeader,
  HardState,
  Message,
  MessageType,
} from '@etsd/proto';
import { type MemoryLog, RecordingWaiter } from './testing/fakes.ts';
import { Group } from './testing/group.ts';

function started(): Group {
  const group = new Group(3);
  group.settle();
  group.pass(2500);
  return group;
}

function data(seen: readonly string[]): string[] {
  return seen.filter((text) => !text.startsWith('('));
}

test('one of three is elected, and what it commits is applied by all', () => {
  const group = started();
  const waiter = group.leader.propose('a');
  group.settle();
  assert.equal(waiter.outcome, 'a');
  for (const member of group.members) assert.deepEqual(data(member.applier.seen), ['a']);
});

test('a follower forwards, and answers when it has applied the result itself', () => {
  const group = started();
  const follower = group.follower();
  const waiters = ['x', 'y', 'z'].map((text) => follower.propose(text));
  assert.equal(follower.node.pendingProposals, 3);
  group.settle();
  assert.deepEqual(
    waiters.map((waiter) => waiter.outcome),
    ['x', 'y', 'z'],
  );
  assert.equal(follower.node.pendingProposals, 0);
});

test('a read on any member sees what was committed before it was asked', () => {
  const group = started();
  group.leader.propose('a');
  group.settle();
  const reads = group.members.map((member) => member.read());
  assert.deepEqual(
    reads.map((read) => read.outcome),
    ['waiting', 'waiting', 'waiting'],
  );
  group.settle();
  assert.deepEqual(
    reads.map((read) => read.outcome),
    ['done', 'done', 'done'],
  );
});

test('a leader that was cut off serves no read; it is asked again of the next leader', () => {
  const group = started();
  const old = group.leader;
  group.isolate(old);
  const read = old.read();
  group.pass(400);
  assert.equal(read.outcome, 'waiting');
  group.pass(2500);
  assert.notEqual(group.leader, old);
  const written = group.leader.propose('new');
  group.settle();
  assert.equal(written.outcome, 'new');
  assert.equal(read.outcome, 'waiting');
  group.reconnect();
  group.pass(1000);
  assert.equal(read.outcome, 'done');
  assert.deepEqual(data(old.applier.seen), ['new']);
});

test('what a cut-off leader took is replaced, and its proposer is told that it is lost', () => {
  const group = started();
  const old = group.leader;
  group.isolate(old);
  const lost = old.propose('lost');
  group.pass(2500);
  const winner = group.leader.propose('winner');
  group.settle();
  assert.equal(winner.outcome, 'winner');
  assert.equal(lost.outcome, 'waiting');
  group.reconnect();
  group.pass(1000);
  assert.equal(lost.outcome, 'etcdserver: request timed out, possibly due to previous leader failure');
  for (const member of group.members) assert.deepEqual(data(member.applier.seen), ['winner']);
});

test('proposals without a leader wait for the next one', () => {
  const group = started();
  group.crash(group.leader);
  const survivor = group.members.find((member) => member.isUp);
  assert.ok(survivor !== undefined);
  group.pass(700);
  // Nobody leads, though the followers may not know yet: what is forwarded to the dead is lost and timed out.
  group.pass(600);
  const waiter = survivor.propose('patient');
  group.pass(3000);
  assert.equal(waiter.outcome, 'patient');
});

test('without a majority a request fails when its time is up', () => {
  const group = started();
  const leader = group.leader;
  for (const member of group.members) if (member !== leader) group.crash(member);
  const write = leader.propose('w');
  const read = leader.read();
  group.pass(6500);
  assert.deepEqual([write.outcome, read.outcome], ['waiting', 'waiting']);
  group.pass(1000);
  assert.equal(write.outcome, 'etcdserver: request timed out');
  assert.equal(read.outcome, 'etcdserver: request timed out');
});

test('a member that comes back gets what it missed', () => {
  const group = started();
  const away = group.follower();
  group.crash(away);
  for (const text of ['a', 'b', 'c']) group.leader.propose(text);
  group.settle();
  const back = group.restart(away);
  group.pass(500);
  assert.deepEqual(data(back.applier.seen), ['a', 'b', 'c']);
});

test('leadership moves when asked to, and nothing proposed meanwhile is lost', () => {
  const group = started();
  const old = group.leader;
  const next = group.follower();
  const [refused, moved] = [new RecordingWaiter(), new RecordingWaiter()];
  next.node.moveLeader(next.id, refused);
  assert.equal(refused.error, ErrNotLeader, 'only the leader can hand over');
  old.node.moveLeader(next.id, moved);
  const waiter = old.propose('meanwhile');
  group.pass(300);
  assert.equal(group.leader, next);
  assert.equal(moved.outcome, 'done');
  assert.equal(waiter.outcome, 'meanwhile');
});

test('a membership change asked of a follower is answered there', () => {
  const group = started();
  const follower = group.follower();
  const learner = '00000000000000aa';
  const change = ConfChange.create({
    id: '00000000000000c1',
    type: ConfChangeType.ConfChangeAddLearnerNode,
    nodeId: learner,
  });
  const waiter = new RecordingWaiter();
  follower.node.proposeConfChange(change, waiter);
  group.settle();
  assert.equal(waiter.outcome, 'changed');
  for (const member of group.members) assert.deepEqual(member.applier.confState?.learners, [learner]);
});

test('several members change at once through a joint configuration, asked of a leader or a follower', () => {
  const group = started();
  const added = ['00000000000000aa', '00000000000000bb'];
  for (const asked of [group.leader, group.follower()]) {
    const wide = new ConfChangeV2();
    // Learners: the new members do not exist, and must not be needed for a majority.
    for (const nodeId of added) {
      const type =
        asked === group.leader ? ConfChangeType.ConfChangeAddLearnerNode : ConfChangeType.ConfChangeRemoveNode;
      wide.changes.push(ConfChangeSingle.create({ type, nodeId }));
    }
    wide.context = Buffer.from(`request of ${asked.id}`);
    const waiter = new RecordingWaiter();
    asked.node.proposeConfChangeV2(wide, waiter);
    group.settle();
    assert.equal(waiter.outcome, 'changed');
    for (const { applier } of group.members) {
      assert.deepEqual(applier.confState?.learners, asked === group.leader ? added : []);
      assert.deepEqual(applier.confState?.votersOutgoing, [], 'the joint configuration was left');
      assert.equal(applier.seen.at(-1), '(0 changes)');
    }
  }
});

test('a member that lost what it had promised stops with one clear line', () => {
  const group = new Group(3);
  const fatal: string[] = [];
  group.onFatal = (error) => fatal.push(error.message);
  group.settle();
  group.pass(2500);
  for (const text of ['a', 'b', 'c']) group.leader.propose(text);
  group.settle();
  group.pass(300);
  const forgetful = group.follower();
  group.crash(forgetful);
  // A backup of yesterday was put in its place: the leader knows that it had acknowledged more.
  forgetful.log.durable = forgetful.log.durable.slice(0, 4);
  forgetful.log.hardState = HardState.create({ ...forgetful.log.hardState, commit: 4 });
  const back = group.restart(forgetful);
  group.pass(300);
  assert.deepEqual(fatal, ['raft log: the commit index is behind the end of the log; the log was lost']);
  assert.equal(back.propose('x').outcome, 'etcdserver: server stopped');
});

/** The highest index that a log's next life can know. */
function endOf(log: MemoryLog): number {
  return Math.max(log.durable.at(-1)?.index ?? 0, log.snapshots.at(-1)?.index ?? 0);
}

test('a member that stops leaves no commit index behind the entries it wrote', async () => {
  const group = started();
  const { leader } = group;
  const stopping = group.follower();
  const last = stopping.log.durable.at(-1) as Entry;
  const { term, index } = last;
  const entries = ['a', 'b'].map((text, place) =>
    Entry.create({ term, index: index + 1 + place, data: Buffer.from(text) }),
  );
  const { id: from } = leader;
  // Entries and their commit come in one message, and the member is told to stop in the same turn.
  stopping.node.step(
    Message.create({
      type: MessageType.MsgApp,
      from,
      to: stopping.id,
      term,
      index,
      logTerm: term,
      commit: index + 2,
      entries,
    }),
  );
  stopping.isUp = false;
  await stopping.node.stop();
  assert.ok((stopping.log.hardState?.commit ?? 0) <= endOf(stopping.log));
  const back = group.restart(stopping);
  leader.propose('c');
  group.pass(300);
  assert.deepEqual(data(back.applier.seen), ['c']);
});

test('a member that stops while it installs a snapshot speaks of nothing that waits behind it', async () => {
  const group = started();
  const away = group.follower();
  group.isolate(away);
  group.pass(2500);
  for (let count = 0; count < 60; count++) group.leader.propose(`v${count}`);
  group.settle();
  group.pass(300);
  group.reconnect();
  group.isInstalling = false;
  group.pass(500);
  assert.equal(group.installs.length, 1);
  for (const text of ['late', 'later']) group.leader.propose(text);
  group.pass(500);
  away.isUp = false;
  await away.node.stop();
  const snapshotIndex = away.log.snapshots.at(-1)?.index ?? 0;
  assert.ok(snapshotIndex > 0, 'the record of the snapshot is in the log');
  assert.equal(endOf(away.log), snapshotIndex, 'what came behind it was held back');
  assert.equal(away.log.hardState?.commit, snapshotIndex);
});

test('the log is kept for a member that is just being served', () => {
  const group = started();
  const away = group.follower();
  group.isolate(away);
  for (let count = 0; count < 60; count++) group.leader.propose(`v${count}`);
  group.settle();
  group.pass(300);
  assert.ok(group.leader.node.snapshotIndex > 0, 'the log was cut');
  group.reconnect();
  group.isInstalling = false;
  group.pass(500);
  assert.deepEqual(away.applier.history, group.leader.applier.history);
  assert.equal(group.installs.length, 0, 'no snapshot was needed');
});

test('the log is not cut while a snapshot is being installed', () => {
  const group = started();
  const away = group.follower();
  group.stateOnDisk.set(away.id, 0);
  for (let count = 0; count < 30; count++) group.leader.propose(`before${count}`);
  group.settle();
  group.isolate(away);
  group.pass(2500);
  for (let count = 0; count < 60; count++) group.leader.propose(`v${count}`);
  group.settle();
  group.pass(300);
  // Were it cut, then at what is applied here: a place that the log does not reach back to any more.
  group.isInstalling = false;
  group.reconnect();
  group.pass(500);
  assert.equal(group.installs.length, 1);
  group.stateOnDisk.set(away.id, away.applier.appliedIndex);
  group.pass(500);
  assert.equal(away.log.snapshots.length, 1, 'only the record of the snapshot');
  assert.ok((away.log.snapshots[0]?.index ?? 0) > away.applier.appliedIndex);
});

test('a member that was away too long gets a snapshot, then what follows, and its next life begins there', () => {
  const group = started();
  const away = group.follower();
  group.isolate(away);
  // Whoever was heard of lately is waited for.
  group.pass(2500);
  for (let count = 0; count < 60; count++) group.leader.propose(`v${count}`);
  group.settle();
  group.pass(300);
  assert.ok(group.leader.node.snapshotIndex > 0, 'the log was cut');
  group.reconnect();
  group.isInstalling = false;
  group.pass(500);
  assert.equal(group.installs.length, 1);
  // While it is being installed the member answers heartbeats, and what it is sent waits.
  const leader = group.leader;
  const late = leader.propose('late');
  group.pass(3000);
  assert.equal(late.outcome, 'late');
  assert.equal(group.leader, leader, 'nobody campaigned meanwhile');
  assert.equal(away.applier.appliedIndex < leader.applier.appliedIndex, true);
  assert.equal(away.log.snapshots.length, 1, 'the record comes first');

  group.isInstalling = true;
  group.pass(500);
  assert.deepEqual(away.applier.history, leader.applier.history);
  assert.equal(away.node.snapshotIndex, away.log.snapshots[0]?.index);
  const read = away.read();
  group.settle();
  assert.equal(read.outcome, 'done');

  group.crash(away);
  const back = group.restart(away);
  group.pass(500);
  assert.deepEqual(back.applier.history, leader.applier.history);
});
