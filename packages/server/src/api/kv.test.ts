import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CompactionRequest,
  CompactionResponse,
  Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  type ResponseHeader,
  TxnRequest,
  TxnResponse,
} from '@etsd/proto';
import { MemberRecord } from '@etsd/state';
import { CLUSTER_ID, MEMBER_ID, TestMember } from './member.fixture.ts';

const KV = '/etcdserverpb.KV/';
const bytes = (text: string) => Buffer.from(text, 'latin1');
const PUT = (request: Partial<PutRequest>) => PutRequest.encode(PutRequest.create(request));
const RANGE = (request: Partial<RangeRequest>) => RangeRequest.encode(RangeRequest.create(request));
const DELETE = (request: Partial<DeleteRangeRequest>) => DeleteRangeRequest.encode(DeleteRangeRequest.create(request));
const TXN = (request: Partial<TxnRequest>) => TxnRequest.encode(TxnRequest.create(request));

function answered<T>(answer: Buffer | string, decode: (bytes: Buffer) => T): T {
  assert.ok(Buffer.isBuffer(answer), `${answer}`);
  return decode(answer);
}

function assertHeader(header: ResponseHeader | null, revision: number): void {
  assert.equal(header?.clusterId, CLUSTER_ID);
  assert.equal(header?.memberId, MEMBER_ID);
  assert.equal(header?.raftTerm, 2);
  assert.equal(header?.revision, revision);
}

// Goal: what is refused before the log, and with what, as etcd 3.5.30 answered it.
const REFUSALS: [name: string, method: string, request: Buffer, answer: string][] = [
  ['no key comes first', 'Put', PUT({ value: bytes('x'), ignoreValue: true }), '3 etcdserver: key is not provided'],
  ['value', 'Put', PUT({ key: bytes('z'), value: bytes('x'), ignoreValue: true }), '3 etcdserver: value is provided'],
  [
    'lease',
    'Put',
    PUT({ key: bytes('z'), lease: '0000000000000005', ignoreLease: true }),
    '3 etcdserver: lease is provided',
  ],
  [
    'unknown lease',
    'Put',
    PUT({ key: bytes('z'), lease: '0000000000000005' }),
    '5 etcdserver: requested lease not found',
  ],
  ['nothing to keep', 'Put', PUT({ key: bytes('z'), ignoreValue: true }), '3 etcdserver: key not found'],
  ['range without key', 'Range', RANGE({}), '3 etcdserver: key is not provided'],
  ['range sort order', 'Range', RANGE({ key: bytes('a'), sortOrder: 3 }), '3 etcdserver: invalid sort option'],
  ['range sort target', 'Range', RANGE({ key: bytes('a'), sortTarget: 5 }), '3 etcdserver: invalid sort option'],
  [
    'range of the future',
    'Range',
    RANGE({ key: bytes('a'), revision: 99 }),
    '11 etcdserver: mvcc: required revision is a future revision',
  ],
  ['delete without key', 'DeleteRange', DELETE({}), '3 etcdserver: key is not provided'],
  ['empty operation', 'Txn', TXN({ success: [new RequestOp()] }), '3 etcdserver: key not found'],
  ['compare without key', 'Txn', TXN({ compare: [new Compare()] }), '3 etcdserver: key is not provided'],
  [
    'compacting the future',
    'Compact',
    CompactionRequest.encode(CompactionRequest.create({ revision: 99 })),
    '11 etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'no message',
    'Put',
    Buffer.from([0x0a, 0x05]),
    '13 grpc: error unmarshalling request: proto: unexpected end of message',
  ],
  ['no message', 'Txn', Buffer.from([0xff]), '13 grpc: error unmarshalling request: proto: unexpected end of message'],
];
for (const [name, method, request, answer] of REFUSALS) {
  test(`${method} refuses: ${name}`, () => {
    const member = new TestMember().registerKv();
    assert.equal(member.ask(KV + method, request), answer);
    assert.equal(member.store.revision, 1);
  });
}

test('the largest request is bound by its log entry, as in etcd', () => {
  const member = new TestMember().registerKv();
  const put = (size: number) => member.ask(`${KV}Put`, PUT({ key: bytes('a'), value: Buffer.alloc(size) }));
  // Our request ids take five bytes here where etcd's take nine; 24 bytes of overhead there.
  const largest = 1572864 - 24 + (10 - 6);
  assert.equal(put(1572864 - 10), '3 etcdserver: request is too large');
  assert.ok(Buffer.isBuffer(put(largest - 8)));
});

test('Put answers with the new revision and the record before', () => {
  const member = new TestMember().registerKv();
  const put = (request: Partial<PutRequest>) =>
    answered(member.ask(`${KV}Put`, PUT({ key: bytes('a'), ...request })), PutResponse.decode);
  const first = put({ value: bytes('1'), prevKv: true });
  assertHeader(first.header, 2);
  assert.equal(first.prevKv, null);
  const second = put({ value: bytes('2'), prevKv: true });
  assertHeader(second.header, 3);
  assert.equal(second.prevKv?.value.toString(), '1');
  assert.equal(put({ value: bytes('3') }).prevKv, null);
  put({ value: Buffer.alloc(400_000, 7) });
  assert.equal(put({ prevKv: true }).prevKv?.value.length, 400_000, 'a record too large for one frame');
});

test('DeleteRange answers with what it deleted', () => {
  const member = new TestMember().registerKv();
  for (const key of ['a', 'b', 'c']) member.put(key, key);
  const remove = (request: Partial<DeleteRangeRequest>) =>
    answered(member.ask(`${KV}DeleteRange`, DELETE(request)), DeleteRangeResponse.decode);
  const two = remove({ key: bytes('a'), rangeEnd: bytes('c'), prevKv: true });
  assertHeader(two.header, 5);
  assert.equal(two.deleted, 2);
  assert.deepEqual(
    two.prevKvs.map((kv) => kv.key.toString()),
    ['a', 'b'],
  );
  const none = remove({ key: bytes('z'), rangeEnd: bytes('a') });
  assertHeader(none.header, 5);
  assert.equal(none.deleted, 0);
});

// Goal: the response of a transaction has the bytes of the generated encoder, whatever the kinds of its operations.
test('Txn answers with one response per operation, nested ones within', () => {
  const member = new TestMember().registerKv();
  member.put('a', '1');
  member.put('big', Buffer.alloc(300_000, 1));
  const range = (key: string, more: Partial<RangeRequest> = {}) =>
    RequestOp.create({ requestRange: RangeRequest.create({ key: bytes(key), ...more }) });
  const put = (key: string) =>
    RequestOp.create({ requestPut: PutRequest.create({ key: bytes(key), value: bytes('v'), prevKv: true }) });
  const remove = RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key: bytes('a'), prevKv: true }) });
  const nested = RequestOp.create({ requestTxn: TxnRequest.create({ success: [range('c'), put('d')] }) });
  const request = {
    success: [range('a'), put('c'), range('a', { rangeEnd: bytes('\0'), keysOnly: true }), remove, nested, put('c2')],
  };
  const answer = member.ask(`${KV}Txn`, TXN(request));
  const response = answered(answer, TxnResponse.decode);
  assert.deepEqual(TxnResponse.encode(response), answer, 'the bytes are those of the plain encoder');
  assertHeader(response.header, 4);
  assert.equal(response.succeeded, true);
  const [first, second, third, fourth, fifth] = response.responses;
  assert.equal(first?.responseRange?.header?.revision, 3);
  assert.equal(first?.responseRange?.kvs[0]?.value.toString(), '1');
  assert.equal(second?.responsePut?.header?.revision, 4);
  assert.deepEqual(
    third?.responseRange?.kvs.map((kv) => `${kv.key}=${kv.value}`),
    ['a=', 'big=', 'c='],
  );
  assert.equal(fourth?.responseDeleteRange?.prevKvs[0]?.key.toString(), 'a');
  assert.equal(fifth?.responseTxn?.responses.length, 2);
  assert.equal(fifth?.responseTxn?.header?.revision, 0);
});

test('a transaction of reads does not enter the log, and waits for the barrier unless it is serializable', () => {
  const member = new TestMember().registerKv();
  member.put('a', '1');
  member.log.automatic = false;
  member.log.holdsReaders = true;
  const request = (serializable: boolean) =>
    TXN({ success: [RequestOp.create({ requestRange: RangeRequest.create({ key: bytes('a'), serializable }) })] });
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Txn`, request(true))));
  const waiting = request(false);
  const call = member.call(`${KV}Txn`, waiting);
  waiting.fill(0xff); // the transport's buffer is used again
  assert.ok(call.isOpen);
  member.log.readers[0]?.done(null);
  assert.equal(call.status?.code, 0);
  const response = TxnResponse.decode(Buffer.concat(call.messages));
  assert.equal(response.responses[0]?.responseRange?.kvs[0]?.value.toString(), '1');
  assert.equal(member.log.proposals.length, 0);
});

test('Range of one key: found, not found, count only, keys only, in the past', () => {
  const member = new TestMember().registerKv();
  member.put('a', '1');
  member.put('a', '2');
  const range = (request: Partial<RangeRequest>) =>
    answered(member.ask(`${KV}Range`, RANGE({ key: bytes('a'), ...request })), RangeResponse.decode);
  const found = range({});
  assertHeader(found.header, 3);
  assert.equal(found.count, 1);
  assert.equal(found.kvs[0]?.value.toString(), '2');
  assert.equal(range({ revision: 2 }).kvs[0]?.value.toString(), '1');
  assert.equal(range({ revision: -1 }).kvs[0]?.value.toString(), '2');
  assert.equal(range({ revision: 1 }).count, 0);
  assert.deepEqual(range({ key: bytes('b') }).kvs, []);
  const counted = range({ countOnly: true });
  assert.deepEqual([counted.count, counted.kvs.length], [1, 0]);
  const bare = range({ keysOnly: true }).kvs[0];
  assert.deepEqual([bare?.value.length, bare?.modRevision, bare?.version], [0, 3, 2]);
  assert.equal(range({ maxModRevision: 2 }).kvs.length, 0);
  assert.equal(range({ maxModRevision: 2 }).count, 1);
});

test('a linearizable range waits for the barrier, a serializable one does not', () => {
  const member = new TestMember().registerKv();
  member.put('a', '1');
  member.log.holdsReaders = true;
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Range`, RANGE({ key: bytes('a'), serializable: true }))));
  const request = RANGE({ key: bytes('a') });
  const call = member.call(`${KV}Range`, request);
  request.fill(0xff);
  member.put('a', '2');
  member.log.readers[0]?.done(null);
  assert.equal(RangeResponse.decode(Buffer.concat(call.messages)).kvs[0]?.value.toString(), '2');
});

// Goal: a client that goes away leaves nothing behind that could answer somebody else.
test('answers to clients that are gone are dropped', () => {
  const member = new TestMember().registerKv();
  member.log.automatic = false;
  member.log.holdsReaders = true;
  const gone = [
    member.call(`${KV}Put`, PUT({ key: bytes('a'), value: bytes('1') })),
    member.call(`${KV}DeleteRange`, DELETE({ key: bytes('a') })),
    member.call(`${KV}Range`, RANGE({ key: bytes('a') })),
    member.call(
      `${KV}Txn`,
      TXN({
        compare: [Compare.create({ key: bytes('a') })],
        success: [RequestOp.create({ requestRange: RangeRequest.create({ key: bytes('a') }) })],
      }),
    ),
  ];
  for (const call of gone) call.hangUp();
  const stays = member.call(`${KV}Put`, PUT({ key: bytes('b'), value: bytes('2') }));
  member.log.applyAll();
  for (const reader of member.log.readers) reader.done(null);
  for (const call of gone) assert.deepEqual([call.messages.length, call.status?.code], [0, 1]);
  assert.equal(stays.status?.code, 0);
  assert.equal(PutResponse.decode(Buffer.concat(stays.messages)).header?.revision, 4);
});

test('Compact waits for the purge only where asked to', () => {
  const member = new TestMember().registerKv();
  member.put('a', '1');
  member.put('a', '2');
  const compact = (request: Partial<CompactionRequest>) =>
    member.call(`${KV}Compact`, CompactionRequest.encode(CompactionRequest.create(request)));
  const quick = compact({ revision: 2 });
  assertHeader(CompactionResponse.decode(Buffer.concat(quick.messages)).header, 3);
  const physical = compact({ revision: 3, physical: true });
  assert.ok(physical.isOpen);
  member.purged[0]?.();
  assert.equal(physical.status?.code, 0);
});

test('a member without a leader refuses who asked for one; a learner refuses all but its own reads', () => {
  const member = new TestMember().registerKv();
  const hasLeader = { hasleader: 'true' };
  member.log.leader = '0000000000000000';
  assert.equal(member.ask(`${KV}Range`, RANGE({ key: bytes('a') }), hasLeader), '14 etcdserver: no leader');
  assert.equal(member.ask(`${KV}Put`, PUT({ key: bytes('a') }), hasLeader), '14 etcdserver: no leader');
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Range`, RANGE({ key: bytes('a') }))));
  member.log.leader = MEMBER_ID;
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Put`, PUT({ key: bytes('a') }), hasLeader)));
  member.state.members.add(new MemberRecord(MEMBER_ID, ['http://h:1'], true));
  const refusal = '14 etcdserver: rpc not supported for learner';
  assert.equal(member.ask(`${KV}Put`, PUT({ key: bytes('a') })), refusal);
  assert.equal(member.ask(`${KV}Range`, RANGE({ key: bytes('a') })), refusal);
  assert.ok(Buffer.isBuffer(member.ask(`${KV}Range`, RANGE({ key: bytes('a'), serializable: true }))));
});

// Goal: what etcd's members would read otherwise than we do never enters the log.
test('an empty range_end that is written out is left out of the log', () => {
  const member = new TestMember().registerKv();
  for (const key of ['a', 'b', 'c']) member.put(key, key);
  member.log.automatic = false;
  const explicit = Buffer.concat([DELETE({ key: bytes('a') }), Buffer.from([0x12, 0])]);
  member.call(`${KV}DeleteRange`, explicit);
  const plain = TXN({
    success: [RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key: bytes('b') }) })],
  });
  const op = Buffer.concat([Buffer.from([0x1a, 5]), bytes('\x0a\x01b'), Buffer.from([0x12, 0])]);
  member.call(`${KV}Txn`, Buffer.concat([Buffer.from([0x12, op.length]), op]));
  const [first, second] = member.log.proposals.map(({ data }) => data.toString('hex'));
  assert.ok(first?.startsWith(`2a03${bytes('\x0a\x01a').toString('hex')}`), first);
  assert.ok(second?.includes(plain.toString('hex')), second);
  member.log.applyAll();
  assert.equal(member.store.count('a', '\0', 0), 1);
});
