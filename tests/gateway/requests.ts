/** The requests of the golden test, in order: each finds the store as those before have left it. */
import { METHODS } from '@etsd/proto';
import type { Asked } from './http.ts';

/** A request whose answer says what a later one needs: the id of a lease, a token. */
export interface Step extends Asked {
  /** Kept under this name, for `$NAME` in what follows: the first group of the pattern in the answer. */
  readonly keep?: readonly [name: string, pattern: RegExp];
}

const b64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64');

function post(path: string, body: unknown, headers: Record<string, string> = {}, more: Partial<Step> = {}): Step {
  return {
    method: 'POST',
    path: `/v3${path}`,
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...more,
  };
}

const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Step => ({ method, path, headers });

const bidirectional = new Set(
  METHODS.filter(({ kind }) => kind === 'bidi').flatMap(({ gatewayPaths }) => gatewayPaths),
);
const paths = METHODS.flatMap(({ gatewayPaths }) => gatewayPaths);

/** What is wrong before any method is asked, on every path. */
function wrongEverywhere(): Step[] {
  const steps: Step[] = [];
  for (const path of paths) {
    steps.push(get(path), get(`${path}/`, {}, 'POST'));
    if (bidirectional.has(path)) continue;
    steps.push({ method: 'POST', path, body: '{"header":' }, { method: 'POST', path, body: '[1]' });
  }
  return steps;
}

const put = (key: string, value: string, more: object = {}): object => ({ key: b64(key), value: b64(value), ...more });

function writes(): Step[] {
  return [
    post('/kv/put', put('foo', 'bar')),
    post('/kv/put', put('foo', 'bar2', { prev_kv: true })),
    post('/kv/put', put('foo', 'bar3', { prevKv: true })),
    post('/kv/put', { key: b64('foo'), ignore_value: true, prev_kv: true }),
    post('/kv/put', { key: b64('foo'), ignore_lease: true, value: b64('x') }),
    post('/kv/put', { key: b64('none'), ignore_value: true }),
    post('/kv/put', put('foo', 'v', { ignore_value: true })),
    post('/kv/put', put('foo', 'v', { lease: '12345' })),
    post('/kv/put', put('foo', 'v', { lease: 7, ignore_lease: true })),
    post('/kv/put', { value: b64('no key') }),
    post('/kv/put', {}),
    post('/kv/put', ''),
    post('/kv/put', ' \n '),
    post('/kv/put', { key: b64('\0\xff binary \x80'), value: b64('\xfe\xff\0') }),
    post('/kv/put', { key: '_-8', value: '-_8=' }),
    post('/kv/put', { key: b64('empty'), value: '' }),
    post('/kv/put', { key: b64('null'), value: null, lease: null }),
    post('/kv/put', '{"key":"Zm9v","value":"YmFy","unknown":{"a":[1,2,{"b":null}]}}'),
    post('/kv/put', '{"key":"Zm9v","value":"YmFy"} and more'),
    post('/kv/put', '{"key":"Zm9v","value":"YmFy"}{"key":"YQ=="}'),
    post('/kv/put', '{"key":"Zm9v","key":"YmFy"}'),
    post('/kv/put', '{"key":"Zm9v","value":"YmF"}'),
    post('/kv/put', '{"key":"Zm9v","value":"YmFyY"}'),
    post('/kv/put', '{"key":"Zm9v","value":"Ym\\nFy"}'),
    post('/kv/put', '{"key":"Zm9v","value":"Ym Fy"}'),
    post('/kv/put', '{"key":"Zm9v","value":"====" }'),
    post('/kv/put', '{"key":"Zm9v","value":"Y==="}'),
    post('/kv/put', '{"key":"Zm9v","value":"_/+-"}'),
    post('/kv/put', '{"\\u006bey":"Zm\\u0039v","value":"YQ"}'),
    post('/kv/put', '{"key":"Zm9v","lease":"9223372036854775808"}'),
    post('/kv/put', '{"key":"Zm9v","lease":9223372036854775807}'),
    post('/kv/put', '{"key":"Zm9v","lease":-1}'),
    post('/kv/put', '{"key":"Zm9v","lease":1.0}'),
    post('/kv/put', '{"key":"Zm9v","lease":1.5}'),
    post('/kv/put', '{"key":"Zm9v","lease":1e1}'),
    post('/kv/put', '{"key":"Zm9v","lease":"0x1"}'),
    post('/kv/put', '{"key":"Zm9v","lease":" 1"}'),
    post('/kv/put', '{"key":"Zm9v","lease":""}'),
    post('/kv/put', '{"key":"Zm9v","lease":true}'),
    post('/kv/put', '{"key":"Zm9v","lease":{}}'),
    post('/kv/put', '{"key":"Zm9v","lease":[1]}'),
    post('/kv/put', '{"key":["Zm9v"]}'),
    post('/kv/put', '{"key":{"a":1}}'),
    post('/kv/put', '{"key":5}'),
    post('/kv/put', '{"key":"Zm9v","prev_kv":"true"}'),
    post('/kv/put', '{"key":"Zm9v","prev_kv":1}'),
    post('/kv/put', '{"__proto__":{"key":"YQ=="},"constructor":1,"key":"Zm9v","value":"YQ=="}'),
    post(
      '/kv/put',
      { key: b64('big'), value: Buffer.alloc(1_600_000).toString('base64') },
      {},
      { title: 'a value too large' },
    ),
    post('/kv/put', { key: b64('big'), value: Buffer.alloc(100_000, 'x').toString('base64') }, {}, { title: 'large' }),
  ];
}

function malformed(): Step[] {
  return [
    'bad',
    'nul',
    'nulx',
    'null',
    'true',
    'false',
    '5',
    '-',
    '-5',
    '"text"',
    '[]',
    '[1,2',
    '{',
    '{"key"',
    '{"key":',
    '{"key":"Zm9v"',
    '{"key":"Zm9v",',
    '{"key":"Zm9v",}',
    '{key:1}',
    "{'key':1}",
    '{"key" "Zm9v"}',
    '{"key":"Zm9v" "range_end":"YQ=="}',
    '{"key":"Zm9v"]',
    '{"a":[1 2]}',
    '{"a":[1,]}',
    '{"a":01}',
    '{"a":1.}',
    '{"a":1.e5}',
    '{"a":1e}',
    '{"a":1e+}',
    '{"a":+1}',
    '{"a":.5}',
    '{"a":NaN}',
    '{"a":trux}',
    '{"a":fals}',
    '{"a":"\n"}',
    '{"a":"\u0001"}',
    '{"a":"\\x"}',
    '{"a":"\\u12g4"}',
    '{"a":"\\ud800"}',
    '{"a":"\\ud800\\u0041"}',
    '{"a":"\\udc00\\ud800"}',
    '{"a":"\\ud83d\\ude42","key":"Zm9v"}',
    '{"é":1,"key":5}',
    '{"a":é}',
    '{\n "key":\n   5}',
    '\n\n {"key":5}',
    '{"limit":"5","limit":6}',
    '{"rangeEnd":"YQ==","range_end":"YQ=="}',
    '{"sort_order":"SIDEWAYS","key":"Zm9v"}',
    '{"sort_order":true}',
    '{"sort_order":1.5}',
    '{"sort_order":99999999999}',
    '{"sort_order":"1","key":"Zm9v"}',
    '{"sort_target":null,"key":"Zm9v"}',
    '{"serializable":"yes"}',
    '/* comment */ {}',
    '{"key":"Zm9v"} // comment',
    '\ufeff{"key":"Zm9v"}',
    '{"[x]":1,"key":"Zm9v"}',
    `{"x":${'['.repeat(200)}${']'.repeat(200)},"key":"Zm9v"}`,
  ].map((body) => post('/kv/range', body));
}

function reads(): Step[] {
  return [
    post('/kv/range', { key: b64('foo') }),
    post('/kv/range', { key: b64('none') }),
    post('/kv/range', { key: b64('\0'), range_end: b64('\0') }),
    post('/kv/range', { key: b64('\0'), range_end: b64('\0'), limit: 2 }),
    post('/kv/range', { key: b64('\0'), range_end: b64('\0'), limit: '2', keys_only: true }),
    post('/kv/range', { key: b64('\0'), rangeEnd: b64('\0'), countOnly: true }),
    post('/kv/range', {
      key: b64('a'),
      range_end: b64('z'),
      sort_order: 'DESCEND',
      sort_target: 'MOD',
      keys_only: true,
    }),
    post('/kv/range', { key: b64('a'), range_end: b64('z'), sort_order: 1, sort_target: 4, keys_only: true }),
    post('/kv/range', {
      key: b64('a'),
      range_end: b64('z'),
      sortOrder: 'ASCEND',
      sortTarget: 'VERSION',
      keysOnly: true,
    }),
    post('/kv/range', { key: b64('z'), range_end: b64('a') }),
    post('/kv/range', { key: b64('foo'), serializable: true }),
    post('/kv/range', { key: b64('foo'), revision: 2 }),
    post('/kv/range', { key: b64('foo'), revision: '3' }),
    post('/kv/range', { key: b64('foo'), revision: 999999 }),
    post('/kv/range', { key: b64('foo'), revision: -1 }),
    post('/kv/range', { key: b64('foo'), limit: -1 }),
    post('/kv/range', { key: b64('foo'), min_mod_revision: 4, max_mod_revision: 4 }),
    post('/kv/range', { key: b64('\0'), range_end: b64('\0'), max_create_revision: 2 }),
    post('/kv/range', { range_end: b64('z') }),
    post('/kv/range', { key: b64('foo') }, { 'content-type': 'application/json' }),
    post('/kv/range', { key: b64('foo') }, { 'content-type': 'text/plain' }),
    post('/kv/range', { key: b64('foo') }, { 'content-type': 'application/octet-stream', accept: 'text/html' }),
    post('/kv/range', { key: b64('foo') }, { 'content-type': 'application/x-www-form-urlencoded' }),
    post('/kv/range', { key: b64('foo') }, { te: 'trailers' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-timeout': '5S' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-timeout': '1n' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-timeout': 'soon' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-timeout': '5' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-timeout': '' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-metadata-hasleader': 'true' }),
    post('/kv/range', { key: b64('foo') }, { origin: 'https://example.org' }),
    post('/kv/range', { key: b64('foo') }, { authorization: 'nonsense' }),
    post('/kv/range', { key: b64('foo') }, { 'x-http-method-override': 'GET' }),
    post(
      '/kv/range',
      { key: b64('foo') },
      {
        'content-type': 'application/x-www-form-urlencoded',
        'x-http-method-override': 'GET',
      },
    ),
    post('/kv/range?key=Zm9v', ''),
    post('/kv/range?key=Zm9v#x', { key: b64('foo') }),
    post('/kv/r%61nge', { key: b64('foo') }),
    post('/kv/range:verb', { key: b64('foo') }),
    post('/kv/:verb', { key: b64('foo') }),
    post('/kv//range', { key: b64('foo') }),
    post('/kv/./range', { key: b64('foo') }),
    post('/lease/../kv/range?x=y', { key: b64('foo') }),
    post('/KV/range', { key: b64('foo') }),
    post('/kv', {}),
    post('/', {}),
    post('', {}),
    post('/nothing', {}),
    { ...post('/kv/range', { key: b64('foo') }), path: '/v3beta/kv/range' },
    { ...post('/kv/range', { key: b64('foo') }), path: '/v3alpha/kv/range' },
    { ...post('/kv/range', { key: b64('foo') }), path: '/v2/kv/range' },
    ...['PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'].map((method) => get('/v3/kv/range', {}, method)),
  ];
}

function transactions(): Step[] {
  const compare = (more: object): object => ({ compare: [{ key: b64('foo'), ...more }] });
  const twice = { request_put: put('t', '1') };
  return [
    post('/kv/txn', {}),
    post('/kv/txn', compare({ target: 'VERSION', result: 'GREATER', version: 1 })),
    post('/kv/txn', compare({ target: 'VERSION', result: 'EQUAL', version: '0' })),
    post('/kv/txn', compare({ target: 'CREATE', result: 'LESS', createRevision: '3' })),
    post('/kv/txn', compare({ target: 2, result: 3, mod_revision: 2 })),
    post('/kv/txn', compare({ target: 'VALUE', result: 'EQUAL', value: b64('x') })),
    post('/kv/txn', compare({ target: 'LEASE', lease: 0 })),
    post('/kv/txn', compare({ target: 'VALUE', version: 1 })),
    post('/kv/txn', compare({ target: 'NOTHING' })),
    post('/kv/txn', compare({ version: 1, create_revision: 2 })),
    post('/kv/txn', compare({ range_end: b64('g'), target: 'VERSION', result: 'NOT_EQUAL', version: 0 })),
    post('/kv/txn', {
      compare: [{ result: 'EQUAL', target: 'CREATE', key: b64('foo'), createRevision: '2' }],
      success: [
        { requestPut: put('foo', 'tx', { prev_kv: true }) },
        { requestRange: { key: b64('foo') } },
        { request_delete_range: { key: b64('none') } },
      ],
      failure: [{ request_range: { key: b64('foo') } }],
    }),
    post('/kv/txn', { success: [twice, twice] }),
    post('/kv/txn', { success: [{ request_put: put('', '1') }] }),
    post('/kv/txn', { success: [{}] }),
    post('/kv/txn', { success: [{ request_put: put('a', '1'), request_range: { key: b64('a') } }] }),
    post('/kv/txn', { success: [{ request_txn: { success: [{ request_put: put('nested', '1') }] } }] }),
    post(
      '/kv/txn',
      { success: Array.from({ length: 129 }, (_, index) => ({ request_put: put(`k${index}`, '1') })) },
      {},
      {
        title: 'too many operations',
      },
    ),
    post('/kv/txn', { success: [null] }),
    post('/kv/txn', { success: {} }),
    post('/kv/txn', { success: ['x'] }),
    post('/kv/deleterange', { key: b64('t') }),
    post('/kv/deleterange', { key: b64('nested'), prev_kv: true }),
    post('/kv/deleterange', { key: b64('k'), range_end: b64('l'), prevKv: true }),
    post('/kv/deleterange', { range_end: b64('l') }),
    post('/kv/deleterange', { key: b64('big') }),
  ];
}

function leases(): Step[] {
  return [
    post('/lease/grant', { TTL: 1000, ID: '7' }),
    post('/lease/grant', { TTL: '1000', ID: 7 }),
    post('/lease/grant', { TTL: 1000 }, {}, { keep: ['LEASE', /"ID":"(\d+)"/] }),
    post('/lease/grant', { TTL: 9_000_000_001, ID: 8 }),
    post('/lease/grant', { TTL: 0 }),
    post('/lease/grant', { TTL: -5, ID: 11 }),
    post('/lease/grant', { ttl: 1000, id: 12 }),
    post('/kv/put', put('leased', 'v', { lease: 7 })),
    post('/kv/range', { key: b64('leased') }),
    post('/lease/timetolive', { ID: '7', keys: true }),
    post('/lease/timetolive', { ID: 99 }),
    post('/kv/lease/timetolive', { ID: '7' }),
    post('/lease/keepalive', { ID: '7' }),
    post('/lease/keepalive', { ID: '99' }),
    post('/lease/keepalive', '{"ID":"7"}\n{"ID":"7"} {"ID":99}'),
    post('/lease/keepalive', ''),
    post('/lease/revoke', { ID: '7' }),
    post('/lease/revoke', { ID: '7' }),
    post('/kv/lease/revoke', { ID: '$LEASE' }),
    post('/lease/leases', {}),
    post('/kv/lease/leases', {}),
  ];
}

function watches(): Step[] {
  const watch = (request: object, lines: number): Step => post('/watch', { create_request: request }, {}, { lines });
  return [
    watch({ key: b64('foo') }, 1),
    watch({ key: b64('foo'), start_revision: 2 }, 3),
    watch({ key: b64('foo'), startRevision: '2', prev_kv: true, watch_id: '5' }, 3),
    watch({ key: b64('foo'), start_revision: 2, filters: ['NOPUT'] }, 1),
    watch({ key: b64('\0'), range_end: b64('\0'), start_revision: 2, filters: [1] }, 2),
    watch({}, 1),
    post(
      '/watch',
      '{"create_request":{"key":"Zm9v"}}{"create_request":{"key":"Zm9v"}}{"cancel_request":{"watch_id":0}}',
      {},
      { lines: 3 },
    ),
    post(
      '/watch',
      '{"createRequest":{"key":"Zm9v","watchId":3}} {"create_request":{"key":"Zm9v","watch_id":3}}',
      {},
      { lines: 2 },
    ),
    post('/kv/compaction', { revision: 3 }),
    post('/kv/compaction', { revision: 3 }),
    post('/kv/compaction', { revision: 99999 }),
    post('/kv/compaction', { revision: '4', physical: true }),
    post('/kv/range', { key: b64('foo'), revision: 2 }),
    watch({ key: b64('foo'), start_revision: 2 }, 2),
  ];
}

function upkeep(): Step[] {
  return [
    post('/maintenance/status', {}),
    post('/maintenance/alarm', {}),
    post('/maintenance/alarm', { action: 'GET' }),
    post('/maintenance/alarm', { action: 'DEACTIVATE', alarm: 'NOSPACE' }),
    post('/maintenance/alarm', { action: 'GET', memberID: 1, alarm: 'CORRUPT' }),
    post('/maintenance/hashkv', {}),
    post('/maintenance/hashkv', { revision: 5 }),
    post('/maintenance/hashkv', { revision: 99999 }),
    post('/maintenance/hashkv', { revision: 1 }),
    post('/maintenance/hash', {}),
    post('/maintenance/defragment', {}),
    post('/maintenance/transfer-leadership', { targetID: 1 }),
    post('/maintenance/downgrade', { action: 'VALIDATE', version: '3.4' }),
    post('/maintenance/downgrade', { action: 'VALIDATE', version: 'x' }),
    post('/maintenance/downgrade', { action: 'VALIDATE', version: '<b>&' }),
    post('/maintenance/downgrade', { action: 'CANCEL' }),
    post('/maintenance/downgrade', { action: 7 }),
    post('/cluster/member/list', {}),
    post('/cluster/member/list', { linearizable: true }),
    post('/cluster/member/add', {}),
    post('/cluster/member/remove', { ID: 1 }),
    post('/cluster/member/update', { ID: 1, peerURLs: ['http://127.0.0.1:1'] }),
    post('/cluster/member/promote', { ID: 1 }),
    post('/cluster/member/add', { peerURLs: 'x' }),
    post('/cluster/member/add', { peerURLs: [1] }),
  ];
}

function queues(): Step[] {
  return [
    post('/lock/lock', { name: b64('lock') }, {}, { keep: ['LOCK', /"key":"([^"]*)"/] }),
    post('/lock/unlock', { key: '$LOCK' }),
    post('/lock/unlock', {}),
    post('/lock/lock', { name: b64('lock'), lease: 99 }),
    post('/election/leader', { name: b64('e') }),
    post('/election/leader', {}),
    post('/lease/grant', { TTL: 1000, ID: 21 }),
    post('/election/campaign', { name: b64('e'), lease: 21, value: b64('me') }, {}, { keep: ['REV', /"rev":"(\d+)"/] }),
    post('/election/leader', { name: b64('e') }),
    post('/election/observe', { name: b64('e') }, {}, { lines: 1 }),
    post('/election/proclaim', {
      leader: { name: b64('e'), key: b64('e/15'), rev: '$REV', lease: 21 },
      value: b64('you'),
    }),
    post('/election/proclaim', { leader: { name: b64('e'), key: b64('e/15'), rev: 1, lease: 21 } }),
    post('/election/proclaim', {}),
    post('/election/resign', {}),
    post('/election/resign', { leader: { name: b64('e'), key: b64('e/15'), rev: '$REV', lease: 21 } }),
    post('/lease/revoke', { ID: 21 }),
  ];
}

function beside(): Step[] {
  const steps: Step[] = [];
  for (const path of ['/version', '/health', '/livez', '/readyz', '/metrics']) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']) steps.push(get(path, {}, method));
  }
  const more = [
    '/',
    '/nothing',
    '/version/',
    '/version?x=y',
    '/health?serializable=true',
    '/health?serializable=false',
    '/health?exclude=NOSPACE',
    '/health?exclude=NOSPACE&exclude=CORRUPT',
    '/health/',
    '/healthz',
    '/livez?verbose',
    '/livez?verbose=1',
    '/livez/',
    '/livez/serializable_read',
    '/livez/serializable_read?verbose',
    '/livez/nothing',
    '/livez?exclude=serializable_read',
    '/livez?exclude=nothing',
    '/livez?exclude=serializable_read&verbose',
    '/readyz/data_corruption',
    '/readyz/serializable_read',
    '/readyz/linearizable_read?verbose',
    '/readyz/non_learner',
    '/readyz/nothing',
    '/readyz/linearizable_read/more',
    '/readyz?exclude=data_corruption',
    '//version',
    '/x/../version',
    '/v3',
    '/v2/keys',
    '/v2/members',
    '/debug/pprof/',
    '/%76ersion',
  ];
  return [...steps, ...more.map((path) => get(path))];
}

function users(): Step[] {
  const as = (token: string): Record<string, string> => ({ authorization: token });
  return [
    post('/auth/status', {}),
    post('/auth/enable', {}),
    post('/auth/authenticate', { name: 'root', password: 'r' }),
    post('/auth/user/add', { name: 'root', password: 'r' }),
    post('/auth/user/add', { name: 'root', password: 'r' }),
    post('/auth/user/add', { name: '', password: 'r' }),
    post('/auth/user/add', { name: 'ann', password: 'a' }),
    post('/auth/user/add', { name: 'bob', options: { no_password: true } }),
    post('/auth/role/add', { name: 'root' }),
    post('/auth/role/add', { name: 'reader' }),
    post('/auth/role/add', { name: 'reader' }),
    post('/auth/role/add', {}),
    post('/auth/role/grant', { name: 'reader', perm: { permType: 'READ', key: b64('foo') } }),
    post('/auth/role/grant', { name: 'reader', perm: { permType: 2, key: b64('p/'), range_end: b64('p0') } }),
    post('/auth/role/grant', { name: 'reader' }),
    post('/auth/role/grant', { name: 'nobody', perm: { key: b64('foo') } }),
    post('/auth/role/get', { role: 'reader' }),
    post('/auth/role/get', { role: 'nobody' }),
    post('/auth/role/list', {}),
    post('/auth/user/grant', { user: 'root', role: 'root' }),
    post('/auth/user/grant', { user: 'ann', role: 'reader' }),
    post('/auth/user/grant', { user: 'ann', role: 'nobody' }),
    post('/auth/user/get', { name: 'ann' }),
    post('/auth/user/get', { name: 'nobody' }),
    post('/auth/user/list', {}),
    post('/auth/user/changepw', { name: 'ann', password: 'b' }),
    post('/auth/user/revoke', { name: 'ann', role: 'root' }),
    post('/auth/enable', {}),
    post('/auth/status', {}),
    post('/auth/authenticate', { name: 'ann', password: 'wrong' }),
    post('/auth/authenticate', { name: 'nobody', password: 'x' }),
    post('/auth/authenticate', { name: 'ann', password: 'b' }, {}, { keep: ['ANN', /"token":"([^"]*)"/] }),
    post('/auth/authenticate', { name: 'root', password: 'r' }, {}, { keep: ['ROOT', /"token":"([^"]*)"/] }),
    post('/kv/range', { key: b64('foo') }),
    post('/kv/range', { key: b64('foo') }, as('nonsense')),
    post('/kv/range', { key: b64('foo') }, as('$ANN')),
    post('/kv/range', { key: b64('foo') }, { 'grpc-metadata-token': '$ANN' }),
    post('/kv/range', { key: b64('foo') }, { 'grpc-metadata-authorization': '$ANN' }),
    post('/kv/range', { key: b64('foo'), range_end: b64('g') }, as('$ANN')),
    post('/kv/put', put('foo', 'x'), as('$ANN')),
    post('/kv/put', put('p/1', 'x'), as('$ANN')),
    post('/kv/put', put('p/1', 'x', { prev_kv: true }), as('$ANN')),
    post('/auth/user/get', { name: 'ann' }, as('$ANN')),
    post('/auth/user/list', {}, as('$ANN')),
    post('/auth/user/add', { name: 'eve', password: 'x' }, as('$ANN')),
    post('/maintenance/status', {}),
    post('/maintenance/status', {}, as('$ROOT')),
    post('/maintenance/defragment', {}, as('$ANN')),
    post('/maintenance/snapshot', {}, as('$ANN')),
    post('/cluster/member/list', {}, as('$ANN')),
    post('/lease/grant', { TTL: 100 }),
    post('/watch', { create_request: { key: b64('foo') } }, as('$ANN'), { lines: 1 }),
    post('/watch', { create_request: { key: b64('secret') } }, as('$ANN'), { lines: 1 }),
    post('/lease/keepalive', { ID: 1 }),
    post('/auth/disable', {}, as('$ANN')),
    post('/auth/user/delete', { name: 'bob' }, as('$ROOT')),
    post('/auth/role/revoke', { role: 'reader', key: b64('foo') }, as('$ROOT')),
    post('/auth/role/revoke', { role: 'reader', key: b64('foo') }, as('$ROOT')),
    post('/auth/role/delete', { role: 'reader' }, as('$ROOT')),
    post('/auth/disable', {}, as('$ROOT')),
    post('/auth/status', {}),
    get('/health'),
  ];
}

/** Everything. */
export function steps(): Step[] {
  return [
    ...writes(),
    ...malformed(),
    ...reads(),
    ...transactions(),
    ...leases(),
    ...watches(),
    ...upkeep(),
    ...queues(),
    ...beside(),
    ...wrongEverywhere(),
    ...users(),
  ];
}

/** For members that know a list of origins and one of host names: see `POLICY_FLAGS`. */
export function policySteps(): Step[] {
  const hosts = [
    'good.example',
    'good.example:2379',
    'evil.example',
    '127.0.0.1',
    '[::1]:99',
    'GOOD.example',
    'good.example.',
  ];
  const origins = [
    'http://a.example:8080',
    'http://A.example:8080',
    'http://a.example',
    'http://b.example:8080',
    'null',
    '',
  ];
  const steps: Step[] = hosts.flatMap((host) => [
    get('/version', { host }),
    post('/kv/range', { key: b64('a') }, { host }),
    get('/v3/kv/range', { host }, 'OPTIONS'),
  ]);
  for (const origin of origins) {
    const headers = { host: 'good.example', origin };
    steps.push(get('/version', headers), get('/nothing', headers), get('/v3/kv/range', headers, 'OPTIONS'));
    steps.push(post('/kv/range', { key: b64('a') }, headers), post('/kv/range', {}, headers));
  }
  return steps;
}

export const POLICY_FLAGS = [
  '--cors',
  'http://a.example:8080,http://c.example:8080',
  '--host-whitelist',
  'good.example',
];
