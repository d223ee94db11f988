/**
 * Goal: of a change of several members at once additions take effect when the joint configuration is entered and removals
 * when it is left, a contradictory change reaches raft as a change of nobody, and the configuration is stored each time.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type U64, u64FromNumber } from '@etsd/base';
import {
  ConfChangeV2,
  ConfState,
  ErrMemberExist,
  ErrMemberNotFound,
  ErrPeerURLExist,
  type EtcdError,
} from '@etsd/proto';
import { State } from './apply.ts';
import { addMemberChange, removeMemberChange } from './conf-change.ts';
import { MemberRecord } from './members.ts';
import { wideChangeOf } from './wide-change.ts';
import { Bench, Probe } from './world.fixture.ts';

const id = (n: number): U64 => u64FromNumber(n);
const member = (n: number, url = `http://h:${n}`): MemberRecord => new MemberRecord(id(n), [url]);

class Cluster {
  readonly bench = new Bench();
  /** What raft answers, and what it was given. */
  conf = ConfState.create({ voters: [id(1), id(2)] });
  readonly given: (ConfChangeV2 | null)[] = [];

  constructor() {
    for (const n of [1, 2]) {
      this.bench.state.applyConfChange(++this.bench.index, 1, addMemberChange(member(n)), () => this.conf, null);
    }
  }

  apply(change: ConfChangeV2): EtcdError | null {
    const probe = new Probe();
    const toRaft = (given: ConfChangeV2 | null): ConfState => {
      this.given.push(given);
      return this.conf;
    };
    // What is in the log has been bytes.
    this.bench.state.applyWideChange(
      ++this.bench.index,
      1,
      ConfChangeV2.decode(ConfChangeV2.encode(change)),
      toRaft,
      probe,
    );
    return probe.error;
  }

  get members(): U64[] {
    return this.bench.state.members.list().map((each) => each.id);
  }
}

test('who comes is a member at once, who goes until the joint configuration is left', () => {
  const cluster = new Cluster();
  cluster.conf = ConfState.create({ voters: [id(1), id(3)], votersOutgoing: [id(1), id(2)], autoLeave: true });
  assert.equal(cluster.apply(wideChangeOf(id(9), [addMemberChange(member(3)), removeMemberChange(id(2))])), null);
  assert.deepEqual(cluster.members, [id(1), id(2), id(3)]);
  assert.deepEqual(cluster.bench.state.confState, cluster.conf);

  cluster.conf = ConfState.create({ voters: [id(1), id(3)] });
  assert.equal(cluster.apply(new ConfChangeV2()), null);
  assert.deepEqual(cluster.members, [id(1), id(3)]);
  assert.equal(cluster.bench.state.members.isRemoved(id(2)), true);
  const { backend, store, lessor } = cluster.bench;
  backend.commit();
  assert.deepEqual(new State({ backend, store, lessor }).confState, cluster.conf);
});

test('a change that fits nobody, or contradicts itself, is made by nobody', () => {
  const cluster = new Cluster();
  const refused: [EtcdError, ConfChangeV2][] = [
    [ErrMemberNotFound, wideChangeOf(id(9), [addMemberChange(member(3)), removeMemberChange(id(7))])],
    [ErrMemberExist, wideChangeOf(id(9), [addMemberChange(member(3)), addMemberChange(member(3, 'http://h:4'))])],
    [ErrPeerURLExist, wideChangeOf(id(9), [addMemberChange(member(3)), addMemberChange(member(4, 'http://h:3'))])],
  ];
  for (const [error, change] of refused) assert.equal(cluster.apply(change), error);
  const unreadable = wideChangeOf(id(9), [addMemberChange(member(3))]);
  unreadable.context = Buffer.from('{}');
  assert.notEqual(cluster.apply(unreadable), null);
  assert.deepEqual(cluster.given, [null, null, null, null]);
  assert.deepEqual(cluster.members, [id(1), id(2)]);
});
