/**
 * Nanoseconds an operation of the hot codecs, the generated ones beside them:
 *
 *   node packages/proto/src/hot/hot.bench.ts [milliseconds per row]
 *
 * Each row prints a sum over its results, so that nobody makes it faster by computing something else.
 */
import { EMPTY, keyFromBytes, Prng } from '@etsd/base';
import * as gen from '../gen/index.ts';
import * as hot from './index.ts';

const budgetMs = Number(process.argv[2] ?? 150);
const random = new Prng(1);
const VARIANTS = 64;

function variants<T>(make: (index: number) => T): T[] {
  return Array.from({ length: VARIANTS }, (_, index) => make(index));
}

const value = random.bytes(256);
const keys = variants((index) => Buffer.from(`/registry/pods/default/pod-${index}-abcdef`));
const puts = variants((index) => gen.PutRequest.encode(gen.PutRequest.create({ key: keys[index]!, value })));
const ranges = variants((index) => gen.RangeRequest.encode(gen.RangeRequest.create({ key: keys[index]! })));
const kvs = variants((index) =>
  gen.KeyValue.create({ key: keys[index]!, createRevision: 1000 + index, modRevision: 123_456, version: 7, value }),
);
const records = kvs.map((kv) => gen.KeyValue.encode(kv));
const keyTexts = keys.map((key) => keyFromBytes(key));
const clusterId = 'dcb73ccb4154c224';
const memberId = 'f7875276d5273a18';
const template = new hot.HeaderTemplate(clusterId, memberId);
const header = gen.ResponseHeader.create({ clusterId, memberId, revision: 123_456, raftTerm: 3 });
const entries = puts.map((put) => hot.writeRaftRequest(4, put, 0, put.length, 0x0123_4567, 0x89ab_cdef, '', 0));
const txns = variants((index) =>
  gen.TxnRequest.encode(
    gen.TxnRequest.create({
      compare: [gen.Compare.create({ target: gen.CompareTarget.MOD, key: keys[index]!, modRevision: 1234 })],
      success: [gen.RequestOp.create({ requestPut: gen.PutRequest.create({ key: keys[index]!, value }) })],
      failure: [gen.RequestOp.create({ requestRange: gen.RangeRequest.create({ key: keys[index]! }) })],
    }),
  ),
);
const heartbeatMessage = gen.Message.create({ type: 8, to: clusterId, from: memberId, term: 3, commit: 123_456 });
const heartbeat = gen.Message.encode(heartbeatMessage);
const target = Buffer.alloc(4096);

function bench(name: string, operation: (index: number) => number): void {
  let sum = 0;
  for (let round = 0; round < 20_000; round++) sum = (sum + operation(round & (VARIANTS - 1))) % 1_000_003;
  let rounds = 0;
  const started = process.hrtime.bigint();
  let elapsedNs = 0;
  while (elapsedNs < budgetMs * 1e6) {
    for (let round = 0; round < 10_000; round++) sum = (sum + operation(round & (VARIANTS - 1))) % 1_000_003;
    rounds += 10_000;
    elapsedNs = Number(process.hrtime.bigint() - started);
  }
  console.log(`${name.padEnd(44)} ${(elapsedNs / rounds).toFixed(0).padStart(6)} ns   (${sum})`);
}

const putView = new hot.PutRequestView();
bench('PutRequestView.parse', (i) => {
  const bytes = puts[i] as Buffer;
  putView.parse(bytes, 0, bytes.length);
  return putView.valueEnd;
});
bench('PutRequestView.parse + key()', (i) => {
  const bytes = puts[i] as Buffer;
  putView.parse(bytes, 0, bytes.length);
  return putView.key(bytes).length;
});
bench('  generated PutRequest.decode', (i) => gen.PutRequest.decode(puts[i] as Buffer).value.length);
const rangeView = new hot.RangeRequestView();
bench('RangeRequestView.parse', (i) => {
  const bytes = ranges[i] as Buffer;
  rangeView.parse(bytes, 0, bytes.length);
  return rangeView.keyEnd;
});
bench('  generated RangeRequest.decode', (i) => gen.RangeRequest.decode(ranges[i] as Buffer).key.length);
bench('HeaderTemplate size + write', (i) => {
  return template.size(123_456 + i, 3) + template.write(target, 0, 123_456 + i, 3);
});
bench('put response size + write', (i) => {
  const size = hot.putResponseSize(template, 123_456 + i, 3, null);
  return size + hot.writePutResponse(target, 0, template, 123_456 + i, 3, null);
});
bench('  generated PutResponse.encode', () => gen.PutResponse.encode(gen.PutResponse.create({ header })).length);
bench('single range response size + write', (i) => {
  const record = records[i] as Buffer;
  const size = hot.singleRangeResponseSize(template, 123_456, 3, record);
  return size + hot.writeSingleRangeResponse(target, 0, template, 123_456, 3, record);
});
bench('  generated RangeResponse.encode', (i) => {
  const kv = kvs[i] as gen.KeyValue;
  return gen.RangeResponse.encode(gen.RangeResponse.create({ header, kvs: [kv], count: 1 })).length;
});
bench('keyValueSize + writeKeyValue', (i) => {
  const key = keyTexts[i] as string;
  const size = hot.keyValueSize(key.length, 1000, 123_456, 7, 256, '0000000000000000');
  return size + hot.writeKeyValue(target, 0, key, 1000, 123_456, 7, value, 0, 256, '0000000000000000');
});
bench('encodeKeyValue', (i) => {
  return hot.encodeKeyValue(keyTexts[i] as string, 1000, 123_456, 7, value, 0, 256, '0000000000000000').length;
});
const recordView = new hot.KeyValueView();
bench('KeyValueView.parse', (i) => {
  recordView.parse(records[i] as Buffer);
  return recordView.valueEnd;
});
bench('record without value size + write', (i) => {
  const record = records[i] as Buffer;
  const size = hot.keyValueWithoutValueSize(record, 0, record.length);
  return size + hot.writeKeyValueWithoutValue(target, 0, record, 0, record.length);
});
bench('writeRaftRequest', (i) => {
  const body = puts[i] as Buffer;
  return hot.writeRaftRequest(4, body, 0, body.length, 0x0123_4567, i, '', 0).length;
});
const entryView = new hot.RaftRequestView();
bench('RaftRequestView.parse', (i) => {
  entryView.parse(entries[i] as Buffer);
  return entryView.bodyEnd;
});
bench('  generated InternalRaftRequest.decode', (i) => {
  return (gen.InternalRaftRequest.decode(entries[i] as Buffer).put as gen.PutRequest).value.length;
});
bench('entry size + write', (i) => {
  const data = entries[i] as Buffer;
  return hot.entrySize(3, 123_456, data.length) + hot.writeEntry(target, 0, 0, 3, 123_456, data, 0, data.length);
});
bench('  generated Entry.decode', (i) => {
  const data = entries[i] as Buffer;
  const end = hot.writeEntry(target, 0, 0, 3, 123_456, data, 0, data.length);
  return gen.Entry.decode(target, 0, end).index;
});
bench('event field size + write', (i) => {
  const record = records[i] as Buffer;
  return hot.eventFieldSize(false, record.length, 0) + hot.writeEventField(target, 0, false, record, null);
});
bench('watch head size + write', (i) => {
  const size = hot.watchHeadSize(template, 123_456, 3, i, false);
  return size + hot.writeWatchHead(target, 0, template, 123_456, 3, i, false);
});
bench('generated TxnRequest.decode (1 + 1 + 1)', (i) => gen.TxnRequest.decode(txns[i] as Buffer).compare.length);
bench('generated Message.decode (heartbeat)', () => gen.Message.decode(heartbeat).commit);
bench('generated Message.encode (heartbeat)', () => gen.Message.encode(heartbeatMessage).length);
bench('nothing at all', (i) => EMPTY.length + i);
