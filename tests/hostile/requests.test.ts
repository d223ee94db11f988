import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, type Message } from '../support/client.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { assertAlive, PRODUCT, skip, skipOnEtcd } from './target.ts';

let server: TestServer;
let client: Client;

before(async () => {
  if (skip !== false) return;
  server = await startServer({ product: PRODUCT });
  client = new Client(server.address);
});

after(async () => {
  client?.close();
  await server?.dispose();
});

const puts = (count: number): Message[] =>
  Array.from({ length: count }, (_unused, index) => ({ request_put: { key: Buffer.from(`key${index}`) } }));

// Goal: each of these is refused with etcd's code and text, and the server goes on.
const REFUSED: [string, string, Message, number, string][] = [
  ['a put of a key of zero length', 'KV/Put', { value: Buffer.from('v') }, 3, 'etcdserver: key is not provided'],
  ['a range over a key of zero length', 'KV/Range', {}, 3, 'etcdserver: key is not provided'],
  ['129 operations', 'KV/Txn', { success: puts(129) }, 3, 'etcdserver: too many operations in txn request'],
  [
    'the same key twice',
    'KV/Txn',
    { success: [...puts(2), ...puts(1)] },
    3,
    'etcdserver: duplicate key given in txn request',
  ],
  [
    'a request over the limit for requests',
    'KV/Put',
    { key: Buffer.from('big'), value: Buffer.alloc(1_600_000) },
    3,
    'etcdserver: request is too large',
  ],
  [
    'a request of 2 MiB, over the limit for messages',
    'KV/Put',
    { key: Buffer.from('big'), value: Buffer.alloc(2 * 1024 * 1024) },
    8,
    'grpc: received message larger than max (2097162 vs. 2097152)',
  ],
  ['an unknown lease', 'KV/Put', { key: Buffer.from('k'), lease: '77' }, 5, 'etcdserver: requested lease not found'],
  ['a lease for ever', 'Lease/LeaseGrant', { TTL: '9000000001' }, 11, 'etcdserver: too large lease TTL'],
];

for (const [name, method, request, code, message] of REFUSED) {
  test(`${name} is refused with etcd's words`, { skip }, async () => {
    assert.deepEqual(await client.call(method, request), { code, message, response: null });
    await assertAlive(server);
  });
}

test('128 operations are allowed', { skip }, async () => {
  assert.equal((await client.call('KV/Txn', { success: puts(128) })).code, 0);
});

// Goal: what is not a message of the schema ends the call, not the server.
test('bytes that are no message are refused', { skip }, async () => {
  const broken = ['0a', '0aff', '0affffffffff', '0b0c', '00', '08ffffffffffffffffffff01', '0a05616263'];
  for (const hex of broken) {
    const outcome = await client.callRaw('/etcdserverpb.KV/Range', Buffer.from(hex, 'hex'));
    assert.notEqual(outcome.code, 0, `0x${hex} was accepted`);
  }
  await assertAlive(server);
});

test('unknown services and methods are Unimplemented', { skip }, async () => {
  const service = await client.callRaw('/no.such.Service/Method', Buffer.alloc(0));
  assert.deepEqual([service.code, service.message], [12, 'unknown service no.such.Service']);
  const method = await client.callRaw('/etcdserverpb.KV/NoSuch', Buffer.alloc(0));
  assert.deepEqual([method.code, method.message], [12, 'unknown method NoSuch for service etcdserverpb.KV']);
});

// Goal: a message that nests deeply must not use up the stack of whoever decodes it.
test('a transaction nested ten thousand deep does not end the server', { skip }, async () => {
  let nested: Buffer = Buffer.alloc(0);
  for (let depth = 0; depth < 10_000; depth++) nested = field(2, field(4, nested));
  const outcome = await client.callRaw('/etcdserverpb.KV/Txn', nested);
  assert.notEqual(outcome.code, 0);
  await assertAlive(server);
});

// Goal: two requests that end etcd 3.5.30 (found by the differential test) get an answer.
test('a sort target outside the enumeration is an error', { skip: skipOnEtcd }, async () => {
  const outcome = await client.call('KV/Range', { key: Buffer.from('a'), range_end: Buffer.from('z'), sort_target: 9 });
  assert.deepEqual([outcome.code, outcome.message], [3, 'etcdserver: invalid sort option']);
  await assertAlive(server);
});

test('keeping the value of a key which the same txn deletes over an open range', { skip: skipOnEtcd }, async () => {
  await client.expect('KV/Put', { key: Buffer.from('zz'), value: Buffer.from('v') });
  const outcome = await client.call('KV/Txn', {
    success: [
      { request_delete_range: { key: Buffer.from('zy'), range_end: Buffer.from([0]) } },
      { request_put: { key: Buffer.from('zz'), ignore_value: true } },
    ],
  });
  assert.equal(outcome.code, 3, outcome.message);
  // It was refused as a whole: the key is still there.
  assert.equal((await client.expect('KV/Range', { key: Buffer.from('zz') }))['count'], '1');
  await assertAlive(server);
});

/** A length-delimited field of the wire format. */
function field(number: number, content: Buffer): Buffer {
  const head: number[] = [(number << 3) | 2];
  let length = content.length;
  while (length > 127) {
    head.push((length & 127) | 128);
    length >>>= 7;
  }
  head.push(length);
  return Buffer.concat([Buffer.from(head), content]);
}
