/**
 * Goal: every configuration that changes lead to is one the paper and thesis allow. Method: single cases, and random
 * chains of changes for which each step, made at once or through a joint configuration, must come to the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  Entry,
  EntryType,
} from '@etsd/proto';
import { ConfChangeError, changedMembership, confChangeOf } from './conf-change.ts';
import { Membership } from './raft.ts';
import { idOf, numberOf } from './testing/member.ts';

const ADD = ConfChangeType.ConfChangeAddNode;
const REMOVE = ConfChangeType.ConfChangeRemoveNode;
const LEARNER = ConfChangeType.ConfChangeAddLearnerNode;

function changeOf(singles: [number, number][], transition = 0): ConfChangeV2 {
  const change = new ConfChangeV2();
  change.transition = transition;
  for (const [type, number] of singles) change.changes.push(ConfChangeSingle.create({ type, nodeId: idOf(number) }));
  return change;
}

const EXPLICIT = ConfChangeTransition.ConfChangeTransitionJointExplicit;
const LEAVE = changeOf([]);

function membershipOf(...voters: number[]): Membership {
  const membership = new Membership();
  membership.voters = voters.map(idOf);
  return membership;
}

function shape({ voters, outgoing, learners, learnersNext }: Membership): number[][] {
  return [voters, outgoing, learners, learnersNext].map((ids) => ids.map(numberOf));
}

test('one member at a time', () => {
  const three = membershipOf(1, 2, 3);
  assert.deepEqual(shape(changedMembership(three, changeOf([[ADD, 4]]))), [[1, 2, 3, 4], [], [], []]);
  assert.deepEqual(shape(changedMembership(three, changeOf([[REMOVE, 2]]))), [[1, 3], [], [], []]);
  assert.deepEqual(shape(changedMembership(three, changeOf([[LEARNER, 4]]))), [[1, 2, 3], [], [4], []]);
  assert.deepEqual(shape(changedMembership(three, changeOf([[LEARNER, 3]]))), [[1, 2], [], [3], []]);
  assert.deepEqual(shape(three), [[1, 2, 3], [], [], []], 'the old configuration stays as it was');
});

test('a learner becomes a voter, and is a learner no more', () => {
  const withLearner = changedMembership(membershipOf(1), changeOf([[LEARNER, 2]]));
  assert.deepEqual(shape(changedMembership(withLearner, changeOf([[ADD, 2]]))), [[1, 2], [], [], []]);
});

test('several at once go through a joint configuration', () => {
  const joint = changedMembership(
    membershipOf(1, 2, 3),
    changeOf([
      [REMOVE, 3],
      [ADD, 4],
      [ADD, 5],
    ]),
  );
  assert.deepEqual(shape(joint), [[1, 2, 4, 5], [1, 2, 3], [], []]);
  assert.equal(joint.autoLeave, true);
  assert.deepEqual(shape(changedMembership(joint, LEAVE)), [[1, 2, 4, 5], [], [], []]);
});

test('a voter that becomes a learner votes in the old half until that is left', () => {
  const joint = changedMembership(membershipOf(1, 2), changeOf([[LEARNER, 2]], EXPLICIT));
  assert.deepEqual(shape(joint), [[1], [1, 2], [], [2]]);
  assert.equal(joint.autoLeave, false);
  assert.deepEqual(shape(changedMembership(joint, LEAVE)), [[1], [], [2], []]);
});

test('what must not be is refused', () => {
  const joint = changedMembership(membershipOf(1, 2), changeOf([[ADD, 3]], EXPLICIT));
  const refused: [Membership, ConfChangeV2][] = [
    [membershipOf(1), changeOf([[REMOVE, 1]])],
    [membershipOf(1), LEAVE],
    [joint, changeOf([[ADD, 4]])],
    [
      new Membership(),
      changeOf([
        [ADD, 1],
        [ADD, 2],
      ]),
    ],
    [membershipOf(1), changeOf([[99, 2]])],
  ];
  for (const [membership, change] of refused) {
    assert.throws(() => changedMembership(membership, change), ConfChangeError);
  }
});

test('a change of nobody (a refused one) and an update leave all as it is', () => {
  const three = membershipOf(1, 2, 3);
  const update = changeOf([[ConfChangeType.ConfChangeUpdateNode, 2]]);
  assert.deepEqual(shape(changedMembership(three, update)), shape(three));
  assert.deepEqual(shape(changedMembership(three, changeOf([[ADD, 0]]))), shape(three));
});

test('both forms of an entry are read', () => {
  const narrow = ConfChange.encode(ConfChange.create({ type: REMOVE, nodeId: idOf(7) }));
  const fromNarrow = confChangeOf(Entry.create({ type: EntryType.EntryConfChange, data: narrow }));
  assert.deepEqual(
    fromNarrow.changes.map(({ type, nodeId }) => [type, numberOf(nodeId)]),
    [[REMOVE, 7]],
  );
  const wide = ConfChangeV2.encode(
    changeOf([
      [ADD, 1],
      [ADD, 2],
    ]),
  );
  const fromWide = confChangeOf(Entry.create({ type: EntryType.EntryConfChangeV2, data: wide }));
  assert.equal(fromWide.changes.length, 2);
});

test('at once or through a joint configuration: the same members in the end (seed 11)', () => {
  const random = new Prng(11);
  let made = 0;
  for (let round = 0; round < 3000; round++) {
    let membership = membershipOf(1, 2, 3);
    for (let step = 0; step < 5; step++) {
      const single: [number, number] = [random.pick([ADD, REMOVE, LEARNER]), random.between(1, 6)];
      let direct: Membership;
      try {
        direct = changedMembership(membership, changeOf([single]));
      } catch (error) {
        assert.ok(error instanceof ConfChangeError);
        assert.throws(() => changedMembership(membership, changeOf([single], EXPLICIT)), ConfChangeError);
        continue;
      }
      const joint = changedMembership(membership, changeOf([single], EXPLICIT));
      assert.deepEqual(shape(changedMembership(joint, LEAVE)), shape(direct));
      const everybody = [...direct.voters, ...direct.learners];
      assert.equal(new Set(everybody).size, everybody.length, 'nobody is a voter and a learner');
      membership = direct;
      made++;
    }
  }
  assert.ok(made > 5000);
});
