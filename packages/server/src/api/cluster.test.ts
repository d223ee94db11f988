import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import {
  ConfState,
  MemberAddRequest,
  MemberAddResponse,
  MemberListRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberRemoveRequest,
  MemberUpdateRequest,
} from '@etsd/proto';
import { MemberRecord } from '@etsd/state';
import { registerCluster } from './cluster.ts';
import { MEMBER_ID, TestMember } from './member.fixture.ts';
import { Promotion, PromotionFigures } from './promotion.ts';
import { Reconfiguration } from './reconfiguration.ts';

const path = (method: string) => `/etcdserverpb.Cluster/${method}`;

/** A cluster of one started member whose membership changes are applied as soon as they are proposed. */
function setUp(): TestMember {
  const member = new TestMember();
  member.state.members.add(
    new MemberRecord(MEMBER_ID, ['http://127.0.0.1:2380'], false, 'one', ['http://127.0.0.1:2379']),
  );
  const { context } = member;
  const rules = new Reconfiguration({
    members: member.state.members,
    memberId: MEMBER_ID,
    activeSince: () => null,
    nowMs: () => member.world.now,
    isStrict: true,
  });
  const request = () => assert.fail('nobody is to be asked');
  registerCluster({
    context,
    rules,
    promotion: new Promotion({ context, rules, request, figures: new PromotionFigures() }),
  });
  return member;
}

function ask(member: TestMember, method: string, request: Buffer): Buffer | string {
  const call = member.call(path(method), request);
  for (const { change, waiter } of member.log.changes.splice(0)) {
    member.state.applyConfChange(++member.log.index, 2, change, () => new ConfState(), waiter);
  }
  if (call.status === null) throw new Error('not answered');
  return call.status.code === 0 ? Buffer.concat(call.messages) : `${call.status.code} ${call.status.message}`;
}

const add = (peerURLs: string[], isLearner = false) =>
  MemberAddRequest.encode(MemberAddRequest.create({ peerURLs, isLearner }));
const remove = (id: string) => MemberRemoveRequest.encode(MemberRemoveRequest.create({ ID: id }));
const update = (id: string, peerURLs: string[]) =>
  MemberUpdateRequest.encode(MemberUpdateRequest.create({ ID: id, peerURLs }));
const promote = (id: string) => MemberPromoteRequest.encode(MemberPromoteRequest.create({ ID: id }));

const BAD = '3 etcdserver: given member URLs are invalid';
const MISSING = '5 etcdserver: member not found';
const ROWS: [name: string, method: string, request: Buffer, answer: string][] = [
  ['no URL', 'MemberAdd', add([]), BAD],
  ['no scheme', 'MemberAdd', add(['foo']), BAD],
  ['no port', 'MemberAdd', add(['http://h']), BAD],
  ['a path', 'MemberAdd', add(['http://h:1/path']), BAD],
  ['a slash', 'MemberAdd', add(['http://h:1/']), BAD],
  ['another scheme', 'MemberAdd', add(['ftp://h:1']), BAD],
  ['one bad among good ones', 'MemberAdd', add(['http://h:1', 'x']), BAD],
  ['taken', 'MemberAdd', add(['http://127.0.0.1:2380']), '9 etcdserver: Peer URLs already exists'],
  ['nobody to remove', 'MemberRemove', remove(u64FromNumber(99)), MISSING],
  [
    'the last one',
    'MemberRemove',
    remove(MEMBER_ID),
    '2 etcdserver: re-configuration failed due to not enough started members',
  ],
  ['nobody to update', 'MemberUpdate', update(u64FromNumber(99), ['http://h:1']), MISSING],
  ['update to nothing', 'MemberUpdate', update(MEMBER_ID, []), BAD],
  ['nobody to promote', 'MemberPromote', promote(u64FromNumber(99)), MISSING],
  ['a voter', 'MemberPromote', promote(MEMBER_ID), '9 etcdserver: can only promote a learner member'],
];
for (const [name, method, request, answer] of ROWS) {
  test(`${method}: ${name}`, () => {
    const member = setUp();
    assert.equal(ask(member, method, request), answer);
    assert.equal(member.state.members.size, 1);
  });
}

test('a learner is added, updated, not promoted before it has caught up, and removed for good', () => {
  const member = setUp();
  const answer = ask(member, 'MemberAdd', add(['http://h:2', 'http://h:1'], true));
  assert.ok(Buffer.isBuffer(answer), `${answer}`);
  const { header, member: added, members } = MemberAddResponse.decode(answer);
  assert.equal(header?.revision, 0, 'answers about members name no revision');
  assert.deepEqual([added?.isLearner, added?.name, added?.peerURLs], [true, '', ['http://h:1', 'http://h:2']]);
  assert.equal(members.length, 2);
  const id = added?.ID as string;
  assert.equal(
    ask(member, 'MemberAdd', add(['http://h:3'], true)),
    '9 etcdserver: too many learner members in cluster',
  );
  assert.ok(Buffer.isBuffer(ask(member, 'MemberUpdate', update(id, ['http://h:9']))));
  const listed = MemberListResponse.decode(
    ask(member, 'MemberList', MemberListRequest.encode(MemberListRequest.create({ linearizable: true }))) as Buffer,
  );
  const learner = listed.members.find((each) => each.ID === id);
  assert.deepEqual([learner?.peerURLs, learner?.isLearner], [['http://h:9'], true]);
  const notReady = '9 etcdserver: can only promote a learner member which is in sync with leader';
  assert.equal(ask(member, 'MemberPromote', promote(id)), notReady);
  assert.ok(Buffer.isBuffer(ask(member, 'MemberRemove', remove(id))));
  assert.equal(ask(member, 'MemberRemove', remove(id)), MISSING);
});

test('a second voter may come to a started one, a third only once two have started', () => {
  const member = setUp();
  assert.ok(Buffer.isBuffer(ask(member, 'MemberAdd', add(['http://h:2']))));
  const refused = '2 etcdserver: re-configuration failed due to not enough started members';
  assert.equal(ask(member, 'MemberAdd', add(['http://h:3'])), refused);
  assert.equal(ask(member, 'MemberRemove', remove(MEMBER_ID)), refused, 'who stays has not started');
});
