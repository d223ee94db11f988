/** Goal: what stands in for Node.js in a browser behaves as the original. Method: beside the original, and a scripted fetch. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { GrpcCode } from '@etsd/proto';
import { UnavailableError } from '../errors.ts';
import { SmallBuffer } from './buffer.ts';
import { EtcdClient } from './client.ts';
import { LineSplitter } from './lines.ts';
import { baseUrl } from './link.ts';

const ENCODINGS = ['utf8', 'latin1', 'hex', 'base64', 'base64url'] as const;

test('the small buffer gives what Node’s gives', () => {
  const prng = new Prng(7);
  for (let length = 0; length < 70; length++) {
    const original = prng.bytes(length);
    const small = SmallBuffer.from(original);
    for (const encoding of ENCODINGS) {
      const text = original.toString(encoding);
      assert.equal(small.toString(encoding), text, encoding);
      assert.deepEqual([...SmallBuffer.from(text, encoding)], [...Buffer.from(text, encoding)], encoding);
    }
    assert.equal(small.toString('latin1', 1, 5), original.toString('latin1', 1, 5));
    assert.ok(small.equals(original) && small.compare(original) === 0);
    assert.deepEqual([...SmallBuffer.concat([small, small])], [...Buffer.concat([original, original])]);
    const other = prng.bytes(length);
    assert.equal(SmallBuffer.compare(small, other), Buffer.compare(original, other));
    assert.equal(JSON.stringify(small), JSON.stringify(original));
  }
  assert.ok(SmallBuffer.isBuffer(SmallBuffer.alloc(3).subarray(1)));
  assert.equal(SmallBuffer.byteLength('äö'), 4);
  const target = SmallBuffer.alloc(4, 1);
  assert.equal(SmallBuffer.from('abcdef').copy(target, 2, 1), 2);
  assert.deepEqual([...target], [1, 1, 98, 99]);
});

test('lines are whole wherever the pieces are cut', () => {
  const bytes = new TextEncoder().encode('{"ä":1}\n\n{"long":"…"}\nrest');
  for (let size = 1; size < bytes.length; size++) {
    const splitter = new LineSplitter();
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size) lines.push(...splitter.take(bytes.subarray(at, at + size)));
    assert.deepEqual(lines, ['{"ä":1}', '', '{"long":"…"}']);
  }
});

test('an endpoint of a gateway is a URL, perhaps with a path', () => {
  assert.equal(baseUrl('127.0.0.1:2379'), 'http://127.0.0.1:2379');
  assert.equal(baseUrl('https://example.org/etcd/'), 'https://example.org/etcd');
  for (const wrong of ['', 'ftp://a', 'unix:///a'])
    assert.throws(() => baseUrl(wrong), /one looks like https:\/\/host:2379/);
});

/** A client whose requests are answered by a function. */
function answering(answer: (path: string, body: string, init: RequestInit) => Response | Promise<Response>) {
  const fetch = async (url: string, init: RequestInit) => answer(new URL(url).pathname, String(init.body), init);
  return new EtcdClient({ endpoints: ['http://a:1', 'http://b:1'], fetch, headers: { 'x-proxy': 'p' } });
}

test('requests are etcd’s JSON; ids keep all their bits', async () => {
  const asked: unknown[] = [];
  await using client = answering((path, body, { headers, method }) => {
    asked.push([method, path, JSON.parse(body), (headers as Record<string, string>)['x-proxy']]);
    return new Response(
      '{"header":{"member_id":"18446744073709551615","revision":"7"},"ID":"-81985529216486896","TTL":"9"}',
    );
  });
  const granted = await client.leases.grant(9, { id: 'fedcba9876543210' });
  assert.deepEqual([granted.ID, granted.header?.memberId], ['fedcba9876543210', 'ffffffffffffffff']);
  assert.deepEqual(asked, [['POST', '/v3/lease/grant', { ID: '-81985529216486896', TTL: '9' }, 'p']]);
});

test('errors keep code and text; what a proxy says is told as such; only what was not sent is repeated', async () => {
  const bodies: (Response | Error)[] = [
    new Response('{"error":"x","code":11,"message":"etcdserver: mvcc: required revision has been compacted"}', {
      status: 400,
    }),
    new Response('<html>', { status: 403 }),
    new TypeError('fetch failed'),
    new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } }),
    new Response('{}'),
  ];
  let calls = 0;
  await using client = answering(() => {
    const body = bodies[calls++] as Response | Error;
    if (body instanceof Error) throw body;
    return body;
  });
  await assert.rejects(client.kv.put('k', 'v'), { code: GrpcCode.OutOfRange, message: /compacted/ });
  await assert.rejects(client.kv.put('k', 'v'), { code: GrpcCode.PermissionDenied });
  await assert.rejects(client.kv.put('k', 'v'), UnavailableError);
  await client.kv.put('k', 'v');
  assert.equal(calls, 5);
});

test('a watch reads its answer as it comes, and asks again from behind what it has', async () => {
  const starts: unknown[] = [];
  const event = (revision: number) =>
    `{"result":{"header":{"revision":"${revision}"},"events":[{"kv":{"key":"aw==","mod_revision":"${revision}"}}]}}\n`;
  await using client = answering((path, body) => {
    assert.equal(path, '/v3/watch');
    const { create_request: request } = JSON.parse(body) as { create_request: { start_revision?: string } };
    starts.push(request.start_revision);
    const created = '{"result":{"header":{"revision":"10"},"created":true}}\n';
    return new Response(created + event(starts.length === 1 ? 11 : 12));
  });
  const seen: unknown[] = [];
  for await (const each of client.watch('k').events()) if (seen.push(each.kv?.modRevision) === 2) break;
  assert.deepEqual(
    [seen, starts],
    [
      [11, 12],
      [undefined, '12'],
    ],
  );
});

test('time and abortion end a request', async () => {
  const hanging = (_path: string, _body: string, init: RequestInit): Promise<Response> =>
    new Promise((_resolve, reject) => {
      init.signal?.addEventListener('abort', () => reject(init.signal?.reason));
    });
  await using client = answering(hanging);
  await assert.rejects(client.kv.put('k', 'v', { timeoutMs: 20 }), { code: GrpcCode.DeadlineExceeded });
  const stop = new AbortController();
  const put = client.kv.put('k', 'v', { signal: stop.signal });
  stop.abort();
  await assert.rejects(put, { code: GrpcCode.Canceled });
  const closed = client.kv.put('k', 'v');
  await client.close();
  await assert.rejects(closed, { code: GrpcCode.Canceled });
});
