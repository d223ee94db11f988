import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
  WatchCreateRequest,
  WatchRequest,
} from '@etsd/proto';
import { FakeCall, FakeWorld } from '../api/surroundings.fixture.ts';
import type { ApiHandler } from '../context.ts';
import { keyFinder } from './request-keys.ts';
import { Sum, TopCounts } from './top-counts.ts';
import { UsageMeter } from './usage-meter.ts';

const IDLE: ApiHandler = { kind: 'unary', message: () => {} };
const key = (text: string): Buffer => Buffer.from(text, 'latin1');

function meter(): { world: FakeWorld; usage: UsageMeter; ask: (name: string, user: string, peer: string) => void } {
  const world = new FakeWorld();
  const users = new Map<FakeCall, string>();
  const access = { auth: { enabled: true }, identify: (call: never) => ({ user: users.get(call) ?? '', by: 'token' }) };
  const usage = new UsageMeter(world, access as never);
  const find = keyFinder('/etcdserverpb.KV/Put');
  const ask = (name: string, user: string, peer: string): void => {
    const call = new FakeCall(IDLE);
    call.peer = peer;
    users.set(call, user);
    const bytes = PutRequest.encode(PutRequest.create({ key: key(name), value: Buffer.alloc(10) }));
    usage.count(call, find, true, bytes, 0, bytes.length);
  };
  return { world, usage, ask };
}

// Goal: from a sample the busiest are found, in the right order and nearly in the right number.
test('the busiest key, user and address stand first', () => {
  const { world, usage, ask } = meter();
  const random = new Prng(7);
  for (let at = 0; at < 20_000; at++) {
    if (at % 2000 === 0) world.advance(1000);
    const draw = random.below(10);
    if (draw < 5) ask('hot', 'ann', '10.0.0.1:4711');
    else if (draw < 7) ask('warm\xff', 'bob', '10.0.0.2:1');
    else ask(`cold/${random.below(5000)}`, '', `[fe80::${random.below(900)}]:5`);
  }
  const { keys, users, peers, requests } = usage.report(3);
  assert.deepEqual(
    keys.slice(0, 2).map(({ name }) => name),
    ['hot', 'warm\\xff'],
  );
  assert.deepEqual(
    users.map(({ name }) => name),
    ['ann', '(token)', 'bob'],
  );
  assert.deepEqual(
    peers.slice(0, 2).map(({ name }) => name),
    ['10.0.0.1', '10.0.0.2'],
  );
  const [hot] = keys;
  assert.ok(Math.abs((hot?.writes ?? 0) - 10_000) < 1500 && hot?.reads === 0, JSON.stringify(hot));
  assert.ok(Math.abs(requests - 20_000) < 100, `${requests}`);
});

// Goal: what is looked at does not grow with the load, and each look stands for as much more.
test('of very many requests in a second few are looked at, and told are nearly as many as there were', () => {
  const { world, usage, ask } = meter();
  const total = 400_000;
  for (let at = 0; at < total; at++) {
    if (at % 50_000 === 0) world.advance(1000);
    ask(at % 4 === 0 ? 'hot' : 'hotter', 'ann', '10.0.0.1:1');
  }
  const { keys, requests } = usage.report(2);
  assert.ok(Math.abs(requests - total) < 2000, `${requests}`);
  assert.deepEqual(
    keys.map(({ name }) => name),
    ['hotter', 'hot'],
  );
  const [hotter, hot] = keys.map(({ writes }) => writes) as [number, number];
  assert.ok(Math.abs(hotter - 0.75 * total) < 0.05 * total && Math.abs(hot - 0.25 * total) < 0.05 * total, `${hot}`);
});

test('what was busy is forgotten five minutes later', () => {
  const { world, usage, ask } = meter();
  for (let at = 0; at < 1000; at++) ask('early', 'ann', '10.0.0.1:1');
  world.advance(4 * 60_000);
  for (let at = 0; at < 1000; at++) ask('late', 'ann', '10.0.0.1:1');
  assert.deepEqual(
    usage
      .report(5)
      .keys.map(({ name }) => name)
      .sort(),
    ['early', 'late'],
  );
  world.advance(2.5 * 60_000);
  assert.deepEqual(
    usage.report(5).keys.map(({ name }) => name),
    ['late'],
  );
  assert.ok(usage.report(5).windowMs <= 6 * 60_000);
  world.advance(3_600_000);
  assert.deepEqual(usage.report(5).keys, []);
  assert.equal(usage.report(5).requests, 0);
});

// Goal: memory is bounded, and nothing busy is missed for that.
test('among more names than there are places the busiest keep theirs', () => {
  const counts = new TopCounts(50);
  const random = new Prng(3);
  for (let at = 0; at < 50_000; at++) {
    const name = at % 5 === 0 ? `hot${(at / 5) % 3}` : `cold${random.below(10_000)}`;
    counts.add(name, false, 1, 1);
  }
  const sums = new Map<string, Sum>();
  counts.addTo(sums);
  assert.equal(sums.size, 50);
  for (const name of ['hot0', 'hot1', 'hot2']) assert.ok((sums.get(name) ?? new Sum()).reads > 3000, name);
});

test('the keys of a request, by its method', () => {
  const told = (path: string, bytes: Buffer): string[] => {
    const found: string[] = [];
    keyFinder(path)?.(bytes, 0, bytes.length, (name, isWrite) => found.push(`${isWrite ? 'w' : 'r'} ${name}`));
    return found;
  };
  const op = (fields: Partial<RequestOp>): RequestOp => RequestOp.create(fields);
  const prefix = RangeRequest.create({ key: key('a/'), rangeEnd: key('a0') });
  assert.deepEqual(told('/etcdserverpb.KV/Range', RangeRequest.encode(prefix)), ['r a/*']);
  const span = RangeRequest.create({ key: key('a'), rangeEnd: key('f') });
  assert.deepEqual(told('/etcdserverpb.KV/RangeStream', RangeRequest.encode(span)), ['r a...']);
  const all = DeleteRangeRequest.create({ key: key('a'), rangeEnd: key('\0') });
  assert.deepEqual(told('/etcdserverpb.KV/DeleteRange', DeleteRangeRequest.encode(all)), ['w a*']);
  const txn = TxnRequest.create({
    success: [
      op({ requestPut: PutRequest.create({ key: key('p') }) }),
      op({ requestRange: prefix }),
      op({ requestDeleteRange: DeleteRangeRequest.create({ key: key('d') }) }),
    ],
  });
  assert.deepEqual(told('/etcdserverpb.KV/Txn', TxnRequest.encode(txn)), ['w p', 'r a/*', 'w d']);
  const watch = WatchRequest.create({ createRequest: WatchCreateRequest.create({ key: key('w') }) });
  assert.deepEqual(told('/etcdserverpb.Watch/Watch', WatchRequest.encode(watch)), ['r w']);
  assert.deepEqual(told('/etcdserverpb.KV/Txn', Buffer.from([0xff])), [], 'what can not be read');
  assert.equal(keyFinder('/etcdserverpb.Maintenance/Status'), null);
});
