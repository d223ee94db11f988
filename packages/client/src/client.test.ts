/** Goal: what a caller is told is what happened, whichever member fails when. Method: scripted members, simulated time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AuthenticateRequest,
  AuthenticateResponse,
  DeleteRangeResponse,
  ErrInvalidAuthToken,
  ErrLeaderChanged,
  GrpcCode,
  KeyValue,
  PutResponse,
  ResponseOp,
} from '@etsd/proto';
import { TIME_MS_MAX, toId } from './checks.ts';
import { EtcdClient } from './client.ts';
import { parseEndpoint } from './endpoints.ts';
import { CanceledError, TimeoutError, UnavailableError } from './errors.ts';
import { prefix, toBytes } from './keys.ts';
import * as methods from './methods.ts';
import { headerAt, Neighbourhood } from './testing/neighbours.ts';
import { get, key, put, remove } from './txn.ts';

const AUTHENTICATE = {
  path: '/etcdserverpb.Auth/Authenticate',
  request: AuthenticateRequest,
  response: AuthenticateResponse,
};

test('endpoints are read as etcd reads them, and mistakes show the right form', () => {
  assert.deepEqual(parseEndpoint('a:1'), { address: { host: 'a', port: 1 }, tls: 'if-configured' });
  assert.deepEqual(parseEndpoint('https://[::1]:2379'), { address: { host: '::1', port: 2379 }, tls: 'always' });
  assert.deepEqual(parseEndpoint('http://a:2379/'), { address: { host: 'a', port: 2379 }, tls: 'never' });
  assert.deepEqual(parseEndpoint('unix:///run/etcd'), { address: { path: '/run/etcd' }, tls: 'if-configured' });
  assert.deepEqual(parseEndpoint('unixs:a'), { address: { path: 'a' }, tls: 'always' });
  for (const wrong of ['', 'a', 'a:b', 'ftp://a:1', 'a:99999', 'http://a', 'a b:1', 'http:// a:1']) {
    assert.throws(() => parseEndpoint(wrong), /one looks like 127\.0\.0\.1:2379/);
  }
});

test('what is neither text nor bytes is refused by name, before anything is sent', () => {
  for (const [wrong, name] of [
    [undefined, 'undefined'],
    [null, 'null'],
    [7, 'number'],
    [{}, 'object'],
  ] as const) {
    const expected = { name: 'TypeError', message: `keys and values are text or bytes; this is ${name}` };
    assert.throws(() => prefix(wrong as never), expected);
    assert.throws(() => get(wrong as never), expected);
    assert.throws(() => put('a', wrong as never), expected);
  }
  assert.deepEqual(toBytes(new Uint8Array([1, 2]).subarray(1)), Buffer.from([2]));
});

test("ids are taken as etcd's tools print them, and nothing else is", () => {
  assert.equal(toId('8eca65457f98811'), '08eca65457f98811');
  assert.equal(toId('8ECA65457F988110'), '8eca65457f988110');
  for (const wrong of ['', 'zz', '0x12', '12345678901234567', 12, null, undefined]) {
    assert.throws(() => toId(wrong as never), {
      name: 'TypeError',
      message: /^ids are 1 to 16 hexadecimal digits; this is/,
    });
    assert.throws(() => put('a', 'b', { lease: (wrong ?? 7) as never }), /ids are 1 to 16 hexadecimal digits/);
  }
});

test('numbers that are none are refused by name, before anything is sent', async () => {
  const endpoints = '127.0.0.1:1';
  for (const wrong of [Number.NaN, -1, Number.POSITIVE_INFINITY, TIME_MS_MAX + 1]) {
    for (const name of [
      'timeoutMs',
      'attemptTimeoutMs',
      'autoSyncMs',
      'dialTimeoutMs',
      'keepaliveMs',
      'keepaliveTimeoutMs',
    ]) {
      assert.throws(() => new EtcdClient({ endpoints, [name]: wrong }), {
        name: 'RangeError',
        message: new RegExp(`^${name} `),
      });
    }
  }
  const both = { endpoints, user: { name: 'a', password: 'b' }, token: 'c' };
  assert.throws(() => new EtcdClient(both), {
    name: 'TypeError',
    message: /a user, who logs in, or a token, not both/,
  });
  await using client = new EtcdClient({ endpoints });
  const refused = (call: Promise<unknown>, message: RegExp) => assert.rejects(call, { name: 'RangeError', message });
  await refused(client.kv.get('a', { timeoutMs: Number.POSITIVE_INFINITY }), /^timeoutMs /);
  await refused(client.kv.get('a', { revision: 1.5 }), /^revision is a whole number; this is 1\.5$/);
  await refused(client.leases.hold(Number.NaN), /^a lease's seconds is a whole number; this is NaN$/);
  assert.throws(
    () => client.kv.compact(undefined as never),
    /^RangeError: revision is a whole number; this is undefined$/,
  );
  assert.throws(() => key('a').version.equals(Number.NaN), /^RangeError: version is a whole number; this is NaN$/);
});

test('a call goes to a member that can be reached, and stays off one that cannot', async () => {
  const around = new Neighbourhood();
  const up = await around.member('up');
  around.universe.addMachine('down');
  let asked = 0;
  up.on(methods.Put, 'unary', (call) => {
    asked++;
    call.answer({ header: headerAt(asked) });
  });
  const client = around.client(['down', 'up']);
  for (let round = 1; round <= 10; round++) {
    assert.equal((await around.outcome(client.kv.put('k', 'v'))).header?.revision, round);
  }
  assert.equal(asked, 10);
  await client.close();
});

test('a write whose fate is unknown is not repeated; a read is', async () => {
  const around = new Neighbourhood();
  const first = await around.member('first');
  const second = await around.member('second');
  const client = around.client(['first', 'second']);
  let writes = 0;
  let reads = 0;
  // Whoever is asked first ends in the middle of the answer.
  for (const member of [first, second]) {
    member.on(methods.Put, 'unary', (call) => {
      if (++writes === 1) member.kill();
      else call.answer({});
    });
    member.on(methods.Range, 'unary', (call) => {
      if (++reads === 1) call.fail(ErrLeaderChanged.code, ErrLeaderChanged.message);
      else call.answer({ kvs: [KeyValue.create({ key: Buffer.from('k'), value: Buffer.from('v') })], count: 1 });
    });
  }
  assert.equal((await around.outcome(client.kv.get('k')))?.value.toString(), 'v');
  assert.equal(reads, 2);
  await assert.rejects(around.outcome(client.kv.put('k', 'v')), UnavailableError);
  assert.equal(writes, 1);
  await around.outcome(client.kv.put('k', 'v'));
  assert.equal(writes, 2);
  await client.close();
});

test('a call has its time, and a caller can give up earlier', async () => {
  const around = new Neighbourhood();
  around.universe.addMachine('down');
  const silent = await around.member('silent');
  silent.on(methods.Put, 'unary', () => {});
  const unreachable = around.client(['down'], { timeoutMs: 3000 });
  const startMs = around.universe.simulation.nowMs;
  const failure: unknown = await around.outcome(unreachable.kv.put('k', 'v').catch((error: unknown) => error));
  assert.ok(failure instanceof TimeoutError);
  assert.match(String((failure.cause as Error).message), /connection error/);
  assert.ok(Math.abs(around.universe.simulation.nowMs - startMs - 3000) < 50);

  const client = around.client(['silent'], { timeoutMs: 1000 });
  await assert.rejects(around.outcome(client.kv.put('k', 'v')), TimeoutError);
  const controller = new AbortController();
  const aborted = client.kv.put('k', 'v', { signal: controller.signal, timeoutMs: 0 });
  around.home.world.timers.after(100, () => controller.abort());
  await assert.rejects(around.outcome(aborted), CanceledError);
  const closed = client.kv.put('k', 'v', { timeoutMs: 0 });
  around.home.world.timers.after(100, () => void client.close());
  await assert.rejects(around.outcome(closed), CanceledError);
  await unreachable.close();
});

test('a token is fetched once for all calls, and again when it is refused', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  let logins = 0;
  let valid = '';
  const tokens: (string | undefined)[] = [];
  member.on(AUTHENTICATE, 'unary', (call) => {
    assert.deepEqual([call.request.name, call.request.password], ['alice', 'secret']);
    valid = `token-${++logins}`;
    call.answer({ token: valid });
  });
  member.on(methods.Put, 'unary', (call) => {
    tokens.push(call.header('token'));
    if (call.header('token') === valid) call.answer({});
    else call.fail(ErrInvalidAuthToken.code, ErrInvalidAuthToken.message);
  });
  const client = around.client(['m'], { user: { name: 'alice', password: 'secret' } });
  await around.outcome(Promise.all([client.kv.put('a', '1'), client.kv.put('b', '2')]));
  assert.equal(logins, 1);
  valid = 'something else';
  await around.outcome(client.kv.put('c', '3'));
  assert.equal(logins, 2);
  assert.deepEqual(tokens, ['token-1', 'token-1', 'token-1', 'token-2']);
  await client.close();
});

test('a list is read page by page, as of the revision of the first page', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const keys = Array.from({ length: 25 }, (_unused, index) => `k${String(index).padStart(2, '0')}`);
  const revisions: number[] = [];
  member.on(methods.Range, 'unary', (call) => {
    const { request } = call;
    revisions.push(request.revision);
    const rest = keys.filter((each) => each >= request.key.toString());
    const kvs = rest.slice(0, request.limit).map((each) => KeyValue.create({ key: Buffer.from(each) }));
    const more = rest.length > request.limit;
    call.answer({ header: headerAt(7), kvs, more });
  });
  const client = around.client(['m']);
  const seen: string[] = [];
  const reading = (async () => {
    for await (const kv of client.kv.list('k', { pageSize: 10 })) seen.push(kv.key.toString());
  })();
  await around.outcome(reading);
  assert.deepEqual(seen, keys);
  assert.deepEqual(revisions, [0, 7, 7]);
  await client.close();
});

test('a transaction gives the results of the branch that was taken, typed', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  member.on(methods.Txn, 'unary', (call) => {
    const { compare, failure, success } = call.request;
    assert.equal(compare.length, 2);
    assert.deepEqual([success.length, failure.length], [2, 1]);
    const done = [
      ResponseOp.create({ responsePut: PutResponse.create({ header: headerAt(3) }) }),
      ResponseOp.create({ responseDeleteRange: DeleteRangeResponse.create({ deleted: 5 }) }),
    ];
    call.answer({ succeeded: compare[0]?.version === 0, responses: done });
  });
  const client = around.client(['m']);
  const outcome = await around.outcome(
    client.kv
      .transaction()
      .if(key('a').version.equals(0), key('b').value.differs('x'))
      .do(put('a', '1'), remove('b'))
      .otherwise(get('a'))
      .commit(),
  );
  if (!outcome.succeeded) assert.fail('the other branch');
  const [written, removed] = outcome.results;
  assert.deepEqual([written.header?.revision, removed.deleted], [3, 5]);
  await client.close();
});

test('errors of the server keep code and text', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  member.on(methods.Compact, 'unary', (call) => call.fail(GrpcCode.OutOfRange, 'etcdserver: mvcc: whatever'));
  const client = around.client(['m']);
  await assert.rejects(around.outcome(client.kv.compact(3)), {
    name: 'EtcdError',
    code: GrpcCode.OutOfRange,
    message: 'etcdserver: mvcc: whatever',
  });
  await client.close();
});
