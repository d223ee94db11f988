import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AlarmAction,
  AlarmRequest,
  AlarmType,
  DeleteRangeRequest,
  PutRequest,
  RaftRequestField,
  RangeRequest,
  RequestOp,
  TxnRequest,
  writeRaftRequest,
} from '@etsd/proto';
import { MEMBER_ID, TestMember } from './api/member.fixture.ts';

const KV = '/etcdserverpb.KV/';
const key = Buffer.from('a');
const NO_SPACE = '8 etcdserver: mvcc: database space exceeded';
const put = (member: TestMember, bytes = 0) =>
  member.ask(`${KV}Put`, PutRequest.encode(PutRequest.create({ key, value: Buffer.alloc(bytes) })));

// Goal: the cost rule and its place before all other checks, as in etcd: what is there + 256 + key + value must stay below.
test('a request that would reach the quota is refused and raises the alarm', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  member.fileBytes = 10_000 - 256 - 1 - 100;
  assert.ok(Buffer.isBuffer(put(member, 99)));
  assert.equal(put(member, 100), NO_SPACE);
  assert.deepEqual(
    member.state.alarms.list(AlarmType.NONE).map(({ memberID, alarm }) => [memberID, alarm]),
    [[MEMBER_ID, AlarmType.NOSPACE]],
  );
  assert.equal(put(member, 0), NO_SPACE, 'with the alarm up nothing that adds data is applied, though it would fit');
});

test('whoever meets a full store together is refused together, with one alarm in the log', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  member.fileBytes = 10_000;
  member.log.automatic = false;
  const request = PutRequest.encode(PutRequest.create({ key }));
  const calls = [1, 2, 3].map(() => member.call(`${KV}Put`, request));
  assert.equal(member.log.proposals.length, 1);
  member.log.applyAll();
  for (const call of calls) assert.equal(`${call.status?.code} ${call.status?.message}`, NO_SPACE);
});

// Goal: the operator is never locked out. Method: fill up, then everything that frees space, then write again.
test('reads and deletions go on, and once space is free and the alarm cleared, so do writes', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  member.put('a', 'x');
  member.fileBytes = 20_000;
  assert.equal(put(member), NO_SPACE);
  const range = RangeRequest.encode(RangeRequest.create({ key }));
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Range`, range)));
  const op = RequestOp.create({ requestPut: PutRequest.create({ key }) });
  const writing = TxnRequest.encode(TxnRequest.create({ success: [op] }));
  assert.equal(member.ask(`${KV}Txn`, writing), NO_SPACE);
  const removing = RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key }) });
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Txn`, TxnRequest.encode(TxnRequest.create({ success: [removing] })))));
  assert.ok(
    Buffer.isBuffer(member.ask(`${KV}DeleteRange`, DeleteRangeRequest.encode(DeleteRangeRequest.create({ key })))),
  );
  member.fileBytes = 500; // compacted and defragmented
  assert.equal(put(member), NO_SPACE, 'the alarm still stands');
  const disarm = { action: AlarmAction.DEACTIVATE, memberID: MEMBER_ID, alarm: AlarmType.NOSPACE };
  const body = AlarmRequest.encode(AlarmRequest.create(disarm));
  const entry = writeRaftRequest(RaftRequestField.Alarm, body, 0, body.length, 0, 1, '', 0);
  member.log.propose(entry, { done: () => {}, fail: (error) => assert.fail(error) });
  assert.ok(Buffer.isBuffer(put(member)));
});

// Goal: between two looks at the file the quota counts for itself, so that a burst can not run past it.
test('a burst is stopped at the quota, not at the next look at the file', () => {
  const member = new TestMember({ quotaBackendBytes: 100_000 }).registerKv();
  let admitted = 0;
  while (member.quota.admits(1000)) {
    admitted++;
    member.fileBytes += 1000;
    assert.ok(admitted < 1000);
  }
  assert.ok(admitted >= 98 && admitted <= 99, `${admitted}`);
  assert.equal(member.quota.admits(0), true, 'what adds nothing passes');
  member.fileBytes = 0;
  assert.equal(member.quota.admits(1000), true, 'freed space is seen at once');
});

// Goal: what was freed counts as free before the file is any smaller.
test('the quota counts what is in use, not the size of the file', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  member.fileBytes = 50_000;
  member.inUseBytes = 9000;
  assert.ok(Buffer.isBuffer(put(member)));
  member.inUseBytes = 10_000;
  for (let again = 0; again < 100 && Buffer.isBuffer(put(member)); again++);
  assert.equal(put(member), NO_SPACE);
});

test('while the alarm stands, a refused write leaves nothing in the log', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  member.fileBytes = 20_000;
  assert.equal(put(member), NO_SPACE);
  const { index } = member.log;
  for (let again = 0; again < 10; again++) assert.equal(put(member), NO_SPACE);
  assert.equal(member.log.index, index);
});

// Goal: who raised the alarm is known: the member, which may clear it, or an operator, who alone may.
test('an alarm of an operator is told from one that the member raised', () => {
  const member = new TestMember({ quotaBackendBytes: 10_000 }).registerKv();
  const { alarms } = member.state;
  const told: boolean[] = [];
  alarms.onOrdered = (_member, _type, isHeld) => told.push(isHeld);
  const order = (action: number): void => {
    const request = { action, memberID: MEMBER_ID, alarm: AlarmType.NOSPACE };
    const body = AlarmRequest.encode(AlarmRequest.create(request));
    const entry = writeRaftRequest(RaftRequestField.Alarm, body, 0, body.length, 0, 1, '', 0);
    member.log.propose(entry, { done: () => {}, fail: (error) => assert.fail(error) });
  };
  member.fileBytes = 20_000;
  assert.equal(put(member), NO_SPACE);
  assert.deepEqual([alarms.noSpace, alarms.isHeld(MEMBER_ID, AlarmType.NOSPACE)], [true, false]);
  order(AlarmAction.ACTIVATE);
  assert.equal(alarms.isHeld(MEMBER_ID, AlarmType.NOSPACE), true, 'from now on the operator wants it');
  order(AlarmAction.DEACTIVATE);
  assert.deepEqual([alarms.noSpace, alarms.isHeld(MEMBER_ID, AlarmType.NOSPACE)], [false, false]);
  assert.deepEqual(told, [true, false]);
  assert.equal(put(member), NO_SPACE);
  assert.equal(alarms.isHeld(MEMBER_ID, AlarmType.NOSPACE), false);
});

test('below zero there is no quota', () => {
  const member = new TestMember({ quotaBackendBytes: -1 }).registerKv();
  member.fileBytes = Number.MAX_SAFE_INTEGER;
  assert.ok(Buffer.isBuffer(put(member, 10)));
});
