/** The contract between raft and its driver: what may be sent, when a write counts, what a start may begin with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfChange, ConfChangeType, Entry, EntryType, HardState, Message, MessageType } from '@etsd/proto';
import { RAFT_DEFAULTS } from './config.ts';
import { DROPPED, emptyState, FORWARDED, RawNode, REFUSED, type StoredState } from './raw-node.ts';
import { idOf } from './testing/member.ts';
import { Solo } from './testing/solo.ts';

const { MsgApp, MsgAppResp, MsgHup, MsgSnapStatus, MsgVote, MsgVoteResp } = MessageType;

function alone(): Solo {
  const solo = new Solo({ voters: 1 });
  solo.node.campaign();
  solo.settle();
  assert.equal(solo.node.isLeader, true);
  return solo;
}

test('any number of writes may be under way; each counts when it is reported, in order', () => {
  const { node, member } = alone();
  for (const text of ['a', 'b', 'c']) {
    node.propose(Buffer.from(text));
    while (member.pump());
  }
  assert.equal(member.writes.length, 3);
  assert.equal(node.commitIndex, 1);
  const [first, second] = member.writes.map(({ write }) => write);
  assert.throws(() => node.written(second as NonNullable<typeof second>), /order of their hand-out/);
  node.written(first as NonNullable<typeof first>);
  assert.equal(node.commitIndex, 2);
});

test('a hard state is given when it changed, and a commit index alone waits for the next write', () => {
  const { node, member } = alone();
  const states: (number | null)[] = [];
  const drain = (): void => {
    while (node.hasReady()) {
      const ready = node.ready();
      if (ready.write === null) continue;
      states.push(ready.hardState?.commit ?? null);
      node.written(ready.write);
    }
  };
  node.propose(Buffer.from('a'));
  drain();
  node.propose(Buffer.from('b'));
  drain();
  assert.deepEqual(states, [1, 2], 'the commit index as of the hand-out');
  assert.equal(node.hasUnsavedCommit, true);
  assert.equal(node.takeHardState().commit, 3);
  assert.equal(node.hasUnsavedCommit, false);
  assert.equal(member.disk.entries.length, 1, 'nothing of this went to the disk of the harness');
});

test('an answer waits for the write it promises, also when that is already under way', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  const append = Message.create({
    type: MsgApp,
    from: idOf(2),
    to: idOf(1),
    term: 1,
    entries: [Entry.create({ term: 1, index: 1 })],
  });
  solo.node.step(append);
  assert.deepEqual(solo.unwritten(), []);
  solo.node.step(Message.create(append));
  assert.deepEqual(solo.unwritten(), [], 'the same append again: nothing to write, and still not durable');
  const answers = solo.settle();
  assert.deepEqual(
    answers.map(({ type, index }) => [type, index]),
    [
      [MsgAppResp, 1],
      [MsgAppResp, 1],
    ],
  );
});

test('a vote leaves when it is durable', () => {
  const solo = new Solo({ voters: 3 });
  solo.node.step(Message.create({ type: MsgVote, from: idOf(2), to: idOf(1), term: 4 }));
  assert.deepEqual(solo.unwritten(), []);
  assert.deepEqual(
    solo.settle().map(({ type }) => type),
    [MsgVoteResp],
  );
  assert.equal(solo.member.disk.hardState?.vote, idOf(2));
});

test('a write that was overtaken by other entries does not make those durable', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  const append = (term: number, ...indexes: number[]): Message =>
    Message.create({
      type: MsgApp,
      from: idOf(2),
      to: idOf(1),
      term,
      commit: term === 2 ? 2 : 0,
      entries: indexes.map((index) => Entry.create({ term, index, data: Buffer.from(`${term}/${index}`) })),
    });
  solo.node.step(append(1, 1, 2));
  solo.unwritten();
  solo.node.step(append(2, 1, 2));
  solo.unwritten();
  assert.equal(solo.member.writes.length, 2);
  solo.member.finishWrite();
  while (solo.member.pump() || solo.member.apply());
  assert.deepEqual(solo.applied, [], 'the first write held entries that are gone');
  solo.settle();
  assert.deepEqual(solo.applied, ['2/1', '2/2']);
});

test('proposals: an index from the leader, forwarded by a follower, dropped without a leader', () => {
  assert.equal(alone().node.propose(Buffer.from('x')), 2);
  const follower = new Solo({ voters: 3, term: 1 });
  assert.equal(follower.node.propose(Buffer.from('x')), DROPPED);
  follower.hear(2, MsgApp, 1);
  assert.equal(follower.node.propose(Buffer.from('x')), FORWARDED);
  assert.deepEqual(
    follower.settle().map(({ type }) => type),
    [MessageType.MsgProp],
  );
});

test('nobody outside may give orders or report for this member', () => {
  const solo = new Solo({ voters: 3, term: 1 });
  for (const type of [MsgHup, MsgSnapStatus, MessageType.MsgStorageAppend]) {
    solo.node.step(Message.create({ type, from: idOf(2), to: idOf(1) }));
    assert.deepEqual(solo.settle(), []);
  }
  assert.equal(solo.node.term, 1);
});

test('a forwarded membership change that cannot be read is voided', () => {
  const solo = alone();
  const entry = Entry.create({ type: EntryType.EntryConfChange, data: Buffer.from([0xff]) });
  solo.node.step(Message.create({ type: MessageType.MsgProp, from: idOf(2), to: idOf(1), entries: [entry] }));
  solo.settle();
  assert.equal(solo.node.entryAt(2).type, EntryType.EntryNormal);
  assert.equal(solo.node.entryAt(2).data.length, 0);
});

test('only one membership change at a time', () => {
  const { node } = alone();
  const learner = Buffer.from([0x10, 3, 0x18, 9]);
  assert.ok(node.proposeConfChange(EntryType.EntryConfChange, learner) > 0);
  assert.equal(node.proposeConfChange(EntryType.EntryConfChange, learner), DROPPED);
});

test('a membership change that cannot be made never enters the log', () => {
  const { node } = alone();
  const last = node.lastIndex;
  const removesLast = ConfChange.encode(
    ConfChange.create({ type: ConfChangeType.ConfChangeRemoveNode, nodeId: idOf(1) }),
  );
  assert.equal(node.proposeConfChange(EntryType.EntryConfChange, removesLast), REFUSED);
  assert.equal(node.proposeConfChange(EntryType.EntryConfChange, Buffer.from([0xff])), REFUSED);
  assert.equal(node.proposeConfChange(EntryType.EntryConfChangeV2, Buffer.alloc(0)), REFUSED, 'nothing to leave');
  assert.equal(node.lastIndex, last);
});

test('a start that contradicts itself is refused', () => {
  const options = { ...RAFT_DEFAULTS, id: idOf(1), draw: () => 0 };
  const entries = [Entry.create({ term: 1, index: 1 }), Entry.create({ term: 1, index: 2 })];
  const broken: [Partial<StoredState>, RegExp][] = [
    [{ entries: [entries[0] as Entry, entries[0] as Entry] }, /consecutive/],
    [{ entries, applied: 3 }, /applied index is behind the end/],
    [{ entries, hardState: HardState.create({ term: 1, commit: 3 }) }, /commit index is behind the end/],
    [{ baseIndex: 5, applied: 4 }, /before the beginning/],
  ];
  for (const [part, message] of broken) {
    assert.throws(() => new RawNode(options, { ...emptyState(), ...part }), message);
  }
  assert.throws(() => new RawNode({ ...options, id: idOf(0) }, emptyState()), /must not be zero/);
});

test('what was applied counts as committed, whatever the hard state says', () => {
  const options = { ...RAFT_DEFAULTS, id: idOf(1), draw: () => 0 };
  const entries = [Entry.create({ term: 1, index: 1 }), Entry.create({ term: 1, index: 2 })];
  const hardState = HardState.create({ term: 1, commit: 1 });
  const node = new RawNode(options, { ...emptyState(), entries, hardState, applied: 2 });
  assert.equal(node.commitIndex, 2);
  assert.equal(node.hasReady(), false);
});
