/** Promoting a learner: judged by the leader, asked of it by anybody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64FromNumber } from '@etsd/base';
import { ConfState, ErrLearnerNotReady, ErrMemberNotFound, ErrMemberNotLearner, type EtcdError } from '@etsd/proto';
import { MemberRecord, membersToJson } from '@etsd/state';
import { MEMBER_ID, TestMember } from './member.fixture.ts';
import { type PeerRequest, Promotion, PromotionFigures, promotionFailure } from './promotion.ts';
import { ErrMemberNotEnoughStarted, Reconfiguration } from './reconfiguration.ts';

const LEARNER = u64FromNumber(7);
const OTHER = u64FromNumber(9);

function setUp(request: PeerRequest = () => assert.fail('nobody is to be asked')) {
  const member = new TestMember();
  const { members } = member.state;
  members.add(new MemberRecord(MEMBER_ID, ['http://a:1'], false, 'a'));
  members.add(new MemberRecord(LEARNER, ['http://l:1'], true, 'l'));
  const rules = new Reconfiguration({
    members,
    memberId: MEMBER_ID,
    activeSince: () => null,
    nowMs: () => member.world.now,
    isStrict: true,
  });
  const promotion = new Promotion({ context: member.context, rules, request, figures: new PromotionFigures() });
  const outcomes: string[] = [];
  const waiter = {
    done: (list: readonly MemberRecord[]) => outcomes.push(list.map((each) => `${each.isLearner}`).join()),
    fail: (error: EtcdError) => outcomes.push(error.message),
  };
  const apply = () => {
    for (const { change, waiter } of member.log.changes.splice(0))
      member.state.applyConfChange(++member.log.index, 2, change, () => new ConfState(), waiter);
  };
  return { member, promotion, outcomes, waiter, apply };
}

test('the leader promotes one that has nine tenths of the log', () => {
  const { member, promotion, outcomes, waiter, apply } = setUp();
  for (const share of [null, 0, 0.89]) {
    member.log.share = share;
    promotion.promote(LEARNER, waiter);
  }
  const notReady = 'etcdserver: can only promote a learner member which is in sync with leader';
  assert.deepEqual(outcomes.splice(0), [notReady, notReady, notReady]);
  member.log.share = 0.9;
  promotion.promote(LEARNER, waiter);
  apply();
  assert.deepEqual(outcomes.splice(0), ['false,false']);
  promotion.promote(LEARNER, waiter);
  promotion.promote(u64FromNumber(99), waiter);
  assert.deepEqual(outcomes, [ErrMemberNotLearner.message, ErrMemberNotFound.message]);
});

test('another member asks the leader, again while that one gives no final answer', () => {
  const asked: string[] = [];
  const answers: [Error | null, number, string][] = [
    [new Error('connection refused'), 0, ''],
    [null, 500, '{"message":"Internal Server Error"}'],
    [null, 200, `${membersToJson([new MemberRecord(LEARNER, ['http://l:1'])])}\n`],
  ];
  const { member, promotion, outcomes, waiter } = setUp((to, method, path, _body, _type, _ms, done) => {
    asked.push(`${to} ${method} ${path}`);
    const [error, status, body] = answers.splice(0, 1)[0] as [Error | null, number, string];
    done(error, status, Buffer.from(body));
  });
  member.log.leader = OTHER;
  promotion.promote(LEARNER, waiter);
  member.world.advance(1000);
  assert.deepEqual(outcomes, ['false']);
  assert.deepEqual(asked, Array(3).fill(`${OTHER} POST /members/promote/7`));
});

test('without a leader the request ends with its time', () => {
  const { member, promotion, outcomes, waiter } = setUp();
  member.log.leader = u64FromNumber(0);
  promotion.promote(LEARNER, waiter);
  member.world.advance(6500);
  assert.deepEqual(outcomes, []);
  member.world.advance(600);
  assert.deepEqual(outcomes, ['etcdserver: no leader']);
});

test('a failure is the same after its way over HTTP', () => {
  for (const error of [ErrMemberNotFound, ErrMemberNotLearner, ErrLearnerNotReady, ErrMemberNotEnoughStarted]) {
    const { status, text } = promotionFailure(error);
    const { member, promotion, outcomes, waiter } = setUp((_to, _method, _path, _body, _type, _ms, done) =>
      done(null, status, Buffer.from(`${text}\n`)),
    );
    member.log.leader = OTHER;
    promotion.promote(LEARNER, waiter);
    assert.deepEqual(outcomes, [error.message]);
  }
});
