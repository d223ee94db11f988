import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EMPTY, keyFromBytes, Prng, type U64, U64_ZERO, u64FromHalves, u64High, u64Low } from '@etsd/base';
import * as gen from '../gen/index.ts';
import { randomBytes, randomInteger, randomMessage } from '../testing/schema.ts';
import * as hot from './index.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const ROUNDS = 300;

/** Runs a property on random input; the seed of a failure is in its name. */
function property(name: string, check: (random: Prng) => void): void {
  test(`goal: ${name}; method: ${ROUNDS} random inputs against the generated class`, (t) => {
    t.diagnostic(`SEED=${seed}`);
    const random = new Prng(seed);
    for (let round = 0; round < ROUNDS; round++) check(random);
  });
}

/** What a writer put between two guard bytes, after making sure that it took exactly the size it had announced. */
function written(size: number, write: (target: Buffer, offset: number) => number): Buffer {
  const target = Buffer.alloc(size + 14, 0xee);
  const end = write(target, 7);
  assert.equal(end - 7, size, `size, SEED=${seed}`);
  assert.ok(target.subarray(0, 7).every((byte) => byte === 0xee));
  assert.ok(
    target.subarray(end).every((byte) => byte === 0xee),
    `wrote behind its end, SEED=${seed}`,
  );
  return target.subarray(7, end);
}

function same(ours: Buffer, wanted: Buffer): void {
  assert.equal(ours.toString('hex'), wanted.toString('hex'), `SEED=${seed}`);
}

function randomId(random: Prng): U64 {
  return random.chance(0.3) ? U64_ZERO : u64FromHalves(random.u32(), random.u32());
}

interface RandomHeader {
  template: hot.HeaderTemplate;
  revision: number;
  term: number;
  message: gen.ResponseHeader;
}

function randomHeader(random: Prng): RandomHeader {
  const clusterId = randomId(random);
  const memberId = randomId(random);
  const revision = randomInteger(random, false);
  const raftTerm = random.below(300);
  return {
    template: new hot.HeaderTemplate(clusterId, memberId),
    revision,
    term: raftTerm,
    message: gen.ResponseHeader.create({ clusterId, memberId, revision, raftTerm }),
  };
}

function randomRecord(random: Prng): gen.KeyValue {
  return randomMessage(gen.KeyValue, random);
}

property('a response header', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const ours = written(template.size(revision, term), (target, at) => template.write(target, at, revision, term));
  same(ours, gen.PutResponse.encode(gen.PutResponse.create({ header: message })));
  const inner = written(hot.innerHeaderSize(revision), (target, at) => hot.writeInnerHeader(target, at, revision));
  same(inner, gen.PutResponse.encode(gen.PutResponse.create({ header: gen.ResponseHeader.create({ revision }) })));
});

property('a view of a put', (random) => {
  const message = randomMessage(gen.PutRequest, random);
  const bytes = Buffer.concat([random.bytes(3), gen.PutRequest.encode(message), random.bytes(3)]);
  const view = new hot.PutRequestView();
  view.parse(bytes, 3, bytes.length - 3);
  assert.equal(view.key(bytes), keyFromBytes(message.key));
  assert.deepEqual(bytes.subarray(view.valueStart, view.valueEnd), message.value);
  assert.equal(view.lease, message.lease);
  assert.equal(view.prevKv, message.prevKv);
  assert.equal(view.ignoreValue, message.ignoreValue);
  assert.equal(view.ignoreLease, message.ignoreLease);
});

const RANGE_FIELDS = [
  'limit',
  'revision',
  'sortOrder',
  'sortTarget',
  'serializable',
  'keysOnly',
  'countOnly',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
] as const;

property('a view of a range', (random) => {
  const message = randomMessage(gen.RangeRequest, random);
  const bytes = Buffer.concat([random.bytes(3), gen.RangeRequest.encode(message), random.bytes(3)]);
  const view = new hot.RangeRequestView();
  view.parse(bytes, 3, bytes.length - 3);
  assert.equal(view.key(bytes), keyFromBytes(message.key));
  assert.equal(view.rangeEnd(bytes), keyFromBytes(message.rangeEnd));
  for (const field of RANGE_FIELDS) assert.equal(view[field], message[field], field);
});

property('a view of a delete', (random) => {
  const message = randomMessage(gen.DeleteRangeRequest, random);
  const bytes = gen.DeleteRangeRequest.encode(message);
  const view = new hot.DeleteRangeRequestView();
  view.parse(bytes, 0, bytes.length);
  assert.equal(view.key(bytes), keyFromBytes(message.key));
  assert.equal(view.rangeEnd(bytes), keyFromBytes(message.rangeEnd));
  assert.equal(view.prevKv, message.prevKv);
});

property('a stored record', (random) => {
  const message = randomRecord(random);
  const value = Buffer.concat([random.bytes(2), message.value, random.bytes(2)]);
  const ours = written(
    hot.keyValueSize(
      message.key.length,
      message.createRevision,
      message.modRevision,
      message.version,
      message.value.length,
      message.lease,
    ),
    (target, at) =>
      hot.writeKeyValue(
        target,
        at,
        keyFromBytes(message.key),
        message.createRevision,
        message.modRevision,
        message.version,
        value,
        2,
        value.length - 2,
        message.lease,
      ),
  );
  const wanted = gen.KeyValue.encode(message);
  same(ours, wanted);
  const view = new hot.KeyValueView();
  view.parse(wanted);
  assert.equal(view.key(wanted), keyFromBytes(message.key));
  assert.deepEqual(view.value(wanted), message.value);
  for (const field of ['createRevision', 'modRevision', 'version', 'lease'] as const) {
    assert.equal(view[field], message[field], field);
  }
});

property('a stored record without its value', (random) => {
  const message = randomRecord(random);
  const stored = Buffer.concat([random.bytes(2), gen.KeyValue.encode(message), random.bytes(2)]);
  const end = stored.length - 2;
  const ours = written(hot.keyValueWithoutValueSize(stored, 2, end), (target, at) =>
    hot.writeKeyValueWithoutValue(target, at, stored, 2, end),
  );
  same(ours, gen.KeyValue.encode(Object.assign(message, { value: EMPTY })));
});

property('a put response', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const prevKv = random.chance(0.5) ? randomRecord(random) : null;
  const previous = prevKv === null ? null : gen.KeyValue.encode(prevKv);
  const ours = written(hot.putResponseSize(template, revision, term, previous), (target, at) =>
    hot.writePutResponse(target, at, template, revision, term, previous),
  );
  same(ours, gen.PutResponse.encode(gen.PutResponse.create({ header: message, prevKv })));
});

property('a range response', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const kvs: gen.KeyValue[] = [];
  for (let left = random.below(5); left > 0; left--) kvs.push(randomRecord(random));
  const records = kvs.map((kv) => gen.KeyValue.encode(kv));
  const keysOnly = random.chance(0.5);
  const more = random.chance(0.5);
  const count = random.below(1000);
  const headSize = template.size(revision, term);
  const ours = written(headSize + hot.rangeBodySize(records, records.length, keysOnly, more, count), (target, at) =>
    hot.writeRangeBody(
      target,
      template.write(target, at, revision, term),
      records,
      records.length,
      keysOnly,
      more,
      count,
    ),
  );
  if (keysOnly) for (const kv of kvs) kv.value = EMPTY;
  same(ours, gen.RangeResponse.encode(gen.RangeResponse.create({ header: message, kvs, more, count })));
});

property('a range response of one record', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const kv = randomRecord(random);
  const record = gen.KeyValue.encode(kv);
  const ours = written(hot.singleRangeResponseSize(template, revision, term, record), (target, at) =>
    hot.writeSingleRangeResponse(target, at, template, revision, term, record),
  );
  same(ours, gen.RangeResponse.encode(gen.RangeResponse.create({ header: message, kvs: [kv], count: 1 })));
});

property('a delete response', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const prevKvs: gen.KeyValue[] = [];
  for (let left = random.below(4); left > 0; left--) prevKvs.push(randomRecord(random));
  const previous = prevKvs.map((kv) => gen.KeyValue.encode(kv));
  const deleted = random.below(5);
  const ours = written(template.size(revision, term) + hot.deleteRangeBodySize(deleted, previous), (target, at) =>
    hot.writeDeleteRangeBody(target, template.write(target, at, revision, term), deleted, previous),
  );
  same(ours, gen.DeleteRangeResponse.encode(gen.DeleteRangeResponse.create({ header: message, deleted, prevKvs })));
});

property('a keep-alive response', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const id = randomId(random);
  const ttl = random.below(300);
  const ours = written(hot.keepAliveResponseSize(template, revision, term, id, ttl), (target, at) =>
    hot.writeKeepAliveResponse(target, at, template, revision, term, id, ttl),
  );
  same(
    ours,
    gen.LeaseKeepAliveResponse.encode(gen.LeaseKeepAliveResponse.create({ header: message, ID: id, TTL: ttl })),
  );
});

property('a watch response from head and events', (random) => {
  const { template, revision, term, message } = randomHeader(random);
  const watchId = random.chance(0.5) ? random.below(300) : -1;
  const fragment = random.chance(0.5);
  const parts = [
    written(hot.watchHeadSize(template, revision, term, watchId, fragment), (target, at) =>
      hot.writeWatchHead(target, at, template, revision, term, watchId, fragment),
    ),
  ];
  const events: gen.Event[] = [];
  for (let left = random.below(4); left > 0; left--) {
    const deleted = random.chance(0.5);
    const kv = randomRecord(random);
    const prevKv = random.chance(0.5) ? Object.assign(randomRecord(random), { version: 1 }) : null;
    events.push(gen.Event.create({ type: deleted ? gen.EventType.DELETE : gen.EventType.PUT, kv, prevKv }));
    const record = gen.KeyValue.encode(kv);
    const previous = prevKv === null ? null : gen.KeyValue.encode(prevKv);
    const size = hot.eventFieldSize(deleted, record.length, previous === null ? 0 : previous.length);
    parts.push(written(size, (target, at) => hot.writeEventField(target, at, deleted, record, previous)));
  }
  const whole = gen.WatchResponse.create({ header: message, watchId, fragment, events });
  same(Buffer.concat(parts), gen.WatchResponse.encode(whole));
});

property('entries and log records', (random) => {
  const entry = randomMessage(gen.Entry, random);
  const ours = written(hot.entrySize(entry.term, entry.index, entry.data.length), (target, at) =>
    hot.writeEntry(target, at, entry.type, entry.term, entry.index, entry.data, 0, entry.data.length),
  );
  same(ours, gen.Entry.encode(entry));
  const record = gen.WalRecord.create({ type: random.below(6), crc: random.u32(), data: randomBytes(random) });
  const bytes = written(hot.walRecordSize(record.crc, record.data.length), (target, at) =>
    hot.writeWalRecord(target, at, record.type, record.crc, record.data, 0, record.data.length),
  );
  same(bytes, gen.WalRecord.encode(record));
});

const BODIES = [
  [hot.RaftRequestField.Put, gen.PutRequest, 'put'],
  [hot.RaftRequestField.Txn, gen.TxnRequest, 'txn'],
  [hot.RaftRequestField.LeaseCheckpoint, gen.LeaseCheckpointRequest, 'leaseCheckpoint'],
  [hot.RaftRequestField.AuthUserAdd, gen.AuthUserAddRequest, 'authUserAdd'],
  [hot.RaftRequestField.ClusterVersionSet, gen.ClusterVersionSetRequest, 'clusterVersionSet'],
] as const;

property('a log entry around a request', (random) => {
  const [field, type, name] = random.pick(BODIES);
  const body = randomMessage<object>(type as never, random);
  const encoded = Buffer.concat([random.bytes(2), type.encode(body as never), random.bytes(2)]);
  const id = randomId(random);
  const username = random.pick(['', 'root', 'Jürgen']);
  const authRevision = random.below(3);
  const end = encoded.length - 2;
  const ours = hot.writeRaftRequest(field, encoded, 2, end, u64High(id), u64Low(id), username, authRevision);
  const header = gen.RequestHeader.create({ ID: id, username, authRevision });
  same(ours, gen.InternalRaftRequest.encode(gen.InternalRaftRequest.create({ header, [name]: body })));
  const view = new hot.RaftRequestView();
  view.parse(ours);
  assert.equal(view.field, field);
  same(ours.subarray(view.bodyStart, view.bodyEnd), encoded.subarray(2, end));
  assert.equal(u64FromHalves(view.idHigh, view.idLow), id);
  assert.equal(view.username, username);
  assert.equal(view.authRevision, authRevision);
});

test('goal: requests of version 2 are known, bare and wrapped; method: one of each', () => {
  const view = new hot.RaftRequestView();
  for (const method of ['PUT', 'POST', 'DELETE', 'QGET', 'SYNC']) {
    const request = gen.V2Request.create({ ID: '3a8ca8bfb9ef9a01', method, path: '/0/version', val: '3.5.0' });
    const bare = gen.V2Request.encode(request);
    view.parse(bare);
    assert.equal(view.field, hot.RaftRequestField.V2, method);
    assert.deepEqual(gen.V2Request.decode(bare, view.bodyStart, view.bodyEnd), request);
    assert.equal(u64FromHalves(view.idHigh, view.idLow), request.ID);
    const wrapped = gen.InternalRaftRequest.encode(gen.InternalRaftRequest.create({ ID: request.ID, v2: request }));
    view.parse(wrapped);
    assert.equal(view.field, hot.RaftRequestField.V2);
    assert.deepEqual(gen.V2Request.decode(wrapped, view.bodyStart, view.bodyEnd), request);
    assert.equal(u64FromHalves(view.idHigh, view.idLow), request.ID);
  }
  view.parse(EMPTY);
  assert.equal(view.field, hot.RaftRequestField.None);
  view.parse(gen.InternalRaftRequest.encode(gen.InternalRaftRequest.create({ put: new gen.PutRequest() })));
  assert.equal(view.field, hot.RaftRequestField.Put);
  assert.equal(view.bodyStart, view.bodyEnd);
});

test('goal: every field of InternalRaftRequest has its constant', () => {
  const wanted = new Set<number>(Object.values(hot.RaftRequestField));
  for (const [name, value] of Object.entries(gen.InternalRaftRequest.zero)) {
    if (value !== null || name === 'header') continue;
    const constant = name === 'v2' ? 'V2' : name.charAt(0).toUpperCase() + name.slice(1);
    assert.ok(constant in hot.RaftRequestField, constant);
  }
  assert.equal(wanted.size, Object.keys(hot.RaftRequestField).length);
});
