import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '@etsd/base';
import { ErrTimeout, V2Request } from '@etsd/proto';
import type { ReplicationNode } from '@etsd/replication';
import { MemberRecord } from '@etsd/state';
import { FakeReplication, FakeWorld } from './api/surroundings.fixture.ts';
import { publishMember } from './publish.ts';

function setUp(record: MemberRecord | undefined) {
  const world = new FakeWorld();
  const replication = Object.assign(new FakeReplication(), { clusterId: '00000000000000cc' });
  const facts = { record, isStopped: false, isDone: false };
  const parts = {
    replication: replication as unknown as ReplicationNode,
    logger: silentLogger,
    after: world.timers.after,
    isStopped: () => facts.isStopped,
    members: { get: () => facts.record },
  };
  const work = publishMember(parts, 'a', ['http://a:2']).then(() => {
    facts.isDone = true;
  });
  /** Lets simulated time pass, then promises go on. */
  const pass = async (ms: number): Promise<boolean> => {
    world.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
    return facts.isDone;
  };
  return { replication, facts, work, pass };
}

const KNOWN = new MemberRecord('00000000000000aa', ['http://a:1'], false, 'a', ['http://a:2']);

test('a member announces itself in etcd’s words, again after a failure', async () => {
  const { replication, pass } = setUp(undefined);
  const [first] = replication.proposals;
  const { method, path, val } = V2Request.decode(first?.data as Buffer);
  assert.deepEqual(
    [method, path, val],
    ['PUT', '/0/members/aa/attributes', '{"name":"a","clientURLs":["http://a:2"]}'],
  );
  first?.waiter.fail(ErrTimeout);
  assert.equal(await pass(600), false);
  assert.equal(replication.proposals.length, 2);
  replication.proposals[1]?.waiter.done(null);
  assert.equal(await pass(0), true);
});

// Goal: a member that joins while the log is cut serves at once, instead of after the time-out of a lost answer.
test('an announcement that comes back inside a snapshot has arrived', async () => {
  const { facts, pass } = setUp(undefined);
  assert.equal(await pass(2000), false);
  facts.record = KNOWN;
  assert.equal(await pass(600), true);
});

test('one that was known before is made again all the same; a member that stops does not wait for it', async () => {
  const { replication, facts, pass } = setUp(KNOWN);
  assert.equal(await pass(5000), false);
  facts.isStopped = true;
  replication.proposals[0]?.waiter.fail(ErrTimeout);
  assert.equal(await pass(600), true);
});
