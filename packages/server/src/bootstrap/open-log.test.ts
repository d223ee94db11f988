/** The log a member starts from, on a simulated disk: its own whatever the flags say, or the first one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Store } from '@etsd/mvcc';
import { clusterIdOf, foundingMemberId } from '@etsd/replication';
import { Lessor, MemberRecord, State } from '@etsd/state';
import { Neighbourhood } from './neighbours.fixture.ts';
import { openLog, type StartingLog } from './open-log.ts';
import { MemberRemovedError } from './removed.ts';

const ID_A = foundingMemberId(['http://a:1'], 'etcd-cluster');
const ID_B = foundingMemberId(['http://b:1'], 'etcd-cluster');
const CLUSTER = clusterIdOf([ID_A, ID_B]);
const FLAGS = {
  name: 'a',
  'initial-advertise-peer-urls': 'http://a:1',
  'initial-cluster': 'a=http://a:1,b=http://b:1',
};
const EXISTING = { ...FLAGS, 'initial-cluster-state': 'existing' };

/** A machine that keeps its disk and its store over several starts. */
class Host {
  readonly around = new Neighbourhood();
  readonly state: State;

  constructor() {
    const backend = new MemoryBackend();
    const store = new Store(backend);
    store.open();
    this.state = new State({ backend, store, lessor: new Lessor({ store, backend, ttlMinSeconds: 2 }) });
  }

  async open(flags: Record<string, string>): Promise<StartingLog> {
    const parts = this.around.parts(flags);
    const { world, logger } = parts;
    const directory = {
      walDirectory: '/data/member/wal',
      snapDirectory: '/data/member/snap',
      memberDirectory: '/m',
      storePath: '/data/member/snap/store.mdb',
      lock: { release: () => Promise.resolve() },
      hasStore: true,
    };
    await this.around.outcome(world.disk.makeDirectory('/data/member'));
    const place = { world, directory: directory.walDirectory, logger };
    return await this.around.outcome(openLog({ ...parts, directory, state: this.state, place }));
  }

  /** Opens and ends again, as a process that is killed before it has done anything. */
  async touch(flags: Record<string, string>): Promise<StartingLog> {
    const opened = await this.open(flags);
    await this.around.outcome(opened.log.close());
    return opened;
  }
}

test('a foundation that was cut short is made up for, and not with other flags', async () => {
  const host = new Host();
  const first = await host.touch(FLAGS);
  assert.deepEqual([first.start.memberId, first.start.clusterId], [ID_A, CLUSTER]);
  await assert.rejects(host.open({ ...FLAGS, 'initial-cluster-token': 'other' }), /^OperatorError: the empty log in/);
  const again = await host.touch(FLAGS);
  assert.equal(again.start.bootstrap?.length, 2);
  const forced = await host.touch({ ...FLAGS, 'force-new-cluster': 'true' });
  assert.equal(forced.start.bootstrap?.length, 2, 'there is nobody yet to be rid of');
});

// Goal: a member that was ended between being told its id and hearing from the leader can still be reached.
test('one that joins knows the others, also after it was ended before it heard from them', async () => {
  const host = new Host();
  const others = [new MemberRecord(ID_B, ['http://b:1'], false, 'b', ['http://b:2'])];
  const own = new MemberRecord('00000000000000ad', ['http://a:1'], true);
  await host.around.member('b', 1, CLUSTER, [...others, own]);
  for (const _time of [1, 2]) {
    const opened = await host.touch(EXISTING);
    assert.deepEqual([opened.start.memberId, opened.start.clusterId], ['00000000000000ad', CLUSTER]);
    assert.equal(opened.start.bootstrap, null);
    assert.deepEqual(opened.remotes, others);
  }
});

test('a member that was removed does not start again, not even by force', async () => {
  const host = new Host();
  await host.touch(FLAGS);
  host.state.members.add(new MemberRecord(ID_B, ['http://b:1'], false, 'b'));
  host.state.members.remove(ID_A);
  for (const flags of [FLAGS, { ...FLAGS, 'force-new-cluster': 'true' }]) {
    await assert.rejects(host.open(flags), MemberRemovedError);
  }
});

test('the log of another member is not taken', async () => {
  const host = new Host();
  await host.touch(FLAGS);
  host.state.members.add(new MemberRecord(ID_B, ['http://b:1'], false, 'b'));
  await assert.rejects(host.open(FLAGS), /^OperatorError: the log in \/data\/member\/wal is that of member/);
});
