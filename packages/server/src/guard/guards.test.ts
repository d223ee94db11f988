import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogFields, type Logger, type LogLevel, OperatorError } from '@etsd/base';
import { FakeCall, FakeWorld } from '../api/surroundings.fixture.ts';
import type { ApiHandler } from '../context.ts';
import { Caller, NOBODY } from '../tokens.ts';
import { Abuse } from './abuse.ts';
import { LOGIN_GUARD_LIMITS, LoginGuard } from './login-guard.ts';
import { parseRates, RateBuckets, type RateChoice, RateLimits } from './rates.ts';

class Lines implements Logger {
  readonly lines: LogFields[] = [];
  enabled(): boolean {
    return true;
  }
  log(_level: LogLevel, _message: string, fields?: LogFields): void {
    this.lines.push(fields ?? {});
  }
}

function setUp(): { world: FakeWorld; logger: Lines; abuse: Abuse } {
  const world = new FakeWorld();
  const logger = new Lines();
  return { world, logger, abuse: new Abuse(logger, world.clock) };
}

test('each kind of abuse is counted, and told at once and then now and then', () => {
  const { world, logger, abuse } = setUp();
  for (let count = 0; count < 100; count++) abuse.note('flood', '10.0.0.1:1');
  abuse.note('other', '10.0.0.2:1');
  assert.equal(logger.lines.length, 2);
  world.now += 5000;
  abuse.note('flood', '10.0.0.3:1');
  assert.deepEqual(logger.lines.at(-1), { kind: 'flood', peer: '10.0.0.3:1', unlogged: 99 });
  assert.deepEqual(
    [...abuse.totals()],
    [
      ['kind="flood"', 101],
      ['kind="other"', 1],
    ],
  );
});

test('a rate allows its burst at once and then so many a second', () => {
  const buckets = new RateBuckets(10, 5);
  const taken = (nowMs: number) => Array.from({ length: 20 }, () => buckets.take('ann', nowMs)).filter(Boolean).length;
  assert.deepEqual([taken(0), taken(0), taken(100), taken(300), taken(100_000)], [5, 0, 1, 2, 5]);
  assert.equal(buckets.take('bob', 0), true, 'each name has its own');
});

test('the flag of rates is read whole, or refused', () => {
  assert.equal(parseRates(''), null);
  assert.deepEqual(parseRates('user=5,address=20'), { perUser: 5, perAddress: 20, burst: 20 });
  for (const text of ['user', 'user=x', 'users=5', 'user=-1', 'user=5=6'])
    assert.throws(() => parseRates(text), OperatorError);
});

test('requests beyond the rate of their user or address are refused, leases are not', () => {
  const { world, abuse } = setUp();
  let caller = new Caller('ann', 1);
  const handler: ApiHandler = { kind: 'unary', message: (call) => call.end() };
  const parts = { clock: world.clock, abuse, access: { callerOf: () => caller } };
  const rates = new RateLimits(parseRates('user=2,address=5,burst=3') as RateChoice, parts);
  const ask = (path: string, peer: string) => {
    const call = new FakeCall(rates.guard(path, handler));
    call.peer = peer;
    call.receive(Buffer.alloc(0));
    return call.status?.code;
  };
  const put = '/etcdserverpb.KV/Put';
  assert.deepEqual(
    [1, 2, 3, 4].map((host) => ask(put, `10.0.0.${host}:1`)),
    [0, 0, 0, 8],
    'of the user',
  );
  assert.equal(ask('/etcdserverpb.Lease/LeaseRevoke', '10.0.0.4:1'), 0);
  caller = NOBODY;
  assert.deepEqual(
    [1, 2, 3, 4].map(() => ask(put, '10.0.0.9:1')),
    [0, 0, 0, 8],
    'of the address',
  );
  world.now += 1000;
  assert.equal(ask(put, '10.0.0.9:1'), 0);
  assert.deepEqual([...abuse.totals().keys()], ['kind="request_rate_user"', 'kind="request_rate_address"']);
});

const PEER = '10.0.0.1:5';

test('after some wrong passwords each further one doubles the wait', () => {
  const { world, abuse } = setUp();
  const guard = new LoginGuard(world.clock, abuse);
  const isHeard = () => guard.refusal('ann', PEER) === null;
  for (let count = 0; count < LOGIN_GUARD_LIMITS.freeOfPair; count++) {
    assert.ok(isHeard());
    guard.wrong('ann', PEER);
  }
  const waits: number[] = [];
  for (let count = 0; count < 10; count++) {
    guard.wrong('ann', PEER);
    let waited = 0;
    for (; !isHeard(); waited += 50) world.now += 50;
    waits.push(waited);
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  assert.equal(guard.refusal('bob', PEER), null, 'others from there are heard');
  guard.right('ann', PEER);
  guard.wrong('ann', PEER);
  assert.ok(isHeard(), 'a right one makes good for the wrong ones');
});

test('who logged in before is not kept out by those who guess elsewhere', () => {
  const { world, abuse } = setUp();
  const guard = new LoginGuard(world.clock, abuse);
  guard.right('ann', PEER);
  for (let count = 0; count < 120; count++) guard.wrong('ann', `10.9.${count}.1:1`);
  assert.equal(guard.refusal('ann', PEER), null);
  assert.notEqual(guard.refusal('ann', '10.8.0.1:1'), null, 'strangers wait, wherever they come from');
});

test('an address that tries many names is held up for all of them, existing or not', () => {
  const { world, abuse } = setUp();
  const guard = new LoginGuard(world.clock, abuse);
  for (let count = 0; count <= 50; count++) guard.wrong(`name-${count}`, PEER);
  assert.notEqual(guard.refusal('root', PEER), null);
  assert.equal(guard.refusal('root', '10.0.0.2:5'), null);
  guard.right('ann', PEER);
  assert.equal(guard.refusal('ann', PEER), null, 'who logged in from there before is heard');
  world.now += 900_001;
  guard.wrong('bob', PEER);
  assert.equal(guard.refusal('root', PEER), null, 'forgotten after a while');
});
