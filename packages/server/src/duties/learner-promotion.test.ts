import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogFields, type Logger, type U64, u64FromNumber } from '@etsd/base';
import { ErrMemberNotEnoughStarted } from '@etsd/proto';
import { MemberRecord } from '@etsd/state';
import { FakeWorld } from '../api/surroundings.fixture.ts';
import { LearnerPromotion } from './learner-promotion.ts';

const LEARNER = u64FromNumber(7);

function setUp() {
  const world = new FakeWorld();
  const learner = new MemberRecord(LEARNER, ['http://l:1'], true, 'l');
  const voter = new MemberRecord(u64FromNumber(1), ['http://a:1'], false, 'a');
  const facts = { isLeader: true, share: 1, since: 0 as number | null, refuses: false };
  const promoted: U64[] = [];
  const lines: string[] = [];
  const logger: Logger = {
    enabled: () => true,
    log: (_level, message, _fields?: LogFields) => void lines.push(message),
  };
  const duty = new LearnerPromotion({
    every: world.timers.every,
    replication: {
      get isLeader() {
        return facts.isLeader;
      },
      matchShare: () => facts.share,
    },
    members: { list: () => [voter, learner] },
    activeSince: () => facts.since,
    promotion: {
      promoteHere(id, waiter) {
        if (facts.refuses) return waiter.fail(ErrMemberNotEnoughStarted);
        promoted.push(id);
        learner.isLearner = false;
        waiter.done([voter, learner]);
      },
    },
    logger,
  });
  return { world, learner, facts, promoted, lines, duty };
}

test('a learner that stays caught up is promoted, once', () => {
  const { world, promoted, lines, duty } = setUp();
  world.advance(2500);
  assert.deepEqual(promoted, []);
  world.advance(1000);
  assert.deepEqual(promoted, [LEARNER]);
  world.advance(10_000);
  assert.deepEqual([promoted, lines], [[LEARNER], ['promoted a learner that has caught up']]);
  duty.stop();
  assert.equal(world.timerCount, 0);
});

const NOT_READY: [why: string, edit: (set: ReturnType<typeof setUp>) => void][] = [
  ['this member does not lead', ({ facts }) => (facts.isLeader = false)],
  ['it lags', ({ facts }) => (facts.share = 0.98)],
  ['it is not connected', ({ facts }) => (facts.since = null)],
  ['it has not started', ({ learner }) => (learner.name = '')],
];
for (const [why, edit] of NOT_READY) {
  test(`nobody is promoted while ${why}`, () => {
    const set = setUp();
    edit(set);
    set.world.advance(20_000);
    assert.deepEqual(set.promoted, []);
  });
}

test('one that falls back begins to wait anew', () => {
  const { world, facts, promoted } = setUp();
  world.advance(2500);
  facts.share = 0.5;
  world.advance(1000);
  facts.share = 1;
  world.advance(2000);
  assert.deepEqual(promoted, []);
  world.advance(1000);
  assert.deepEqual(promoted, [LEARNER]);
});

test('a refusal is said once and tried again', () => {
  const { world, facts, promoted, lines } = setUp();
  facts.refuses = true;
  world.advance(20_000);
  assert.deepEqual(lines, ['could not promote a learner']);
  facts.refuses = false;
  world.advance(5000);
  assert.deepEqual(promoted, [LEARNER]);
});
