import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { RangeRequest, RangeResponse, RangeStreamResponse, SortOrder, SortTarget } from '@etsd/proto';
import type { Limits } from '../limits.ts';
import { TestMember } from './member.fixture.ts';
import type { FakeCall } from './surroundings.fixture.ts';

const RANGE = '/etcdserverpb.KV/Range';
const STREAM = '/etcdserverpb.KV/RangeStream';
const bytes = (text: string) => Buffer.from(text, 'latin1');
const encode = (request: Partial<RangeRequest>) =>
  RangeRequest.encode(RangeRequest.create({ key: bytes('\0'), rangeEnd: bytes('\0'), ...request }));
const KEYS = 5000;

/** Keys in three generations of revisions, values of differing sizes, some deleted. */
function largeMember(limits: Partial<Limits> = {}): TestMember {
  const member = new TestMember({ limits }).registerKv();
  const random = new Prng(5);
  for (let at = 0; at < KEYS; at++)
    member.put(`k${(at * 7919) % KEYS}`.padEnd(8, 'x'), random.bytes(random.below(200)));
  for (let at = 0; at < KEYS; at += 3) member.put(`k${at}`.padEnd(8, 'x'), `second ${at}`);
  member.store.begin();
  member.store.deleteRange('k1', 'k2');
  member.store.end();
  return member;
}

function plain(member: TestMember, request: Partial<RangeRequest>): RangeResponse {
  const query = RangeRequest.create({ key: bytes('\0'), rangeEnd: bytes('\0'), ...request });
  const result = { records: [] as Buffer[], count: 0, more: false };
  assert.equal(member.store.range('\0', '\0', query, result), null);
  const response = new RangeResponse();
  response.kvs = result.records.map(
    (record) => RangeResponse.decode(Buffer.concat([Buffer.from([0x12]), lengthOf(record), record])).kvs[0]!,
  );
  if (query.keysOnly) for (const kv of response.kvs) kv.value = Buffer.alloc(0);
  response.count = result.count;
  response.more = result.more;
  return response;
}

function lengthOf(record: Buffer): Buffer {
  return record.length < 128
    ? Buffer.from([record.length])
    : Buffer.from([(record.length & 127) | 128, record.length >> 7]);
}

// Goal: a range that is read, sorted and sent in slices has the answer of one that is made in one go.
const QUERIES: [name: string, request: Partial<RangeRequest>][] = [
  ['everything', {}],
  ['a limit', { limit: 4000 }],
  ['a limit that is not reached', { limit: 100_000 }],
  ['keys only', { keysOnly: true }],
  ['count only', { countOnly: true }],
  ['in the past', { revision: 3000 }],
  ['count only, in the past', { revision: 3000, countOnly: true }],
  ['filtered', { minModRevision: 1000, maxCreateRevision: 4000 }],
  ['filtered, with a limit', { minModRevision: 1000, limit: 1500 }],
  ['keys from the end', { sortOrder: SortOrder.DESCEND }],
  ['a few keys from the end', { sortOrder: SortOrder.DESCEND, limit: 7 }],
  ['keys from the end, in the past', { sortOrder: SortOrder.DESCEND, revision: 3000, limit: 1500 }],
  ['keys from the end, filtered', { sortOrder: SortOrder.DESCEND, minModRevision: 1000, limit: 1500 }],
  ['by revision', { sortTarget: SortTarget.MOD, sortOrder: SortOrder.DESCEND }],
  ['by revision, few', { sortTarget: SortTarget.MOD, sortOrder: SortOrder.DESCEND, limit: 10 }],
  ['by value', { sortTarget: SortTarget.VALUE, sortOrder: SortOrder.ASCEND }],
  ['by version, without an order', { sortTarget: SortTarget.VERSION }],
  ['by creation, the limit first', { sortTarget: SortTarget.CREATE, limit: 2000 }],
  ['by creation, filtered', { sortTarget: SortTarget.CREATE, minModRevision: 2000, limit: 50 }],
];
test('large ranges equal those made in one go', async (t) => {
  const member = largeMember();
  for (const [name, request] of QUERIES) {
    await t.test(name, () => {
      const answer = member.ask(RANGE, encode(request));
      assert.ok(Buffer.isBuffer(answer), `${answer}`);
      const response = RangeResponse.decode(answer);
      const expected = plain(member, request);
      assert.equal(response.header?.revision, member.store.revision);
      assert.equal(response.count, expected.count);
      assert.equal(response.more, expected.more);
      assert.deepEqual(response.kvs, expected.kvs);
    });
  }
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY, 'every cursor is closed');
});

// Goal: writes go on while a range is read, and the range does not see them.
test('a large range shows the revision it was asked at', () => {
  const member = largeMember();
  const expected = plain(member, {});
  const call = member.call(RANGE, encode({}));
  assert.equal(call.status, null, 'it is not made in one go');
  for (let at = 0; at < 300; at++) member.put(`k${at}`.padEnd(8, 'x'), 'later');
  member.store.compact(member.store.revision);
  for (let slice = 0; slice < 100; slice++) member.store.compactSlice(1000);
  member.world.endTurns();
  const response = RangeResponse.decode(Buffer.concat(call.messages));
  assert.deepEqual(response.kvs, expected.kvs);
  assert.equal(response.header?.revision, member.store.revision - 300);
});

test('a client that leaves frees what its range held', () => {
  const member = largeMember();
  const calls = Array.from({ length: 10 }, () => member.call(RANGE, encode({ sortTarget: SortTarget.VALUE })));
  assert.notEqual(member.store.pinnedRevision, Number.POSITIVE_INFINITY);
  for (const call of calls) call.hangUp();
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY);
  member.world.endTurns();
  for (const call of calls) assert.equal(call.messages.length, 0);
  assert.ok(Buffer.isBuffer(member.ask(RANGE, encode({}))), 'the places are free again');
  assert.equal(member.runner.length, 0);
});

test('only a few large ranges are gathered at a time, and all are answered', () => {
  const member = largeMember();
  const calls = Array.from({ length: 20 }, () => member.call(RANGE, encode({})));
  assert.equal(member.runner.length, 4);
  member.world.endTurns();
  for (const call of calls) assert.equal(call.status?.code, 0);
});

// Goal: where memory is short a range is read twice, and nobody can tell by its answer.
test('large ranges that are read again as they are sent equal those made in one go', async (t) => {
  const member = largeMember({ gatheredBytes: 20_000, directResponseBytes: 5000, responseWindowBytes: 10_000 });
  for (const [name, request] of QUERIES) {
    await t.test(name, () => {
      const expected = plain(member, request);
      const call = member.call(RANGE, encode(request));
      const revision = member.store.revision;
      for (let turns = 0; call.isOpen; turns++) {
        assert.ok(turns < 1000, 'it must end');
        member.world.endTurns();
        if (!call.isOpen) break;
        // What happens meanwhile is no part of it.
        member.put(`later${turns}`, 'x');
        call.drain();
      }
      const response = RangeResponse.decode(Buffer.concat(call.messages));
      assert.equal(response.header?.revision, revision);
      assert.deepEqual([response.count, response.more], [expected.count, expected.more]);
      assert.deepEqual(response.kvs, expected.kvs);
      call.drain();
    });
  }
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY, 'every cursor is closed');
});

// Goal: clients that do not read cannot make a member hold more than the memory set aside, nor hold up the others.
test('unread large ranges wait with almost nothing in memory', () => {
  const member = new TestMember({ limits: { gatheredBytes: 3_000_000 } }).registerKv();
  for (let at = 0; at < 100; at++) member.put(`k${at}`, Buffer.alloc(20_000, at));
  const calls = Array.from({ length: 30 }, () => member.call(RANGE, encode({})));
  member.world.endTurns();
  const queued = calls.reduce((sum, call) => sum + call.queuedBytes, 0);
  assert.ok(queued < 5_000_000 + calls.length * 600_000, `${queued} bytes are queued`);
  assert.ok(calls.some((call) => call.isOpen && call.queuedBytes > 0 && call.queuedBytes < 600_000));
  const reader = member.call(RANGE, encode({}));
  for (let turns = 0; reader.isOpen; turns++) {
    assert.ok(turns < 1000, 'a client that reads must be served');
    member.world.endTurns();
    if (reader.isOpen) reader.drain();
  }
  assert.equal(RangeResponse.decode(Buffer.concat(reader.messages)).kvs.length, 100);
  for (const call of calls) call.hangUp();
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY);
});

// Goal: however many are asked for at once, those that wait for their turn hold nothing of what they will answer.
for (const [name, request] of [
  ['in the order of keys', {}],
  ['sorted', { sortTarget: SortTarget.VALUE }],
  ['from the end', { sortOrder: SortOrder.DESCEND, limit: 10 }],
  ['of one key', { key: bytes('k1'), rangeEnd: bytes('') }],
] as const) {
  test(`many ranges asked for at once take no memory while they wait: ${name}`, () => {
    const member = new TestMember({ limits: { gatheredBytes: 300_000 } }).registerKv();
    for (let at = 0; at < 10; at++) member.put(`k${at}`, Buffer.alloc(50_000, at));
    let copied = 0;
    const { store } = member;
    for (const method of ['recordCopy', 'recordToKeep'] as const) {
      const original = store[method].bind(store);
      store[method] = (main, sub) => {
        const record = original(main, sub);
        copied += record.length;
        return record;
      };
    }
    const isOne = name === 'of one key';
    const calls = Array.from({ length: 100 }, () => member.call(RANGE, encode(request), {}, { isCongested: isOne }));
    assert.ok(copied < 2_000_000, `${copied} bytes were copied`);
    assert.ok(calls.every((call) => call.isOpen));
    // Whoever reads is answered in the end, each with all of it.
    for (let turns = 0; calls.some((call) => call.isOpen); turns++) {
      assert.ok(turns < 2000, 'they must end');
      member.world.endTurns();
      for (const call of calls) if (call.isOpen || call.queuedBytes > 0) call.drain();
    }
    const expected = isOne ? 1 : 10;
    for (const call of [calls[0]!, calls[99]!]) {
      assert.equal(call.status?.code, 0);
      assert.equal(RangeResponse.decode(Buffer.concat(call.messages)).kvs.length, expected);
    }
    for (const call of calls) call.messages.length = 0;
    assert.equal(store.pinnedRevision, Number.POSITIVE_INFINITY, 'every cursor is closed');
  });
}

// Goal: who shuts its window before it asks costs nothing but its place: not even the length is added up.
test('a large range is not begun before its client opens its window', () => {
  const member = new TestMember().registerKv();
  for (let at = 0; at < 100; at++) member.put(`k${at}`, Buffer.alloc(20_000, at));
  const shut = Array.from({ length: 10 }, () => member.call(RANGE, encode({}), {}, { isShut: true }));
  member.world.endTurns();
  assert.equal(member.runner.length, 0);
  for (const call of shut) assert.deepEqual([call.isOpen, call.queuedBytes, call.awaitsWindow], [true, 0, true]);
  assert.ok(Buffer.isBuffer(member.ask(RANGE, encode({}))), 'others are served');
  const [opened, ...left] = shut as [FakeCall, ...FakeCall[]];
  opened.openWindow();
  member.world.endTurns();
  assert.equal(RangeResponse.decode(Buffer.concat(opened.messages)).kvs.length, 100);
  for (const call of left) call.hangUp();
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY, 'every cursor is closed');
});

// Goal: what a large range has read ahead counts with the record that is not handed on yet.
test('large records are read ahead one at a time', () => {
  const member = new TestMember({ limits: { gatheredBytes: 1000 } }).registerKv();
  for (let at = 0; at < 10; at++) member.put(`k${at}`, Buffer.alloc(400_000, at));
  const call = member.call(RANGE, encode({}));
  member.world.endTurns();
  assert.ok(call.isOpen && call.queuedBytes > 400_000, 'one is sent');
  assert.ok(call.queuedBytes < 500_000, `${call.queuedBytes} bytes are queued`);
  for (let turns = 0; call.isOpen; turns++) {
    assert.ok(turns < 100, 'it must end');
    call.drain();
    member.world.endTurns();
  }
  assert.equal(RangeResponse.decode(Buffer.concat(call.messages)).kvs.length, 10);
});

function streamed(messages: Buffer[]): RangeResponse[] {
  return messages.map((message) => RangeStreamResponse.decode(message).rangeResponse as RangeResponse);
}

// Goal: the pieces of a stream are one range, and what stands once stands in the last piece.
for (const [name, request] of QUERIES.slice(0, 7)) {
  test(`RangeStream: ${name}`, () => {
    const member = largeMember();
    const expected = plain(member, request);
    const call = member.call(STREAM, encode(request));
    for (let turns = 0; call.status === null; turns++) {
      assert.ok(turns < 1000, 'it must end');
      member.world.endTurns();
      call.drain();
    }
    assert.equal(call.status.code, 0);
    const pieces = streamed(call.messages);
    assert.deepEqual(
      pieces.flatMap((piece) => piece.kvs),
      expected.kvs,
    );
    const last = pieces.pop();
    assert.equal(last?.count, expected.count);
    assert.equal(last?.more, expected.more);
    assert.equal(last?.header?.revision, member.store.revision);
    for (const piece of pieces) assert.deepEqual([piece.header, piece.count, piece.more], [null, 0, false]);
  });
}

test('RangeStream reads no further than its client', () => {
  const member = new TestMember({ limits: { responseWindowBytes: 300_000, directResponseBytes: 1000 } }).registerKv();
  for (let at = 0; at < 100; at++) member.put(`k${at}`, Buffer.alloc(50_000, at));
  const call = member.call(STREAM, encode({}));
  member.world.endTurns();
  const before = call.messages.length;
  assert.ok(call.queuedBytes < 1_000_000, `${call.queuedBytes} bytes are queued`);
  member.world.endTurns();
  assert.equal(call.messages.length, before, 'it waits for the client');
  assert.equal(member.store.pinnedRevision, Number.POSITIVE_INFINITY, 'and holds back no compaction meanwhile');
  call.drain();
  member.world.endTurns();
  assert.ok(call.messages.length > before);
  member.store.compact(member.store.revision);
  member.put('later', 'x');
  for (let turns = 0; call.isOpen; turns++) {
    assert.ok(turns < 1000, 'it must end');
    call.drain();
    member.world.endTurns();
  }
  assert.equal(call.status?.code, 0, 'a compaction up to its revision does it no harm');
  const keys = streamed(call.messages).flatMap((piece) => piece.kvs.map((kv) => kv.key.toString()));
  assert.equal(new Set(keys).size, 100);
  assert.equal(keys.length, 100);
});

test('RangeStream of a revision that is compacted while its client pauses ends with that error', () => {
  const member = new TestMember({ limits: { responseWindowBytes: 300_000, directResponseBytes: 1000 } }).registerKv();
  for (let at = 0; at < 100; at++) member.put(`k${at}`, Buffer.alloc(50_000, at));
  const call = member.call(STREAM, encode({}));
  member.world.endTurns();
  member.put('later', 'x');
  member.store.compact(member.store.revision);
  call.drain();
  assert.equal(call.status?.message, 'etcdserver: mvcc: required revision has been compacted');
});

test('RangeStream with a limit, in the past and with pauses, knows count and more', () => {
  const member = new TestMember({ limits: { responseWindowBytes: 100_000, directResponseBytes: 1000 } }).registerKv();
  for (let at = 0; at < 100; at++) member.put(`k${at}`.padEnd(4, '_'), Buffer.alloc(50_000, at));
  const revision = member.store.revision;
  member.put('later', 'x');
  for (const [limit, more] of [
    [60, true],
    [100, false],
    [0, false],
  ] as const) {
    const call = member.call(STREAM, encode({ limit, revision }));
    for (let turns = 0; call.isOpen; turns++) {
      assert.ok(turns < 1000, 'it must end');
      member.world.endTurns();
      if (call.isOpen) call.drain();
    }
    const pieces = streamed(call.messages);
    assert.equal(pieces.flatMap((piece) => piece.kvs).length, limit === 0 ? 100 : limit);
    assert.deepEqual([pieces.at(-1)?.count, pieces.at(-1)?.more], [100, more]);
  }
});

test('RangeStream refuses orders and filters', () => {
  const member = largeMember();
  const sorts = '12 RangeStream does not support custom sort orders';
  assert.equal(member.ask(STREAM, encode({ sortOrder: SortOrder.DESCEND })), sorts);
  assert.equal(member.ask(STREAM, encode({ sortTarget: SortTarget.MOD })), sorts);
  assert.equal(member.ask(STREAM, encode({ minModRevision: 1 })), '12 RangeStream does not support revision filters');
  assert.equal(member.ask(STREAM, encode({ key: bytes('') })), '3 etcdserver: key is not provided');
  assert.match(`${member.ask(STREAM, encode({ revision: 100_000 }))}`, /future revision/);
});
