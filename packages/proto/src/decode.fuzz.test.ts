import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyFromBytes, Prng, u64FromHalves } from '@etsd/base';
import * as gen from './gen/index.ts';
import * as hot from './hot/index.ts';
import type { MessageClass } from './methods.ts';
import { isMessageClass, randomMessage } from './testing/schema.ts';
import { ProtoError } from './wire.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const ROUNDS = Number(process.env['ROUNDS'] ?? 150);
const classes = (Object.values(gen) as unknown[]).filter(isMessageClass);

/** Bytes that are nearly, or not at all, a message of this class. */
function hostile(each: MessageClass<object>, random: Prng): Buffer {
  if (random.chance(0.2)) return random.bytes(random.below(40));
  const bytes = Buffer.from(each.encode(randomMessage(each, random)));
  if (random.chance(0.3)) return bytes.subarray(0, random.below(bytes.length + 1));
  for (let changes = random.between(1, 4); changes > 0 && bytes.length > 0; changes--) {
    bytes[random.below(bytes.length)] = random.chance(0.3) ? 0xff : random.below(256);
  }
  if (random.chance(0.2)) return Buffer.concat([bytes, random.bytes(random.below(10))]);
  return bytes;
}

/** The outcome of a decoder, with the only error it may have. */
function attempt<T>(decode: () => T): T | 'refused' {
  try {
    return decode();
  } catch (error) {
    if (error instanceof ProtoError) return 'refused';
    throw error;
  }
}

/**
 * The message between two stretches of 0x00 and then of 0xff: a decoder that looks beside its range sees different
 * bytes, and gives different answers.
 */
function surroundings(bytes: Buffer): [Buffer, Buffer] {
  return [
    Buffer.concat([Buffer.alloc(16, 0), bytes, Buffer.alloc(16, 0)]),
    Buffer.concat([Buffer.alloc(16, 0xff), bytes, Buffer.alloc(16, 0xff)]),
  ];
}

test('goal: decoders return or throw ProtoError, and look at nothing but their range; method: hostile bytes', (t) => {
  t.diagnostic(`SEED=${seed} ROUNDS=${ROUNDS}`);
  const random = new Prng(seed);
  let refused = 0;
  for (const each of classes) {
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = hostile(each, random);
      const context = `${each.typeName} ${bytes.toString('hex')} SEED=${seed}`;
      const [zeros, ones] = surroundings(bytes);
      const first = attempt(() => each.decode(zeros, 16, 16 + bytes.length));
      const second = attempt(() => each.decode(ones, 16, 16 + bytes.length));
      assert.deepEqual(first, second, context);
      if (first === 'refused') refused++;
      else each.decode(each.encode(first as object));
    }
  }
  assert.ok(refused > classes.length, 'the bytes were not hostile enough');
});

/** One view beside the generated class; the view's content in the same words. */
interface Pair {
  type: MessageClass<object>;
  view: (bytes: Buffer, start: number, end: number) => unknown;
  message: (message: never) => unknown;
}

const put = new hot.PutRequestView();
const range = new hot.RangeRequestView();
const remove = new hot.DeleteRangeRequestView();
const record = new hot.KeyValueView();

const PAIRS: Pair[] = [
  {
    type: gen.PutRequest as never,
    view: (bytes, start, end) => {
      put.parse(bytes, start, end);
      const value = keyFromBytes(bytes, put.valueStart, put.valueEnd);
      return [put.key(bytes), value, put.lease, put.prevKv, put.ignoreValue, put.ignoreLease];
    },
    message: (m: gen.PutRequest) => [
      keyFromBytes(m.key),
      keyFromBytes(m.value),
      m.lease,
      m.prevKv,
      m.ignoreValue,
      m.ignoreLease,
    ],
  },
  {
    type: gen.RangeRequest as never,
    view: (bytes, start, end) => {
      range.parse(bytes, start, end);
      return [range.key(bytes), range.rangeEnd(bytes), range.limit, range.revision, range.sortTarget, range.keysOnly];
    },
    message: (m: gen.RangeRequest) => [
      keyFromBytes(m.key),
      keyFromBytes(m.rangeEnd),
      m.limit,
      m.revision,
      m.sortTarget,
      m.keysOnly,
    ],
  },
  {
    type: gen.DeleteRangeRequest as never,
    view: (bytes, start, end) => {
      remove.parse(bytes, start, end);
      return [remove.key(bytes), remove.rangeEnd(bytes), remove.prevKv];
    },
    message: (m: gen.DeleteRangeRequest) => [keyFromBytes(m.key), keyFromBytes(m.rangeEnd), m.prevKv],
  },
  {
    type: gen.KeyValue as never,
    view: (bytes, start, end) => {
      record.parse(bytes, start, end);
      return [record.key(bytes), record.createRevision, record.version, record.lease, record.value(bytes).toString()];
    },
    message: (m: gen.KeyValue) => [keyFromBytes(m.key), m.createRevision, m.version, m.lease, m.value.toString()],
  },
];

test('goal: views accept, refuse and see exactly what the generated classes do; method: hostile bytes', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  for (const pair of PAIRS) {
    for (let round = 0; round < ROUNDS * 10; round++) {
      const bytes = hostile(pair.type, random);
      const context = `${pair.type.typeName} ${bytes.toString('hex')} SEED=${seed}`;
      for (const around of surroundings(bytes)) {
        const viewed = attempt(() => pair.view(around, 16, 16 + bytes.length));
        const decoded = attempt(() => pair.message(pair.type.decode(bytes) as never));
        assert.deepEqual(viewed, decoded, context);
      }
    }
  }
});

test('goal: the view of a log entry returns or throws ProtoError and stays inside; method: hostile bytes', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  const view = new hot.RaftRequestView();
  for (let round = 0; round < ROUNDS * 20; round++) {
    const type = random.chance(0.2) ? gen.V2Request : gen.InternalRaftRequest;
    const bytes = hostile(type as never, random);
    if (attempt(() => view.parse(bytes)) === 'refused') continue;
    assert.ok(view.bodyStart >= 0 && view.bodyStart <= view.bodyEnd && view.bodyEnd <= bytes.length);
    assert.equal(u64FromHalves(view.idHigh, view.idLow).length, 16);
  }
});

test('goal: time grows with the length of the input only; method: the costliest short patterns, a million times', () => {
  const patterns = ['2a00', '12020a00', '1a00', '7801', '2a022200', '800100', 'a20600'];
  for (const pattern of patterns) {
    const unit = Buffer.from(pattern, 'hex');
    const bytes = Buffer.alloc(unit.length * 100_000, unit);
    const started = process.cpuUsage().user;
    for (const each of [gen.TxnRequest, gen.InternalRaftRequest, gen.WatchResponse, gen.Message]) {
      attempt(() => each.decode(bytes) as object);
    }
    const spentMs = (process.cpuUsage().user - started) / 1000;
    assert.ok(spentMs < 4000, `${pattern}: ${spentMs} ms`);
  }
});
