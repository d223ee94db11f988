/**
 * Leadership: handed over on request and before a stop, given up when the disk hangs or nobody is heard, and how soon a
 * member campaigns after a start.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfChange, ConfChangeType, ErrUnhealthy } from '@etsd/proto';
import { RecordingWaiter } from './testing/fakes.ts';
import { Group, type GroupMember } from './testing/group.ts';

function started(count = 3): Group {
  const group = new Group(count);
  group.settle();
  group.pass(2500);
  return group;
}

function move(from: GroupMember, to: string, timeoutMs?: number): RecordingWaiter {
  const waiter = new RecordingWaiter();
  from.node.moveLeader(to, waiter, timeoutMs);
  return waiter;
}

test('whoever asks for a hand-over is answered when the other leads', () => {
  const group = started();
  const old = group.leader;
  const next = group.follower();
  const waiter = move(old, next.id);
  assert.equal(waiter.outcome, 'waiting');
  group.settle();
  assert.equal(waiter.outcome, 'done');
  assert.equal(group.leader, next);
});

test('a hand-over is refused by followers, and to whoever cannot lead', () => {
  const group = started();
  const { leader } = group;
  const learner = '00000000000000aa';
  const change = ConfChange.create({ type: ConfChangeType.ConfChangeAddLearnerNode, nodeId: learner });
  leader.node.proposeConfChange(change, new RecordingWaiter());
  group.settle();
  assert.equal(move(group.follower(), leader.id).outcome, 'etcdserver: not leader');
  assert.equal(move(leader, '00000000000000bb').outcome, 'etcdserver: bad leader transferee');
  assert.equal(move(leader, learner).outcome, 'etcdserver: bad leader transferee');
  assert.equal(move(leader, leader.id).outcome, 'done');
});

test('what only this leader may say is taken while it leads, and reaches nobody while it hands over', () => {
  const group = started();
  const { leader } = group;
  const away = group.follower();
  const say = (from: GroupMember, text: string): [boolean, RecordingWaiter] => {
    const waiter = new RecordingWaiter();
    return [from.node.proposeAsLeader(Buffer.from(text), waiter), waiter];
  };
  const [isTaken, waiter] = say(leader, 'first');
  group.settle();
  assert.deepEqual([isTaken, waiter.outcome], [true, 'first']);
  assert.equal(say(away, 'not mine')[0], false);
  group.isolate(away);
  move(leader, away.id, 3000);
  const [isLate, never] = say(leader, 'too late');
  assert.equal(isLate, false);
  group.pass(6000);
  assert.equal(never.outcome, 'waiting');
  assert.ok(!leader.applier.seen.includes('too late'));
});

test('a hand-over to a member that cannot be reached ends in a time-out, and proposals go on then', () => {
  const group = started();
  const { leader } = group;
  const away = group.follower();
  group.isolate(away);
  const waiter = move(leader, away.id, 3000);
  const write = leader.propose('meanwhile');
  group.pass(2900);
  assert.equal(waiter.outcome, 'waiting');
  group.pass(1500);
  assert.equal(waiter.outcome, 'etcdserver: request timed out, leader transfer took too long');
  assert.equal(write.outcome, 'meanwhile');
  assert.equal(group.leader, leader);
});

test('a hand-over that raft gave up is tried again while somebody waits', () => {
  const group = started();
  const next = group.follower();
  group.isolate(next);
  const waiter = move(group.leader, next.id, 6000);
  group.pass(2000);
  group.reconnect();
  group.pass(2500);
  assert.equal(waiter.outcome, 'done');
  assert.equal(group.leader, next);
});

test('before a stop leadership goes to the best prepared of those that are heard', async () => {
  const group = started(5);
  const { leader } = group;
  const [gone, behind] = [group.follower(0), group.follower(1)];
  group.crash(gone);
  group.isolate(behind);
  leader.propose('x');
  group.settle();
  group.pass(300);
  const moved = leader.node.transferAndWait(5000);
  group.pass(200);
  assert.equal(await moved, null);
  assert.ok(![leader.id, gone.id, behind.id].includes(group.leader.id));
  assert.equal(await leader.node.transferAndWait(5000), null, 'a follower has nothing to hand over');
});

test('a leader that hears nobody says so before a stop', async () => {
  const group = started();
  const { leader } = group;
  for (const member of group.members) if (member !== leader) group.crash(member);
  group.pass(1000);
  assert.equal(leader.node.isLeader, true, 'it has not noticed yet');
  assert.equal(await leader.node.transferAndWait(5000), ErrUnhealthy);
  group.pass(2000);
  assert.equal(leader.node.isLeader, false, 'a leader without a majority steps down');
});

test('without the quorum check a leader stays; without pre-vote a lonely member raises its term', () => {
  const lax = new Group(3, { checkQuorum: false });
  lax.pass(2500);
  const { leader } = lax;
  lax.isolate(leader);
  lax.pass(5000);
  assert.equal(leader.node.isLeader, true);

  for (const preVote of [true, false]) {
    const group = new Group(3, { preVote });
    group.pass(2500);
    const lonely = group.follower();
    const { term } = lonely.node;
    group.isolate(lonely);
    group.pass(10_000);
    assert.equal(lonely.node.term > term, !preVote, `pre-vote ${preVote}`);
    group.reconnect();
    group.pass(3000);
    assert.equal(group.leader.node.term > term, !preVote, `pre-vote ${preVote}`);
  }
});

test('a leader whose disk hangs hands over while others can lead, and does not campaign before it works', () => {
  const group = started();
  const sick = group.leader;
  sick.hangs = true;
  const write = sick.propose('w');
  const read = sick.read();
  group.pass(900);
  assert.equal(read.outcome, 'done', 'a slow disk alone takes nothing away');
  assert.equal(sick.node.isDiskStalled, false);
  assert.equal(sick.node.isLeader, true, 'heartbeats do not wait for the disk');
  assert.ok(sick.node.oldestUnfinishedSyncMs >= 900);
  group.pass(400);
  assert.equal(sick.node.isDiskStalled, true);
  const next = group.leader;
  assert.notEqual(next, sick);
  // The others had it before the disk of the old leader: it is committed, but not known here.
  assert.equal(next.applier.seen.at(-2), 'w');
  assert.equal(write.outcome, 'waiting');
  assert.equal(sick.read().outcome, 'etcdserver: unhealthy cluster');

  group.crash(next);
  group.pass(5000);
  const others = group.members.filter((member) => member.isUp && member !== sick);
  assert.equal(others[0]?.node.isLeader, false, 'one of three cannot be elected without the vote of the sick one');
  assert.equal(sick.node.isLeader, false, 'which does not campaign');

  sick.hangs = false;
  group.pass(4000);
  assert.equal(sick.node.isDiskStalled, false);
  assert.equal(sick.node.oldestUnfinishedSyncMs, 0);
  assert.equal(write.outcome, 'w', 'what was committed is applied when the disk works again');
  const late = sick.read();
  group.pass(300);
  assert.equal(late.outcome, 'done');
});

test('a leader whose disk hangs steps down when nobody takes over', () => {
  const group = started();
  const sick = group.leader;
  // Everybody hears it and is heard, but nobody can keep anything: no vote, hence no successor.
  for (const member of group.members) member.hangs = true;
  sick.propose('w');
  group.pass(4000);
  assert.equal(sick.node.isLeader, false);
  for (const member of group.members) member.hangs = false;
  group.pass(4000);
  assert.ok(group.leader.node.isLeader);
});

test('readers that wait when the disk begins to hang are told', () => {
  const group = started();
  const sick = group.leader;
  sick.hangs = true;
  sick.propose('w');
  group.pass(900);
  for (const member of group.members) if (member !== sick) group.isolate(member);
  const read = sick.read();
  group.pass(300);
  assert.equal(read.outcome, 'etcdserver: unhealthy cluster');
});

test('members that start while the others are connected need not wait for a whole election time-out', () => {
  const slow = new Group(3, { electionMs: 5000 });
  const quick = new Group(3, { electionMs: 5000, electionTickAdvance: true });
  for (const group of [slow, quick]) group.pass(1000);
  assert.throws(() => slow.leader, /nobody leads/);
  assert.ok(quick.leader.node.isLeader);
});

test('the wait is not shortened where fewer than two others are connected, or somebody leads', () => {
  const group = new Group(3, { electionMs: 5000, electionTickAdvance: true });
  group.activeSince.set(group.members[0]?.id as string, null);
  group.activeSince.set(group.members[1]?.id as string, null);
  group.pass(1000);
  assert.throws(() => group.leader, /nobody leads/);
  group.pass(9000);
  const { leader } = group;
  const { term } = leader.node;
  group.activeSince.clear();
  const away = group.follower();
  group.crash(away);
  group.restart(away);
  group.pass(6000);
  assert.equal(group.leader, leader);
  assert.equal(leader.node.term, term);
});
