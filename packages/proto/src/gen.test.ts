import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { loadSync } from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import { describe } from './descriptor.ts';
import * as gen from './gen/index.ts';
import { findMethod, METHODS, type MessageClass } from './methods.ts';
import { classNameOf, isMessageClass, loadSchema, randomMessage, toReference } from './testing/schema.ts';
import { ProtoError } from './wire.ts';

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const tree = loadSchema();
const classes = (Object.values(gen) as unknown[]).filter(isMessageClass);

function referenceType(each: MessageClass<object>): protobuf.Type {
  return tree.lookupType(each.typeName);
}

/** What protobufjs makes of the bytes, with 64-bit numbers as decimal text. */
function referenceDecode(type: protobuf.Type, bytes: Buffer): object {
  return type.toObject(type.decode(bytes), { longs: String, defaults: true, arrays: true, oneofs: false });
}

test('goal: every message of the schema has its class', () => {
  const names = new Set(classes.map((each) => each.typeName));
  const missing: string[] = [];
  const visit = (node: protobuf.NamespaceBase): void => {
    for (const child of node.nestedArray) {
      if (child instanceof protobuf.Type && !child.fullName.startsWith('.google')) {
        if (!names.has(child.fullName.slice(1))) missing.push(child.fullName);
        assert.ok(classNameOf(child) in gen, classNameOf(child));
      }
      if (child instanceof protobuf.Namespace) visit(child);
    }
  };
  visit(tree);
  assert.deepEqual(missing, []);
});

test('goal: the fields as data are those of the class', () => {
  for (const each of classes) {
    const fields = describe(each.typeName);
    assert.deepEqual(fields.map((field) => field.name).sort(), Object.keys(new each()).sort(), each.typeName);
    for (const field of fields) if (field.message !== null) describe(field.message);
  }
  assert.equal(describe('etcdserverpb.RangeRequest')[1]?.schemaName, 'range_end');
  assert.throws(() => describe('nothing'), RangeError);
});

test('goal: any message survives our writer and our reader; method: random messages of every class', (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  for (const each of classes) {
    for (let round = 0; round < 40; round++) {
      const message = randomMessage(each, random);
      const bytes = each.encode(message);
      assert.equal(bytes.length, each.size(message), `${each.typeName} size, seed ${seed}`);
      assert.deepEqual(each.decode(bytes), message, `${each.typeName}, seed ${seed}`);
      const padded = Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(2, 0xff)]);
      assert.deepEqual(each.decode(padded, 3, 3 + bytes.length), message, `${each.typeName} inside, seed ${seed}`);
    }
  }
});

test('goal: an independent codec reads what we write and we read what it writes; method: protobufjs', (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = new Prng(seed);
  for (const each of classes) {
    const type = referenceType(each);
    for (let round = 0; round < 20; round++) {
      const message = randomMessage(each, random);
      const plain = toReference(type, message);
      const theirs = Buffer.from(type.encode(type.fromObject(plain)).finish());
      assert.deepEqual(
        referenceDecode(type, each.encode(message)),
        referenceDecode(type, theirs),
        `${each.typeName}, seed ${seed}`,
      );
      assert.deepEqual(each.decode(theirs), message, `${each.typeName} from reference, seed ${seed}`);
    }
  }
});

test('goal: fields may come in any order, repeated, and unknown ones are passed over (protobuf encoding guide)', () => {
  const request = gen.PutRequest.decode(Buffer.from('20010a01617a0301020312017a0a0162a21f0461626364', 'hex'));
  assert.equal(request.key.toString(), 'b', 'the last value of a repeated scalar counts');
  assert.equal(request.value.toString(), 'z');
  assert.equal(request.prevKv, true);
});

test('goal: parts of one sub-message are merged, and the last member of a oneof wins', () => {
  const response = gen.PutResponse.decode(Buffer.from('0a0218070a022002', 'hex'));
  assert.equal(response.header?.revision, 7);
  assert.equal(response.header?.raftTerm, 2);
  const compare = gen.Compare.decode(Buffer.from('200528063a00', 'hex'));
  assert.equal(compare.version, null);
  assert.equal(compare.createRevision, null);
  assert.equal(compare.value?.length, 0);
  const operation = gen.RequestOp.decode(Buffer.from('0a0012030a0161', 'hex'));
  assert.equal(operation.requestRange, null);
  assert.equal(operation.requestPut?.key.toString(), 'a');
});

test('goal: negative numbers take ten bytes and come back; numbers beyond 2^53 stay ordered', () => {
  const negative = gen.RangeRequest.encode(gen.RangeRequest.create({ limit: -1 }));
  assert.equal(negative.toString('hex'), '18ffffffffffffffffff01');
  for (const value of [-1, -2, -(2 ** 31), -(2 ** 32) - 5, -(2 ** 53), -(2 ** 63), 2 ** 53, 2 ** 62, 2 ** 40 + 1]) {
    const bytes = gen.RangeRequest.encode(gen.RangeRequest.create({ revision: value }));
    assert.equal(gen.RangeRequest.decode(bytes).revision, value);
  }
  const largest = gen.RangeRequest.decode(Buffer.from('20ffffffffffffffff7f', 'hex'));
  assert.equal(largest.revision, 2 ** 63);
  assert.equal(gen.RangeRequest.encode(largest).toString('hex'), '20ffffffffffffffff7f');
});

test('goal: malformed input is a ProtoError; method: one example of each kind', () => {
  const cases: Record<string, string> = {
    'value missing': '0a',
    'length beyond the end': '0a0561',
    'varint cut': '18ff',
    'varint of eleven bytes': '18ffffffffffffffffffff01',
    'varint of more than 64 bits': '18ffffffffffffffffff02',
    'field number zero': '0200',
    'tag of more than 32 bits': 'ffffffffff0f00',
    'start of group': '7b',
    'end of group': '7c',
    'wire type six': '7e',
    'wire type seven': '7f',
    'cut fixed64': '790000',
    'cut fixed32': '7d0000',
    'length of 2^63': '0affffffffffffffffff01',
  };
  for (const [name, hex] of Object.entries(cases)) {
    assert.throws(() => gen.RangeRequest.decode(Buffer.from(hex, 'hex')), ProtoError, name);
  }
  assert.throws(
    () => gen.RangeRequest.decode(Buffer.from('0a01', 'hex'), 0, 9),
    ProtoError,
    'range outside the buffer',
  );
});

test('goal: nesting is bounded; method: a transaction in a transaction, and so on', () => {
  const nest = (levels: number): Buffer => {
    let bytes = Buffer.alloc(0);
    for (let level = 0; level < levels; level++) {
      const operation = gen.RequestOp.create({ requestTxn: new gen.TxnRequest() });
      const head = gen.RequestOp.encode(operation).subarray(0, 1);
      const inner = Buffer.concat([head, lengthOf(bytes), bytes]);
      bytes = Buffer.concat([Buffer.from([0x12]), lengthOf(inner), inner]);
    }
    return bytes;
  };
  const lengthOf = (bytes: Buffer): Buffer => {
    const target = Buffer.alloc(10);
    let rest = bytes.length;
    let at = 0;
    for (; rest >= 0x80; rest >>>= 7) target[at++] = (rest & 0x7f) | 0x80;
    target[at++] = rest;
    return target.subarray(0, at);
  };
  assert.ok(gen.TxnRequest.decode(nest(40)).success.length === 1);
  assert.throws(() => gen.TxnRequest.decode(nest(60)), ProtoError);
  assert.throws(() => gen.TxnRequest.decode(nest(2_000)), ProtoError);
});

test('goal: the RPC table and the services of the schema say the same', () => {
  const fromSchema: string[] = [];
  const visit = (node: protobuf.NamespaceBase): void => {
    for (const child of node.nestedArray) {
      if (child instanceof protobuf.Service) {
        for (const rpc of child.methodsArray) {
          const kind = rpc.requestStream ? 'bidi' : rpc.responseStream ? 'server-stream' : 'unary';
          const types = `${rpc.resolvedRequestType?.fullName} ${rpc.resolvedResponseType?.fullName}`;
          rpc.resolve();
          fromSchema.push(`/${child.fullName.slice(1)}/${rpc.name} ${kind} ${types}`);
        }
      } else if (child instanceof protobuf.Namespace) visit(child);
    }
  };
  tree.resolveAll();
  visit(tree);
  const fromTable = METHODS.map(
    (info) => `${info.path} ${info.kind} .${info.request.typeName} .${info.response.typeName}`,
  );
  assert.deepEqual(fromTable.sort(), fromSchema.sort());
  assert.equal(findMethod('/etcdserverpb.KV/Put')?.request.typeName, 'etcdserverpb.PutRequest');
  assert.equal(findMethod('/etcdserverpb.KV/Nothing'), undefined);
});

test('goal: the schema serves other implementations; method: load it with @grpc/proto-loader', () => {
  const directory = join(import.meta.dirname, '..', 'schema');
  const files = readdirSync(directory).filter((name) => name.endsWith('.proto'));
  const loaded = loadSync(files, { includeDirs: [directory], keepCase: true, longs: String });
  for (const service of ['etcdserverpb.KV', 'v3lockpb.Lock', 'v3electionpb.Election', 'grpc.health.v1.Health']) {
    assert.ok(service in loaded, service);
  }
});
