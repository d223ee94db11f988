import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AlarmRequest,
  AlarmResponse,
  DeleteRangeRequest,
  EtcdError,
  GrpcCode,
  PutRequest,
  RangeRequest,
  StatusRequest,
  StatusResponse,
  TxnRequest,
} from '@etsd/proto';
import { registerMaintenance } from '../api/maintenance.ts';
import { MEMBER_ID, TestMember } from '../api/member.fixture.ts';

const key = Buffer.from('a');

// Goal: nothing of what differs is served, not even to who asks for stale data; operators see why, at this member alone.
test('a member in quarantine refuses data and answers operators', () => {
  const member = new TestMember().registerKv();
  registerMaintenance({ context: member.context, runner: member.runner });
  const put = PutRequest.encode(PutRequest.create({ key }));
  assert.ok(Buffer.isBuffer(member.ask('/etcdserverpb.KV/Put', put)));
  member.quarantine.refusal = new EtcdError(GrpcCode.Unavailable, 'in quarantine');
  member.quarantine.isAlarmed = true;
  const requests: [method: string, request: Buffer][] = [
    ['Put', put],
    ['Range', RangeRequest.encode(RangeRequest.create({ key }))],
    ['Range', RangeRequest.encode(RangeRequest.create({ key, serializable: true }))],
    ['DeleteRange', DeleteRangeRequest.encode(DeleteRangeRequest.create({ key }))],
    ['Txn', TxnRequest.encode(new TxnRequest())],
    ['Compact', Buffer.alloc(0)],
  ];
  for (const [method, request] of requests) {
    assert.equal(member.ask(`/etcdserverpb.KV/${method}`, request), '14 in quarantine', method);
  }
  const status = member.ask('/etcdserverpb.Maintenance/Status', StatusRequest.encode(new StatusRequest()));
  assert.ok(Buffer.isBuffer(status));
  assert.deepEqual(StatusResponse.decode(status.subarray()).errors, ['memberID:170 alarm:CORRUPT ']);
  const alarms = member.ask('/etcdserverpb.Maintenance/Alarm', AlarmRequest.encode(new AlarmRequest()));
  assert.ok(Buffer.isBuffer(alarms));
  assert.deepEqual(
    AlarmResponse.decode(alarms).alarms.map(({ memberID }) => memberID),
    [MEMBER_ID],
  );
  assert.equal(member.state.alarms.corrupt, false, 'it stops nobody else');
});
