import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import {
  AlarmRequest,
  AlarmResponse,
  ClusterVersionSetRequest,
  DefragmentRequest,
  DowngradeRequest,
  DowngradeResponse,
  HashKVRequest,
  HashKVResponse,
  HashRequest,
  HashResponse,
  HealthCheckRequest,
  HealthCheckResponse,
  MoveLeaderRequest,
  RaftRequestField,
  ServingStatus,
  StatusRequest,
  StatusResponse,
  writeRaftRequest,
} from '@etsd/proto';
import { digest, MemberRecord } from '@etsd/state';
import { registerHealth } from './health.ts';
import { registerMaintenance } from './maintenance.ts';
import { MEMBER_ID, TestMember } from './member.fixture.ts';

const path = (method: string) => `/etcdserverpb.Maintenance/${method}`;

function setUp(): TestMember {
  const member = new TestMember();
  registerMaintenance({ context: member.context, runner: member.runner });
  member.state.members.add(new MemberRecord(MEMBER_ID, ['http://h:1'], false, 'one'));
  const body = ClusterVersionSetRequest.encode(ClusterVersionSetRequest.create({ ver: '3.5.0' }));
  const entry = writeRaftRequest(RaftRequestField.ClusterVersionSet, body, 0, body.length, 0, 1, '', 0);
  member.log.propose(entry, { done: () => {}, fail: (error) => assert.fail(error) });
  return member;
}

const downgrade = (action: number, version = '') =>
  DowngradeRequest.encode(DowngradeRequest.create({ action, version }));
const alarm = (action: number, type: number, id = 5) =>
  AlarmRequest.encode(AlarmRequest.create({ action, alarm: type, memberID: u64FromNumber(id) }));

// Goal: the answers of etcd 3.5.30; on the two unknown alarms its members stop, ours refuse.
const ROWS: [name: string, method: string, request: Buffer, answer: string][] = [
  ['no version', 'Downgrade', downgrade(0), '3 etcdserver: wrong downgrade target version format'],
  ['no version', 'Downgrade', downgrade(0, 'x'), '3 etcdserver: wrong downgrade target version format'],
  ['a v', 'Downgrade', downgrade(0, 'v3.4'), '3 etcdserver: wrong downgrade target version format'],
  ['major only', 'Downgrade', downgrade(0, '3'), '3 etcdserver: wrong downgrade target version format'],
  ['too far', 'Downgrade', downgrade(1, '3.3'), '3 etcdserver: invalid downgrade target version'],
  ['the same', 'Downgrade', downgrade(0, '3.5'), '3 etcdserver: invalid downgrade target version'],
  ['nothing to cancel', 'Downgrade', downgrade(2), '9 etcdserver: no inflight downgrade job'],
  ['unknown action', 'Downgrade', downgrade(7, '3.4'), '2 etcdserver: unknown method'],
  ['unknown action', 'Alarm', alarm(9, 1), '2 etcdserver: unknown method'],
  ['unknown type', 'Alarm', alarm(1, 5), '2 etcdserver: unknown method'],
  ['nobody', 'MoveLeader', MoveLeaderRequest.encode(new MoveLeaderRequest()), '9 etcdserver: bad leader transferee'],
];
for (const [name, method, request, answer] of ROWS) {
  test(`${method}: ${name}`, () => assert.equal(setUp().ask(path(method), request), answer));
}

test('Downgrade: validated, enabled once, cancelled', () => {
  const member = setUp();
  const ask = (request: Buffer) => {
    const answer = member.ask(path('Downgrade'), request);
    return Buffer.isBuffer(answer) ? DowngradeResponse.decode(answer).version : answer;
  };
  for (const target of ['3.4', '3.4.0', '3.4.0-rc']) assert.equal(ask(downgrade(0, target)), '3.5.0');
  assert.equal(ask(downgrade(1, '3.4')), '3.5.0');
  assert.equal(member.state.version.downgradeTarget, '3.4.0');
  assert.equal(ask(downgrade(1, '3.4')), '9 etcdserver: cluster has a downgrade job in progress');
  assert.equal(ask(downgrade(2)), '3.5.0');
  assert.equal(member.state.version.downgradeEnabled, false);
});

test('Status shows the member, the log and the alarms', () => {
  const member = setUp();
  member.fileBytes = 4096;
  member.log.commitIndex = 9;
  member.ask(path('Alarm'), alarm(1, 1));
  member.log.leader = '0000000000000000';
  const answer = member.ask(path('Status'), StatusRequest.encode(new StatusRequest())) as Buffer;
  const status = StatusResponse.decode(answer);
  assert.equal(status.version, '3.5.30');
  assert.deepEqual([status.dbSize, status.raftIndex, status.raftTerm, status.isLearner], [4096, 9, 2, false]);
  assert.deepEqual(status.errors, ['etcdserver: no leader', 'memberID:5 alarm:NOSPACE ']);
});

test('Alarm is answered after it stands', () => {
  const member = setUp();
  const answer = AlarmResponse.decode(member.ask(path('Alarm'), alarm(1, 1)) as Buffer);
  assert.equal(answer.alarms[0]?.memberID, u64FromNumber(5));
  assert.equal(answer.header?.revision, 1);
});

test('hashes are made in slices and end with those of one go', () => {
  const member = setUp();
  for (let at = 0; at < 20; at++) member.put(`k${at}`, Buffer.alloc(300_000, at));
  const call = member.call(path('Hash'), HashRequest.encode(new HashRequest()));
  assert.ok(call.isOpen, 'not in one go');
  member.world.endTurns();
  const hash = HashResponse.decode(Buffer.concat(call.messages)).hash;
  assert.equal(hash, digest(member.backend));
  const hashKv = (revision: number) => {
    const answer = member.ask(path('HashKV'), HashKVRequest.encode(HashKVRequest.create({ revision })));
    return Buffer.isBuffer(answer) ? HashKVResponse.decode(answer) : answer;
  };
  const now = hashKv(0) as HashKVResponse;
  assert.equal(now.compactRevision, -1);
  assert.equal((hashKv(21) as HashKVResponse).hash, now.hash);
  assert.notEqual((hashKv(20) as HashKVResponse).hash, now.hash);
  assert.equal(hashKv(99), '11 etcdserver: mvcc: required revision is a future revision');
});

test('a hash nobody waits for any more is finished, for it holds a snapshot', () => {
  const member = setUp();
  for (let at = 0; at < 20; at++) member.put(`k${at}`, Buffer.alloc(300_000, at));
  const call = member.call(path('HashKV'), HashKVRequest.encode(new HashKVRequest()));
  call.hangUp();
  member.world.endTurns();
  assert.equal(member.runner.length, 0);
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY);
});

test('one defragmentation serves everybody who asks meanwhile', async () => {
  const member = setUp();
  const request = DefragmentRequest.encode(new DefragmentRequest());
  const calls = [member.call(path('Defragment'), request), member.call(path('Defragment'), request)];
  await Promise.resolve();
  await Promise.resolve();
  for (const call of calls) {
    assert.equal(call.status?.code, 0);
    assert.equal(Buffer.concat(call.messages).length, 0, 'the answer has no header');
  }
  assert.equal(member.defragmentations, 1);
});

test('MoveLeader: to oneself at once, to another when it leads, never to a learner', () => {
  const member = setUp();
  const move = (id: string) =>
    member.call(path('MoveLeader'), MoveLeaderRequest.encode(MoveLeaderRequest.create({ targetID: id })));
  assert.equal(move(MEMBER_ID).status?.code, 0);
  const [two, three] = [u64FromNumber(2), u64FromNumber(3)];
  member.state.members.add(new MemberRecord(two, ['http://h:2'], true));
  member.state.members.add(new MemberRecord(three, ['http://h:3']));
  assert.equal(move(two).status?.message, 'etcdserver: bad leader transferee');
  assert.equal(move(three).status?.code, 0);
  assert.equal(move(MEMBER_ID).status?.message, 'etcdserver: not leader');
});

test('Health: the member serves, other names are unknown, watchers hear of changes', () => {
  const member = new TestMember({ limits: { maxHealthWatchers: 1 } });
  const health = registerHealth(member.context);
  const request = (service: string) => HealthCheckRequest.encode(HealthCheckRequest.create({ service }));
  const check = '/grpc.health.v1.Health/Check';
  assert.equal(HealthCheckResponse.decode(member.ask(check, request('')) as Buffer).status, ServingStatus.SERVING);
  assert.equal(member.ask(check, request('x')), '5 unknown service');
  const watch = member.call('/grpc.health.v1.Health/Watch', request(''));
  assert.equal(member.call('/grpc.health.v1.Health/Watch', request('')).status?.code, 8, 'watchers are bounded');
  health.set(true);
  health.set(false);
  const told = watch.messages.map((message) => HealthCheckResponse.decode(message).status);
  assert.deepEqual(told, [ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
  watch.hangUp();
  assert.equal(member.call('/grpc.health.v1.Health/Watch', request('')).status, null, 'the place is free again');
});
