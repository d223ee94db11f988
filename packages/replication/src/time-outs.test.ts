/** Why a request has no answer: the words etcd uses, in the situations in which it uses them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfChange, ConfChangeType, MessageType } from '@etsd/proto';
import { RecordingWaiter } from './testing/fakes.ts';
import { Group } from './testing/group.ts';

function started(): Group {
  const group = new Group(3);
  group.settle();
  group.pass(2500);
  return group;
}

test('what was forwarded to a leader that failed: its failure is named', () => {
  const group = started();
  const follower = group.follower();
  group.crash(group.leader);
  const write = follower.propose('lost');
  group.pass(6900);
  assert.equal(write.outcome, 'waiting');
  group.pass(300);
  assert.equal(write.outcome, 'etcdserver: request timed out, possibly due to previous leader failure');
});

test('what nobody ever took: the deadline of the request', () => {
  const group = started();
  const lonely = group.follower();
  for (const member of group.members) if (member !== lonely) group.crash(member);
  group.pass(2500);
  const change = new RecordingWaiter();
  const write = lonely.propose('nobody');
  lonely.node.proposeConfChange(
    ConfChange.create({ type: ConfChangeType.ConfChangeAddLearnerNode, nodeId: '00000000000000aa' }),
    change,
  );
  group.pass(6900);
  assert.deepEqual([write.outcome, change.outcome], ['waiting', 'waiting']);
  group.pass(300);
  assert.equal(write.outcome, 'context deadline exceeded');
  assert.equal(change.outcome, 'context deadline exceeded');
  assert.equal(lonely.node.pendingProposals, 0);
});

test('a leader, or a connection to it, that was lost meanwhile: the connection', () => {
  const group = new Group(3, { checkQuorum: false });
  group.settle();
  group.pass(2500);
  const { leader } = group;
  const follower = group.follower();
  for (const member of group.members) if (member !== leader) group.isolate(member);
  const atLeader = leader.propose('unheard');
  const atFollower = follower.propose('unsent');
  group.activeSince.set(leader.id, null);
  for (const member of group.members) if (member !== leader) group.activeSince.set(member.id, 3000);
  group.pass(1000);
  group.pass(6500);
  assert.equal(atLeader.outcome, 'etcdserver: request timed out, possibly due to connection lost');
  // The follower has heard of no leader for long: there is no connection to blame.
  assert.equal(atFollower.outcome, 'etcdserver: request timed out');
});

test('with everybody connected: no reason is known', () => {
  const group = new Group(3, { checkQuorum: false });
  group.settle();
  group.pass(2500);
  const { leader } = group;
  for (const member of group.members) if (member !== leader) member.hangs = true;
  const write = leader.propose('unkept');
  group.pass(7300);
  assert.equal(write.outcome, 'etcdserver: request timed out');
});

test('what a turn forwards travels in one message', () => {
  const group = started();
  const follower = group.follower();
  const before = group.sent.get(MessageType.MsgProp) ?? 0;
  const waiters = Array.from({ length: 50 }, (_, place) => follower.propose(`p${place}`));
  group.settle();
  assert.deepEqual(
    waiters.map((waiter) => waiter.outcome),
    waiters.map((_, place) => `p${place}`),
  );
  assert.equal(group.sent.get(MessageType.MsgProp), before + 1);
});
