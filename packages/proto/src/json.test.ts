import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import * as gen from './gen/index.ts';
import { jsonToMessage, messageToJson } from './json.ts';
import { METHODS } from './methods.ts';
import { randomMessage } from './testing/schema.ts';
import { ProtoError } from './wire.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));

test("goal: output as etcd's gateway gives it; method: answers seen on a wire", () => {
  const header = gen.ResponseHeader.create({
    clusterId: '70f9cf875eabdc0b',
    memberId: '02943212f5e2cf73',
    revision: 3,
    raftTerm: 2,
  });
  const kv = gen.KeyValue.create({
    key: Buffer.from('foo'),
    value: Buffer.from('bar'),
    createRevision: 2,
    modRevision: 2,
    version: 1,
  });
  assert.deepEqual(messageToJson(gen.PutResponse, gen.PutResponse.create({ header, prevKv: kv })), {
    header: { cluster_id: '8140765981764738059', member_id: '185828541645115251', revision: '3', raft_term: '2' },
    prev_kv: { key: 'Zm9v', create_revision: '2', mod_revision: '2', version: '1', value: 'YmFy' },
  });
  assert.deepEqual(
    messageToJson(gen.HashKVResponse, gen.HashKVResponse.create({ hash: 1986829999, compactRevision: 3 })),
    {
      hash: 1986829999,
      compact_revision: '3',
    },
  );
  const lease = gen.LeaseGrantResponse.create({ ID: 'ffffffffffffffff', TTL: 60 });
  assert.deepEqual(messageToJson(gen.LeaseGrantResponse, lease), { ID: '-1', TTL: '60' });
  assert.deepEqual(messageToJson(gen.AlarmMember, gen.AlarmMember.create({ alarm: 1 })), { alarm: 'NOSPACE' });
  assert.deepEqual(messageToJson(gen.AlarmMember, gen.AlarmMember.create({ alarm: 99 })), { alarm: 99 });
  assert.deepEqual(messageToJson(gen.Compare, gen.Compare.create({ version: 0 })), { version: '0' });
  assert.deepEqual(messageToJson(gen.DefragmentResponse, new gen.DefragmentResponse()), {});
});

test('goal: input in all forms: both spellings, numbers or strings, both alphabets of base64, names or numbers', () => {
  const text = `{"compare":[{"result":"EQUAL","target":1,"key":"Zm9v","createRevision":"2"}],
    "success":[{"requestPut":{"key":"_-8","lease":7587848390480000001}},{"request_range":{"key":"Zm9v=","limit":5}}],
    "failure":null,"nobody":{"knows":1}}`.replace('Zm9v=', 'Zm9v');
  const txn = jsonToMessage(gen.TxnRequest, text);
  assert.equal(txn.compare[0]?.createRevision, 2);
  assert.equal(txn.compare[0]?.target, gen.CompareTarget.CREATE);
  assert.equal(txn.success[0]?.requestPut?.key.toString('hex'), 'ffef');
  assert.equal(txn.success[0]?.requestPut?.lease, 7587848390480000001n.toString(16));
  assert.equal(txn.success[1]?.requestRange?.limit, 5);
  assert.equal(txn.failure.length, 0);
  assert.equal(jsonToMessage(gen.LeaseRevokeRequest, '{"ID":"-1"}').ID, 'ffffffffffffffff');
  assert.deepEqual(jsonToMessage(gen.StatusRequest, '{}'), new gen.StatusRequest());
});

test('goal: wrong input is refused with the field and the value', () => {
  const cases: [string, RegExp][] = [
    ['{"key":"!!!"}', /invalid value for bytes field key: "!!!"/],
    ['{"key":"abcde"}', /bytes field key/],
    ['{"key":5}', /bytes field key: 5/],
    ['{"limit":"many"}', /invalid value for int64 field limit: "many"/],
    ['{"limit":1.5}', /int64 field limit: 1.5/],
    ['{"limit":"99999999999999999999"}', /int64 field limit/],
    ['{"sort_order":"UP"}', /enum field sort_order: "UP"/],
    ['{"serializable":"yes"}', /bool field serializable: "yes"/],
    ['[]', /unexpected token/],
    ['null', /unexpected token/],
    ['b', /JSON/],
    ['', /JSON/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => jsonToMessage(gen.RangeRequest, text),
      (error) => error instanceof ProtoError && message.test(error.message),
      text,
    );
  }
  assert.throws(() => jsonToMessage(gen.TxnRequest, '{"compare":{}}'), ProtoError);
  assert.throws(() => jsonToMessage(gen.Compare, '{"version":"1","mod_revision":"2"}'), /already set/);
  const deep = `${'{"success":[{"request_txn":'.repeat(200)}{}${'}]}'.repeat(200)}`;
  assert.throws(() => jsonToMessage(gen.TxnRequest, deep), /too deep/);
});

test('goal: requests and responses survive JSON; method: random messages of every RPC', (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Prng(seed);
  for (const info of METHODS) {
    for (const type of [info.request, info.response]) {
      for (let round = 0; round < 15; round++) {
        const message = randomMessage(type, random);
        const text = JSON.stringify(messageToJson(type, message));
        assert.deepEqual(jsonToMessage(type, text), message, `${type.typeName} ${text} SEED=${seed}`);
      }
    }
  }
});
