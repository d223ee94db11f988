/** Goal: the HTTP API does what its document says. Method: a real member, the platform's `fetch`. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ask } from '../gateway/http.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { count } from './counter.ts';
import { EventSource } from './event-source.ts';

let server: TestServer;
before(async () => {
  server = await startServer({ product: 'etsd', flags: ['--cors', 'https://good.example'] });
});
after(() => server.dispose());

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  readonly json: Record<string, unknown>;
}

async function api(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const sent = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
  const answer = await fetch(`http://${server.address}/api/${path}`, {
    method,
    headers,
    ...(sent === undefined ? {} : { body: sent }),
  });
  const text = await answer.text();
  const isJson = /json/.test(answer.headers.get('content-type') ?? '');
  return { status: answer.status, text, headers: answer.headers, json: isJson && text !== '' ? JSON.parse(text) : {} };
}

/** A transaction. Written without a property of that name, which would make a promise of anything. */
function txn(given: { if?: unknown[]; do: unknown[]; else?: unknown[] }): object {
  const members = [
    ['if', given.if],
    ['then', given.do],
    ['else', given.else],
  ] as const;
  return Object.fromEntries(members.filter(([, list]) => list !== undefined));
}

const tag = (answer: Answer): string => answer.headers.get('etag') ?? '';

test('a key: made, read, changed, removed, each under a condition', async () => {
  assert.equal((await api('GET', 'keys/a')).status, 404);
  const made = await api('PUT', 'keys/a', 'one', { 'if-none-match': '*' });
  assert.deepEqual([made.status, made.json['created']], [201, true]);
  assert.equal((await api('PUT', 'keys/a', 'two', { 'if-none-match': '*' })).status, 412);
  const read = await api('GET', 'keys/a');
  assert.deepEqual([read.status, read.text, tag(read)], [200, 'one', tag(made)]);
  assert.equal(read.headers.get('content-type'), 'text/plain; charset=utf-8');
  const known = await api('GET', 'keys/a', undefined, { 'if-none-match': tag(read) });
  assert.deepEqual([known.status, known.text, known.headers.get('content-length')], [304, '', null]);
  assert.equal((await api('PUT', 'keys/a', 'two', { 'if-match': '"1"' })).status, 412);
  const changed = await api('PUT', 'keys/a', 'two', { 'if-match': tag(read) });
  assert.deepEqual([changed.status, changed.json['created']], [200, false]);
  const late = await api('PUT', 'keys/a', 'three', { 'if-match': tag(read) });
  assert.deepEqual([late.status, tag(late), late.json['code']], [412, tag(changed), 'precondition_failed']);
  const whole = await api('GET', 'keys/a', undefined, { accept: 'application/json' });
  assert.deepEqual([whole.json['key'], whole.json['value'], whole.json['version']], ['a', 'two', 2]);
  const before = await api('GET', `keys/a?revision=${tag(made).slice(1, -1)}`);
  assert.equal(before.text, 'one');
  assert.equal((await api('DELETE', 'keys/a', undefined, { 'if-match': tag(made) })).status, 412);
  assert.equal((await api('DELETE', 'keys/a', undefined, { 'if-match': tag(changed) })).status, 200);
  assert.equal((await api('DELETE', 'keys/a')).status, 404);
  assert.equal((await api('PUT', 'keys/a', 'x', { 'if-match': '*' })).status, 412);
  const head = await api('HEAD', 'keys/a');
  assert.deepEqual([head.status, head.text], [404, '']);
});

test('keys and values of any bytes, no base64 unless asked', async () => {
  for (const [path, key] of [
    ['%ff%00/b/c', { key_base64: '/wAvYi9j' }],
    ['/registry//pods/', { key: '/registry//pods/' }],
    ['..%2f./../x', { key: '.././../x' }],
    ['gr%C3%BC%C3%9Fe', { key: 'grüße' }],
    ['a+b%2bc%20d%3f%25', { key: 'a+b+c d?%' }],
  ] as const) {
    // `fetch` would tidy the path up, as any browser.
    const raw = (method: string, more: object = {}) =>
      ask(server.clientPort, { method, path: `/api/keys/${path}`, headers: { accept: 'application/json' }, ...more });
    assert.equal((await raw('PUT', { body: 'v' })).status, 201, path);
    const json = JSON.parse((await raw('GET')).body) as object;
    const revisions = { create_revision: 0, mod_revision: 0 };
    assert.deepEqual({ ...json, ...revisions }, { ...key, ...revisions, value: 'v', version: 1 });
    assert.equal((await raw('DELETE')).status, 200);
  }
  const bytes = Buffer.from([0, 255, 1]);
  await fetch(`http://${server.address}/api/keys/bin`, { method: 'PUT', body: bytes });
  const raw = await fetch(`http://${server.address}/api/keys/bin`);
  assert.equal(raw.headers.get('content-type'), 'application/octet-stream');
  assert.deepEqual(Buffer.from(await raw.arrayBuffer()), bytes);
  const shown = await api('GET', 'keys/bin?encoding=base64', undefined, { accept: 'application/json' });
  assert.deepEqual([shown.json['key_base64'], shown.json['value_base64']], ['Ymlu', 'AP8B']);
  await api('DELETE', 'keys/bin');
});

test('lists: a prefix, pages of one revision, forwards and backwards', async () => {
  for (let index = 0; index < 25; index++) await api('PUT', `keys/list/${String(index).padStart(2, '0')}`, `v${index}`);
  for (const reverse of ['', '&reverse']) {
    const seen: string[] = [];
    let next = '';
    do {
      const { json } = await api('GET', `keys?prefix=list/&limit=10${reverse}${next}`);
      seen.push(...(json['kvs'] as { key: string }[]).map(({ key }) => key));
      // What comes in between is not seen.
      await api('PUT', `keys/list/05x${seen.length}${reverse.length}`, '');
      next = json['next'] === undefined ? '' : `&page=${json['next']}`;
    } while (next !== '');
    const own = seen.filter((key) => !key.includes('x'));
    const wanted = Array.from({ length: 25 }, (_, index) => `list/${String(index).padStart(2, '0')}`);
    assert.deepEqual(own, reverse === '' ? wanted : wanted.toReversed());
  }
  const counted = await api('GET', 'keys?from=list/00&to=list/05&count_only');
  assert.deepEqual([counted.json['count'], counted.json['kvs']], [5, undefined]);
  assert.equal((await api('DELETE', 'keys')).status, 400, 'everything is not removed by leaving something out');
  assert.equal((await api('DELETE', 'keys?prefix=list/')).json['deleted'], 31);
});

test('transactions as readable JSON', async () => {
  await api('PUT', 'keys/from', '10');
  const transfer = txn({
    if: [
      { key: 'from', value: '10' },
      { key: 'to', exists: false },
      { key: 'from', op: '>', version: 0 },
    ],
    do: [{ put: 'from', value: '7', previous: true }, { put: 'to', value: '3' }, { get: 'from' }],
    else: [{ get: 'from', prefix: true, keys_only: true }],
  });
  const first = await api('POST', 'txn', transfer);
  const results = first.json['results'] as Record<string, unknown>[];
  assert.deepEqual([first.json['succeeded'], results.length], [true, 3]);
  assert.equal((results[0] as { previous: { value: string } }).previous.value, '10');
  const second = await api('POST', 'txn', transfer);
  assert.equal(second.json['succeeded'], false);
  const [range] = second.json['results'] as { kvs: Record<string, unknown>[] }[];
  assert.deepEqual(Object.keys(range?.kvs[0] ?? {}), ['key', 'create_revision', 'mod_revision', 'version']);
  const nested = await api(
    'POST',
    'txn',
    txn({ do: [txn({ do: [{ delete: 'from' }] }), { delete_base64: 'dG8=', previous: true }] }),
  );
  assert.equal(nested.status, 200, nested.text);
  const wrong: [unknown, RegExp][] = [
    ['no JSON', /no JSON/],
    [[1], /not an object/],
    [{ iff: [] }, /no member "iff"/],
    [txn({ do: [{ put: 'a' }] }), /give value as text/],
    [txn({ do: [{ put: 'a', value: '', lease: 7 }] }), /lease is the id as text/],
    [{ if: [{ key: 'a' }] }, /a condition has one of/],
    [{ if: [{ key: 'a', version: 1, value: '' }] }, /a condition has one of/],
    [{ if: [{ key: 'a', op: '==', version: 1 }] }, /op is one of/],
    [txn({ do: [{ get: 'a', put: 'b', value: '' }] }), /one of put, get, delete/],
    [JSON.parse('{"__proto__":{"then":[]}}'), /no member "__proto__"/],
  ];
  for (const [body, pattern] of wrong) {
    const answer = await api('POST', 'txn', body);
    assert.equal(answer.status, 400);
    assert.match(String(answer.json['detail']), pattern);
  }
});

test('leases: ids as text, keys that go with them', async () => {
  const granted = await api('POST', 'leases', { ttl: 100 });
  const id = String(granted.json['id']);
  assert.deepEqual([granted.status, granted.headers.get('location')], [201, `/api/leases/${id}`]);
  assert.ok(BigInt(id) > 2n ** 53n, 'an id that a number would not hold');
  assert.equal((await api('PUT', `keys/leased?lease=${id}`, 'v')).status, 201);
  const shown = await api('GET', 'keys/leased', undefined, { accept: 'application/json' });
  assert.equal(shown.json['lease'], id);
  await api('PUT', 'keys/leased?keep_lease', 'w');
  assert.deepEqual((await api('GET', `leases/${id}`)).json['keys'], ['leased']);
  assert.equal((await api('POST', `leases/${id}/keepalive`)).json['ttl'], 100);
  assert.ok(((await api('GET', 'leases')).json['leases'] as { id: string }[]).some((lease) => lease.id === id));
  assert.equal((await api('DELETE', `leases/${id}`)).status, 200);
  assert.equal((await api('GET', 'keys/leased')).status, 404);
  for (const [method, path] of [
    ['GET', id],
    ['DELETE', id],
    ['POST', `${id}/keepalive`],
  ] as const) {
    assert.equal((await api(method, `leases/${path}`)).status, 404);
  }
  assert.equal((await api('POST', 'leases', { ttl: 100, id: 7 })).status, 400);
});

test('waiting: for the next change of a prefix, of a key, for a key to be there', async () => {
  const now = Number((await api('GET', 'keys?count_only')).json['revision']);
  const none = await api('GET', `watch?prefix=w/&after=${now}&wait=0`);
  assert.deepEqual(none.json, { revision: now, events: [] });
  const next = api('GET', `watch?prefix=w/&after=${now}&wait=60`);
  const written = await api('PUT', 'keys/w/1', 'a');
  const change = (await next).json as { revision: number; events: Record<string, unknown>[] };
  assert.deepEqual(
    [change.revision, change.events[0]?.['key'], change.events[0]?.['type']],
    [written.json['revision'], 'w/1', 'put'],
  );
  const changed = api('GET', 'keys/w/1?wait=60', undefined, { 'if-none-match': tag(written) });
  await api('PUT', 'keys/w/1', 'b');
  assert.equal((await changed).text, 'b');
  const unchanged = await api('GET', 'keys/w/1?wait=1', undefined, {
    'if-none-match': tag(await api('GET', 'keys/w/1')),
  });
  assert.equal(unchanged.status, 304);
  const appears = api('GET', 'keys/w/2?wait=60');
  await api('PUT', 'keys/w/2', 'there');
  assert.equal((await appears).text, 'there');
});

test('server-sent events: all changes once and in order, also over a connection that breaks', async () => {
  const source = new EventSource(`http://${server.address}/api/watch?prefix=s/`);
  await source.next('open');
  await api('PUT', 'keys/s/1', 'a');
  const pair = txn({ do: [{ put: 's/2', value: 'b' }, { delete: 's/1' }] });
  await api('POST', 'txn', pair);
  assert.equal((await source.next('put')).data['key'], 's/1');
  const first = await source.next('put');
  const second = await source.next('delete');
  assert.deepEqual([first.data['key'], second.data['key']], ['s/2', 's/1']);
  assert.equal(first.id, null, 'a revision is known when all of it was told');
  assert.equal(second.id, String(second.data['mod_revision']));
  await source.breakOff();
  await api('PUT', 'keys/s/3', 'while away');
  await source.resume();
  await source.next('open');
  assert.equal((await source.next('put')).data['key'], 's/3');
  await source.breakOff();
  // What is forgotten meanwhile is said to be.
  await api('PUT', 'keys/s/4', '');
  const { json } = await api('PUT', 'keys/s/5', '');
  await fetch(`http://${server.address}/v3/kv/compaction`, {
    method: 'POST',
    body: JSON.stringify({ revision: json['revision'] }),
  });
  await source.resume();
  await source.next('open');
  assert.equal((await source.next('compacted')).data['code'], 'compacted');
  await source.breakOff();
  const late = await api('GET', 'watch?prefix=s/&after=1&wait=5');
  assert.deepEqual([late.status, late.json['code']], [410, 'compacted']);
  assert.equal((await api('GET', 'keys/s/4?revision=2')).status, 410);
});

test('two clients with entity tags lose no update of one counter', async () => {
  const { value } = await count(`http://${server.address}`, 100);
  assert.equal(value, 200);
});

test('what means nothing is refused, and says so', async () => {
  const rows: [string, string, number][] = [
    ['GET', 'nothing', 404],
    ['GET', 'keys/', 400],
    ['GET', 'keys/%f', 400],
    ['GET', 'keys/%zz', 400],
    ['GET', 'keys?lmit=5', 400],
    ['GET', 'keys?limit=0', 400],
    ['GET', 'keys?limit=5000', 400],
    ['GET', 'keys?limit=5&limit=6', 400],
    ['GET', 'keys?page=x', 400],
    ['GET', 'keys?prefix=a&from=b', 400],
    ['GET', 'keys/a?revision=-1', 400],
    ['GET', 'keys/a?revision=99999999', 400],
    ['GET', 'keys/a?encoding=hex', 400],
    ['GET', 'watch?key=a&prefix=b', 400],
    ['GET', 'leases/abc', 404],
    ['POST', 'keys/a', 405],
    ['PUT', 'txn', 405],
    ['PUT', 'keys/a?lease=99', 404],
    ['PUT', 'keys/a?lease=x', 400],
  ];
  for (const [method, path, status] of rows) {
    const answer = await api(method, path, method === 'GET' ? undefined : 'x');
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.headers.get('content-type'), 'application/problem+json');
    assert.equal(answer.json['status'], status);
  }
  for (const header of [
    { 'if-match': 'x' },
    { 'if-match': 'W/"5"' },
    { 'if-none-match': '"5"' },
    { 'if-match': '*', 'if-none-match': '*' },
  ]) {
    assert.equal((await api('PUT', 'keys/a', 'x', header as unknown as Record<string, string>)).status, 400);
  }
});

test('pages of the origins that --cors names may use it, others may not', async () => {
  const from = (origin: string) => ({ origin });
  const good = await api('PUT', 'keys/cors', 'v', from('https://good.example'));
  assert.equal(good.headers.get('access-control-allow-origin'), 'https://good.example');
  assert.match(good.headers.get('access-control-expose-headers') ?? '', /ETag/);
  const asked = await api('OPTIONS', 'keys/cors', undefined, from('https://good.example'));
  assert.equal(asked.status, 204);
  assert.match(asked.headers.get('access-control-allow-headers') ?? '', /if-match/);
  const evil = await api('POST', 'txn', txn({ do: [{ delete: 'cors' }] }), from('https://evil.example'));
  assert.deepEqual([evil.status, evil.headers.get('access-control-allow-origin')], [403, null]);
  assert.equal((await api('GET', 'keys/cors')).text, 'v');
});

test('the document describes every path', async () => {
  const { json } = await api('GET', 'openapi.json');
  assert.equal(json['openapi'], '3.1.0');
  const paths = json['paths'] as Record<string, Record<string, unknown>>;
  for (const [path, methods] of Object.entries(paths)) {
    for (const method of Object.keys(methods)) {
      const answer = await api(
        method.toUpperCase(),
        path.slice('/api/'.length).replace('{key}', 'k').replace('{id}', '1').replace('watch', 'watch?wait=0'),
        method === 'get' ? undefined : '{}',
      );
      assert.notEqual(answer.json['code'], 'no_such_path', path);
      assert.notEqual(answer.json['code'], 'method_not_allowed', path);
    }
  }
  const text = JSON.stringify(json);
  for (const [, name] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
    assert.ok(Object.hasOwn((json['components'] as { schemas: object }).schemas, name as string), name);
  }
});

test('with authentication on: Basic and Bearer, and nothing without', async () => {
  const admin = { authorization: `Basic ${Buffer.from('root:r').toString('base64')}` };
  const post = (path: string, body: object) =>
    fetch(`http://${server.address}/v3/auth/${path}`, { method: 'POST', body: JSON.stringify(body) });
  await post('user/add', { name: 'root', password: 'r' });
  await post('role/add', { name: 'root' });
  await post('user/grant', { user: 'root', role: 'root' });
  await post('user/add', { name: 'ann', password: 'a' });
  await post('enable', {});
  const stranger = await api('GET', 'keys/x');
  assert.deepEqual([stranger.status, stranger.json['code']], [401, 'unauthenticated']);
  assert.match(stranger.headers.get('www-authenticate') ?? '', /Basic realm/);
  assert.equal((await api('PUT', 'keys/x', 'v', admin)).status, 201);
  assert.equal((await api('GET', 'keys/x', undefined, admin)).text, 'v');
  const login = await api('POST', 'login', { name: 'ann', password: 'a' });
  const ann = { authorization: `Bearer ${login.json['token']}` };
  assert.equal((await api('GET', 'keys/x', undefined, ann)).status, 403);
  assert.equal((await api('GET', 'watch?key=x&wait=0', undefined, ann)).status, 403);
  assert.equal((await api('POST', 'txn', txn({ do: [{ get: 'x' }] }), ann)).status, 403);
  assert.equal((await api('GET', 'keys/x', undefined, { authorization: 'Bearer nonsense' })).status, 401);
  const wrong = { authorization: `Basic ${Buffer.from('root:wrong').toString('base64')}` };
  assert.equal((await api('GET', 'keys/x', undefined, wrong)).status, 401);
  assert.equal((await api('POST', 'login', { name: 'ann', password: 'b' })).status, 401);
  // A password that was changed ends what was remembered of the old one.
  const token = (await api('POST', 'login', { name: 'root', password: 'r' })).json['token'];
  await fetch(`http://${server.address}/v3/auth/user/changepw`, {
    method: 'POST',
    headers: { authorization: String(token) },
    body: JSON.stringify({ name: 'root', password: 'new' }),
  });
  assert.equal((await api('GET', 'keys/x', undefined, admin)).status, 401);
});
