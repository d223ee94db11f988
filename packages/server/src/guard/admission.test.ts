import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { silentLogger } from '@etsd/base';
import { METHODS, PutRequest, RangeRequest } from '@etsd/proto';
import { FakeCall, FakeWorld } from '../api/surroundings.fixture.ts';
import type { ApiCall, ApiHandler } from '../context.ts';
import { Abuse } from './abuse.ts';
import { Admission } from './admission.ts';
import { laneOf } from './method-lanes.ts';

const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const ADD = '/etcdserverpb.Cluster/MemberAdd';

let world: FakeWorld;
let abuse: Abuse;
let proposals: number;
let admission: Admission;
/** What was served, in order: the method and at what time. */
let served: [name: string, atMs: number][];

beforeEach(() => {
  world = new FakeWorld();
  abuse = new Abuse(silentLogger, world.clock);
  proposals = 0;
  served = [];
  admission = make(0);
});

function make(inflightBytesMax: number, lanes = true): Admission {
  return new Admission({ world, abuse, inflightBytesMax, lanes, pendingProposals: () => proposals });
}

/** A handler whose requests cost a millisecond each and are answered at once. */
function costly(name: string): ApiHandler {
  return {
    kind: 'unary',
    message(call: ApiCall) {
      world.now += 1;
      served.push([name, world.now]);
      call.end();
    },
  };
}

function send(path: string, bytes: Buffer, name = path.slice(path.lastIndexOf('/') + 1)): FakeCall {
  const call = new FakeCall(admission.guard(path, costly(name)));
  call.receive(bytes);
  return call;
}

const key = Buffer.from('k');
const put = PutRequest.encode(PutRequest.create({ key }));
const point = RangeRequest.encode(RangeRequest.create({ key }));
const scan = RangeRequest.encode(RangeRequest.create({ key, rangeEnd: Buffer.from([0]) }));

test('every method has its lane, and leases and health never wait', () => {
  const lanes = METHODS.map(({ path }) => laneOf(path));
  assert.deepEqual(new Set(lanes), new Set(['first', 'admin', 'write', 'read', 'scan']));
  assert.equal(laneOf(GRANT), 'first');
  assert.equal(laneOf(ADD), 'admin');
  assert.equal(laneOf('/etcdserverpb.KV/Compact'), 'admin');
});

// Goal: in a turn with too much to do, leases and members are served at once, then writes, reads and scans in this order.
test('a turn that is too long puts the lower lanes off, in their order', () => {
  for (let round = 0; round < 40; round++) {
    send(RANGE, scan, 'Scan');
    send(RANGE, point, 'Point');
    send(PUT, put);
    if (round % 8 !== 0) continue;
    send(ADD, put);
    send(GRANT, put);
  }
  const inTurn = new Map<string, number>();
  for (const [name] of served) inTurn.set(name, (inTurn.get(name) ?? 0) + 1);
  assert.deepEqual([inTurn.get('LeaseGrant'), inTurn.get('MemberAdd')], [5, 5], 'they never wait');
  const now = (name: string) => inTurn.get(name) ?? 0;
  assert.ok(now('Put') > now('Point') && now('Point') >= now('Scan') && now('Scan') > 0, `${[...inTurn]}`);
  assert.ok(now('Put') < 20, 'most writes wait, too');
  world.endTurns();
  assert.equal(served.length, 130, 'everything is served in the end');
  const last = (name: string) => served.findLastIndex(([each]) => each === name);
  assert.ok(last('Put') < last('Point') && last('Point') < last('Scan'), 'the higher lane is done first');
  assert.equal(admission.waitingCount, 0);
  assert.deepEqual(admission.refused, [0, 0, 0, 0]);
});

// Goal: the whole order, where what comes is in the opposite one. Method: fifty of each lane, the lowest first.
test('leases come before administration, before writes, before reads of a key, before scans', () => {
  const kinds = [
    ['Scan', RANGE, scan],
    ['Point', RANGE, point],
    ['Put', PUT, put],
    ['MemberAdd', ADD, put],
    ['LeaseGrant', GRANT, put],
  ] as const;
  for (const [name, path, bytes] of kinds) for (let round = 0; round < 50; round++) send(path, bytes, name);
  const inTurn = served.filter(([name]) => name === 'LeaseGrant');
  assert.equal(inTurn.length, 50, 'leases never wait');
  assert.ok(
    admission.deferred.every((count) => count > 20),
    `${admission.deferred}: all others do`,
  );
  world.endTurns();
  const last = kinds.map(([name]) => served.findLastIndex(([each]) => each === name));
  assert.deepEqual(
    last,
    [...last].sort((a, b) => b - a),
    'each lane is done before those below it',
  );
});

// Goal: what lasts long is cut into turns, so that other input gets in between.
test('what has waited is served in turns of bounded length', () => {
  for (let round = 0; round < 200; round++) send(PUT, put);
  let turns = 0;
  const lengths: number[] = [];
  while (admission.waitingCount > 0) {
    const before = world.now;
    world.endTurn();
    lengths.push(world.now - before);
    turns++;
  }
  assert.ok(turns > 5, `${turns} turns`);
  assert.ok(Math.max(...lengths) <= 12, `turns of ${lengths.join(', ')} ms`);
});

test('a lane goes on, one request a turn, while the lanes above have more than enough to do', () => {
  for (let round = 0; round < 60; round++) send(PUT, put);
  const late = send(RANGE, scan, 'Scan');
  assert.equal(late.isOpen, true);
  world.endTurn();
  assert.equal(late.status?.code, 0);
  assert.ok(admission.waitingCount > 0);
});

test('beyond the bound the lowest lane is refused first', () => {
  for (let round = 0; round < 30; round++) send(PUT, put);
  const big = RangeRequest.encode(RangeRequest.create({ key: Buffer.alloc(1_000_000, 1), rangeEnd: Buffer.from([0]) }));
  const scans = Array.from({ length: 68 }, () => send(RANGE, big, 'Scan'));
  const refused = () => scans.filter(({ status }) => status?.code === 8).length;
  assert.equal(refused(), 1, 'of 64 MiB that may wait');
  const write = send(PUT, PutRequest.encode(PutRequest.create({ key: Buffer.alloc(1_500_000, 1) })));
  assert.ok(write.isOpen, 'the write waits');
  assert.ok(refused() >= 2, 'in the place of a scan');
  assert.equal(admission.refused[3], refused());
  assert.ok((abuse.totals().get('kind="overload_scan"') ?? 0) > 0);
  world.endTurns();
  assert.equal(write.status?.code, 0);
});

test('who hangs up is not served, and its bytes are given back', () => {
  for (let round = 0; round < 40; round++) send(PUT, put);
  const call = send(PUT, put, 'Gone');
  call.hangUp();
  world.endTurns();
  assert.equal(
    served.some(([name]) => name === 'Gone'),
    false,
  );
  assert.deepEqual([admission.waitingCount, admission.inflightBytes], [0, 0]);
});

test('writes wait while the log is behind, reads do not', () => {
  proposals = 10_000;
  const write = send(PUT, put);
  const read = send(RANGE, point, 'Point');
  assert.deepEqual([write.status, read.status?.code], [null, 0]);
  proposals = 0;
  world.advance(20);
  assert.equal(write.status?.code, 0);
});

test('who has waited too long is refused', () => {
  proposals = 10_000;
  const write = send(PUT, put);
  world.advance(6000);
  proposals = 0;
  world.advance(20);
  assert.equal(write.status?.message, 'etcdserver: too many requests');
});

test('bytes of requests under way have their bound', () => {
  admission = make(100_000);
  const open: ApiHandler = { kind: 'unary', message() {} };
  const value = PutRequest.encode(PutRequest.create({ key, value: Buffer.alloc(40_000) }));
  const calls = Array.from({ length: 3 }, () => new FakeCall(admission.guard(PUT, open)));
  for (const call of calls) call.receive(value);
  assert.deepEqual(
    calls.map(({ status }) => status?.code ?? null),
    [null, null, 8],
  );
  calls[0]?.hangUp();
  const again = new FakeCall(admission.guard(PUT, open));
  again.receive(value);
  assert.equal(again.status, null);
  assert.equal(admission.inflightRefused, 1);
});

test('without lanes nobody waits, and bytes keep their bound', () => {
  admission = make(1_000_000, false);
  proposals = 20_000;
  for (let round = 0; round < 100; round++) assert.equal(send(RANGE, scan).status?.code, 0);
  assert.equal(send(PUT, put).status?.code, 0);
  const big = PutRequest.encode(PutRequest.create({ key, value: Buffer.alloc(1_000_000) }));
  assert.equal(send(PUT, big).status?.code, 8);
});
