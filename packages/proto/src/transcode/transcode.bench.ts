/**
 * Nanoseconds a message to or from JSON, the mapping over objects beside it:
 *
 *   node packages/proto/src/transcode/transcode.bench.ts [milliseconds per row]
 *
 * Each row prints a sum over its results, so that nobody makes it faster by computing something else.
 */
import { Prng } from '@etsd/base';
import * as gen from '../gen/index.ts';
import { jsonToMessage, messageToJson } from '../json.ts';
import { jsonToWire } from './json-to-wire.ts';
import { planOf } from './plan.ts';
import { SPACED, wireToJson } from './wire-to-json.ts';

const budgetMs = Number(process.argv[2] ?? 200);
const random = new Prng(1);
const key = Buffer.from('/registry/pods/default/pod-1-abcdef');
const value = random.bytes(256);
const header = gen.ResponseHeader.create({
  clusterId: 'dcb73ccb4154c224',
  memberId: 'f7875276d5273a18',
  revision: 123_456,
  raftTerm: 3,
});

function kv(index: number): gen.KeyValue {
  return gen.KeyValue.create({ key, value, createRevision: 1000 + index, modRevision: 123_456, version: 7 });
}

function bench(name: string, operation: () => number): void {
  let sum = 0;
  for (let round = 0; round < 200; round++) sum = (sum + operation()) % 1_000_003;
  let rounds = 0;
  const started = process.hrtime.bigint();
  let elapsedNs = 0;
  while (elapsedNs < budgetMs * 1e6) {
    for (let round = 0; round < 100; round++) sum = (sum + operation()) % 1_000_003;
    rounds += 100;
    elapsedNs = Number(process.hrtime.bigint() - started);
  }
  console.log(`${name.padEnd(44)} ${(elapsedNs / rounds).toFixed(0).padStart(8)} ns   (${sum})`);
}

function rows(name: string, type: typeof gen.PutRequest | typeof gen.RangeResponse, message: object): void {
  const plan = planOf(type.typeName);
  const bytes = (type as typeof gen.PutRequest).encode(message as gen.PutRequest);
  const text = wireToJson(plan, bytes, SPACED);
  const body = Buffer.from(text);
  bench(`${name}: JSON to wire`, () => jsonToWire(plan, body).length);
  bench(`${name}: the same over objects`, () => {
    const parsed = jsonToMessage(type as typeof gen.PutRequest, body.toString());
    return gen.PutRequest.encode(parsed).length;
  });
  bench(`${name}: wire to JSON`, () => wireToJson(plan, bytes, SPACED).length);
  bench(`${name}: the same over objects`, () => {
    const read = (type as typeof gen.PutRequest).decode(bytes);
    return JSON.stringify(messageToJson(type, read)).length;
  });
}

rows('put', gen.PutRequest, gen.PutRequest.create({ key, value }));
const kvs = Array.from({ length: 100 }, (_, index) => kv(index));
const range = gen.RangeResponse.create({ header, kvs, count: 100 });
const plan = planOf(gen.RangeResponse.typeName);
const bytes = gen.RangeResponse.encode(range);
bench('range of 100: wire to JSON', () => wireToJson(plan, bytes, SPACED).length);
bench('range of 100: the same over objects', () => {
  return JSON.stringify(messageToJson(gen.RangeResponse, gen.RangeResponse.decode(bytes))).length;
});
const one = gen.RangeResponse.encode(gen.RangeResponse.create({ header, kvs: [kv(1)], count: 1 }));
bench('range of 1: wire to JSON', () => wireToJson(plan, one, SPACED).length);
