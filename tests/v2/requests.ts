/** Requests on the API of etcd 2, in order: each finds the tree as those before have left it. */
import type { Asked } from '../gateway/http.ts';

export type Step = Asked;

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'content-type': 'application/json' };

const on = (method: string, path: string, query = '', body?: string): Step => ({
  method,
  path: `/v2/keys${path}${query === '' ? '' : `?${query}`}`,
  ...(body === undefined ? {} : { headers: FORM, body }),
});
const get = (path: string, query = ''): Step => on('GET', path, query);
const put = (path: string, body: string, query = ''): Step => on('PUT', path, query, body);
const post = (path: string, body: string, query = ''): Step => on('POST', path, query, body);
const remove = (path: string, query = ''): Step => on('DELETE', path, query);
const plain = (method: string, path: string, more: Partial<Step> = {}): Step => ({ method, path, ...more });

function keys(): Step[] {
  return [
    get(''),
    get('/'),
    on('HEAD', ''),
    get('/none'),
    on('HEAD', '/none'),
    put('/foo', 'value=bar'),
    on('HEAD', '/foo'),
    get('/foo'),
    get('/foo/'),
    get('/foo/sub'),
    put('/foo', 'value=bar2'),
    put('/foo', 'value='),
    put('/foo', ''),
    put('/foo', 'value=a&value=b'),
    put('/foo', 'value=x', 'prevExist=false'),
    put('/foo', 'value=upd', 'prevExist=true'),
    put('/none', 'value=upd', 'prevExist=true'),
    put('/new', 'value=1', 'prevExist=false'),
    put('/new', 'value=2&prevExist=false'),
    put('/foo', 'value=upd2', 'prevExist=true&prevValue=upd'),
    put('/foo', 'value=upd3', 'prevExist=true&prevIndex=1'),
    put('/foo', 'value=upd3', 'prevValue=zz&prevIndex=99'),
    put('/foo', 'value=upd3', 'prevValue=zz'),
    put('/foo', 'value=upd3', 'prevIndex=99'),
    put('/foo', 'value=upd3', 'prevIndex=0'),
    put('/foo', 'value=upd3', 'prevIndex=00099'),
    put('/none', 'value=x', 'prevIndex=3'),
    put('/none', 'value=x', 'prevValue=3'),
    put('/none/deeper/still', 'value=x', 'prevValue=3'),
    put('/foo/sub', 'value=1'),
    put('/foo/sub', 'value=1', 'prevExist=true'),
    put('/foo/sub', 'value=1', 'prevValue=1'),
    post('/foo', 'value=1'),
    post('/foo/x', 'value=1'),
    remove('/foo/x'),
    put('/foo', 'dir=true'),
    put('/foo', 'dir=true'),
    put('/foo', 'dir=true', 'prevExist=false'),
    put('/foo', 'value=3'),
    put('/foo', 'dir=true', 'prevExist=true'),
    put('/foo', 'dir=true&ttl=100', 'prevExist=true'),
    put('/foo', 'ttl=100&value=abc', 'prevExist=true'),
    put('/foo', 'value=1', 'prevIndex=1'),
    put('/foo', 'value=1', 'prevValue=1'),
    put('/foo', 'refresh=true&ttl=10'),
    remove('/foo'),
    remove('/foo', 'dir=false'),
    remove('/foo', 'dir=true'),
    remove('/foo', 'dir=true'),
    put('/withdir', 'dir=true&value=ignored'),
    get('/withdir'),
    remove('/withdir', 'recursive=true'),
    remove('/new', 'dir=true'),
    put('/new', 'value=3'),
    remove('/new', 'recursive=true'),
  ];
}

function trees(): Step[] {
  return [
    put('/d/a/b', 'value=1'),
    put('/d/a/c', 'value=2'),
    put('/d/e', 'value=3'),
    put('/d/empty', 'dir=true'),
    get('/d', 'sorted=true'),
    get('/d/', 'sorted=true'),
    get('/d', 'recursive=true&sorted=true'),
    get('/d/a', 'recursive=true&sorted=true'),
    get('/d/empty'),
    get('/d/empty', 'recursive=true'),
    get('/d/a/b', 'recursive=true'),
    get('/d/a/b/c'),
    get('/d/x/y/z'),
    get('/', 'recursive=true&sorted=true'),
    get('', 'recursive=1&sorted=T'),
    get('/d', 'quorum=true&sorted=true'),
    on('HEAD', '/d', 'quorum=true&sorted=true'),
    get('/d', 'recursive=f&sorted=true'),
    remove('/d'),
    remove('/d', 'dir=true'),
    remove('/d/empty', 'dir=true'),
    remove('/d', 'prevValue=1'),
    remove('/d', 'prevIndex=1'),
    remove('/d/a/b', 'prevValue=2'),
    remove('/d/a/b', 'prevIndex=2'),
    remove('/d/a/b', 'prevIndex=2&prevValue=2'),
    remove('/d/a/b', 'prevValue='),
    remove('/d/a/b', 'prevValue=1'),
    remove('/d/a/b', 'prevValue=1'),
    remove('/d/a/c', 'prevIndex=0'),
    remove('/d', 'recursive=true'),
    remove('/d', 'recursive=true'),
    remove('/'),
    remove(''),
    remove('/', 'recursive=true'),
    remove('/', 'prevValue=1'),
    remove('/', 'prevIndex=5'),
    put('/', 'value=1'),
    put('', 'value=1'),
    put('/', 'dir=true'),
    put('/', 'value=1', 'prevExist=false'),
    put('/', 'value=1', 'prevExist=true'),
    put('/', 'value=1', 'prevValue=1'),
  ];
}

function queues(): Step[] {
  return [
    post('', 'value=root'),
    post('/', 'value=root'),
    post('/q', 'value=job1'),
    post('/q', 'value=job2'),
    post('/q/', 'value=job3'),
    post('/q', 'dir=true'),
    post('/q', 'value=later&ttl=1000'),
    post('/q', ''),
    post('/q', 'value=x', 'prevExist=false'),
    post('/q', 'value=x', 'prevIndex=7'),
    get('/q', 'sorted=true'),
    get('/q', 'sorted=true&recursive=true'),
    post('/deep/er/queue', 'value=1'),
    get('/deep', 'sorted=true&recursive=true'),
    remove('/q', 'recursive=true'),
    remove('/deep', 'recursive=true'),
    post('/q', 'value=7', 'noValueOnSuccess=true'),
    put('/f', 'value=5', 'noValueOnSuccess=true'),
    put('/f', 'value=6', 'noValueOnSuccess=true'),
    put('/f', 'value=7', 'noValueOnSuccess=true&prevValue=6'),
    put('/f', 'value=8', 'noValueOnSuccess=1&prevExist=true'),
    put('/f', 'value=8', 'noValueOnSuccess=0'),
    put('/f', 'value=8', 'noValueOnSuccess=true&prevValue=6'),
    remove('/f', 'noValueOnSuccess=true'),
  ];
}

function times(): Step[] {
  return [
    put('/t', 'value=5&ttl=100'),
    get('/t'),
    put('/t', 'refresh=true&ttl=200&prevExist=true'),
    put('/t', 'refresh=true&ttl=200'),
    put('/tnone', 'refresh=true&ttl=200'),
    put('/tnone', 'refresh=true&ttl=200&prevExist=true'),
    put('/t', 'refresh=true&ttl=200', 'prevValue=5'),
    put('/t', 'refresh=true&ttl=200', 'prevValue=6'),
    put('/t', 'refresh=true'),
    put('/t', 'refresh=true&ttl='),
    put('/t', 'refresh=true&ttl=5&value=7'),
    put('/t', 'refresh=true&ttl=50&value='),
    put('/t', 'refresh=false&ttl=50&value=7'),
    put('/t', 'ttl=abc'),
    put('/t', 'ttl=-1'),
    put('/t', 'ttl=1.5'),
    put('/t', 'ttl=99999999999999999999999'),
    put('/t', 'ttl=9999999999&value=1'),
    put('/t', 'ttl=&value=1'),
    put('/t', 'ttl=300&value=1', 'prevExist=true'),
    put('/t', 'ttl=&value=1', 'prevExist=true'),
    put('/t', 'ttl=300&value=2', 'prevValue=1'),
    put('/tdir', 'dir=true&ttl=300'),
    put('/tdir/in', 'value=1'),
    get('/tdir', 'recursive=true'),
    get('/', 'recursive=true&sorted=true'),
    remove('/tdir', 'recursive=true'),
    remove('/t'),
  ];
}

function wrong(): Step[] {
  const fields = ['wait', 'recursive', 'sorted', 'quorum', 'stream', 'dir', 'noValueOnSuccess', 'prevExist', 'refresh'];
  return [
    ...fields.flatMap((field) => [get('/w', `${field}=x`), get('/w', `${field}=`)]),
    ...fields.map((field) => put('/w', `${field}=yes&value=1`)),
    get('/w', 'recursive=TRUE'),
    get('/w', 'recursive=tRUE'),
    ...['waitIndex', 'prevIndex'].flatMap((field) => [
      get('/w', `${field}=x`),
      get('/w', `${field}=`),
      get('/w', `${field}=-1`),
      get('/w', `${field}=18446744073709551616`),
    ]),
    get('/w', 'prevIndex=18446744073709551615'),
    get('/w', 'prevIndex=x&waitIndex=y&wait=z'),
    get('/w', 'ttl=x'),
    get('/w', 'wait=true&recursive=x'),
    put('/w', 'value=1', 'wait=true'),
    post('/w', 'value=1', 'wait=true'),
    remove('/w', 'wait=true'),
    on('HEAD', '/w', 'wait=true'),
    get('/w', 'prevValue='),
    get('/w', 'a=%zz'),
    get('/w', 'a=%'),
    get('/w', 'a=%4'),
    get('/w', '%zz=1'),
    get('/w', 'a;b'),
    get('/w', 'a;b&recursive=x'),
    get('/w', '&&=&=1&a&b=1=2'),
    put('/w', 'value=%zz'),
    put('/w', 'value=1;2'),
    put('/w', 'value=1', 'a=%zz'),
    put('/w', 'value=%zz', 'a=%yy'),
    plain('PUT', '/v2/keys/w', { headers: { 'content-type': 'text/plain' }, body: 'value=1' }),
    plain('PUT', '/v2/keys/w', { body: 'value=1' }),
    plain('PUT', '/v2/keys/w', { headers: JSON_TYPE, body: '{"value":1}' }),
    plain('PUT', '/v2/keys/w', { headers: { 'content-type': `${FORM['content-type']}; charset` }, body: 'value=1' }),
    plain('PUT', '/v2/keys/w', {
      headers: { 'content-type': `${FORM['content-type']}; charset=utf-8` },
      body: 'value=1',
    }),
    plain('PUT', '/v2/keys/w', { headers: { 'content-type': 'APPLICATION/X-WWW-form-urlencoded;' }, body: 'value=2' }),
    plain('PUT', '/v2/keys/w', { headers: { 'content-type': ';;' }, body: 'value=1' }),
    put('/w', 'value=b', 'value=q'),
    put('/w', 'x=b', 'value=q'),
    plain('DELETE', '/v2/keys/w?recursive=true', { headers: { ...FORM, 'content-length': '5' }, body: 'dir=x' }),
    on('PATCH', '/w', '', 'value=1'),
    on('TRACE', '/w'),
    on('OPTIONS', '/w'),
    on('OPTIONS', ''),
    on('PATCH', ''),
  ];
}

function names(): Step[] {
  return [
    put('/_h/x', 'value=1'),
    put('/v/_h/x', 'value=1'),
    put('/v/shown', 'value=1'),
    put('/v/not_hidden', 'value=1'),
    get('/', 'recursive=true&sorted=true'),
    get('/v', 'sorted=true'),
    get('/_h'),
    get('/v/_h', 'recursive=true'),
    post('/_q', 'value=1'),
    get('/a%2fb%20c'),
    put('/a%2fb%20c', 'value=1'),
    get('/a/b%20c'),
    get('/a/b+c'),
    put('/plus', 'value=a+b%2Bc%20d'),
    put('/%C3%A4', 'value=%C3%A4%3C%3E%26%E2%80%A8%22%5C%0A%01'),
    get('/%C3%A4'),
    put('/%22quoted%22%5C', 'value=1'),
    put('/%3Cb%3E', 'value=1'),
    put('/.hidden', 'value=1'),
    put('/...', 'value=1'),
    put('/a:b@c,d;e=f', 'value=1'),
    put("/~!$&'()*", 'value=1'),
    put('/x//y', 'value=1'),
    get('//x'),
    put('/x/%2e%2e/y', 'value=1'),
    put('/x%2f%2e%2e%2fy', 'value=1'),
    get('/x/./y'),
    get('/x/..'),
    put(`/${'n'.repeat(1000)}`, 'value=1'),
    put(`${'/deep'.repeat(40)}`, 'value=1'),
    get('/deep', 'recursive=true'),
    put('/big', `value=${'v'.repeat(100_000)}`),
    remove('/big'),
    remove('/deep', 'recursive=true'),
    get('/%3Fquestion'),
    get('/#fragment'),
  ];
}

function watches(): Step[] {
  return [
    put('/s/a', 'value=1'),
    put('/s/b', 'value=2'),
    put('/s/a', 'value=3'),
    remove('/s/b'),
    put('/s/_c/d', 'value=4'),
    get('/s/a', 'wait=true&waitIndex=4'),
    get('/s', 'wait=true&recursive=true&waitIndex=4'),
    get('/s/b', 'wait=true&waitIndex=4'),
    get('/s/_c', 'wait=true&recursive=true&waitIndex=4'),
    get('/foo', 'wait=true&waitIndex=4'),
    get('/foo', 'wait=true&waitIndex=5'),
    get('/d/a', 'wait=true&waitIndex=10&recursive=true'),
    get('/', 'wait=true&waitIndex=6&recursive=true'),
    get('/q', 'wait=true&waitIndex=6&recursive=true'),
    get('/d/a/c', 'wait=true&waitIndex=30&quorum=true'),
    { ...get('/s/a', 'wait=true&waitIndex=4&stream=true'), lines: 1 },
    ...Array.from({ length: 30 }, (_, turn) => put('/turns', `value=${turn}`)),
    get('/turns', 'wait=true&waitIndex=100'),
  ];
}

function beside(): Step[] {
  return [
    plain('GET', '/v2'),
    plain('GET', '/v2/'),
    plain('GET', '/v2/foo'),
    plain('GET', '/v2/keysfoo'),
    plain('POST', '/v2/foo'),
    plain('GET', '/v2/members'),
    plain('GET', '/v2/members/'),
    plain('GET', '/v2/members/leader'),
    plain('GET', '/v2/members/1234'),
    plain('GET', '/v2/members/leader/x'),
    plain('POST', '/v2/members', { headers: JSON_TYPE, body: '{"peerURLs":[]}' }),
    plain('POST', '/v2/members', { headers: JSON_TYPE, body: '{}' }),
    plain('POST', '/v2/members', { headers: JSON_TYPE, body: '{"peerURLs":["foo"]}' }),
    plain('POST', '/v2/members', { headers: FORM, body: '{}' }),
    plain('POST', '/v2/members', { body: '{}' }),
    plain('DELETE', '/v2/members'),
    plain('DELETE', '/v2/members/'),
    plain('DELETE', '/v2/members/xyz'),
    plain('DELETE', '/v2/members/1234'),
    plain('DELETE', '/v2/members/a/b'),
    plain('PUT', '/v2/members/1234', { headers: JSON_TYPE, body: '{"peerURLs":["http://127.0.0.1:1"]}' }),
    plain('PUT', '/v2/members/1234', { headers: FORM, body: '{"peerURLs":["http://127.0.0.1:1"]}' }),
    plain('PUT', '/v2/members'),
    plain('PATCH', '/v2/members'),
    plain('HEAD', '/v2/members'),
    plain('GET', '/v2/machines'),
    plain('HEAD', '/v2/machines'),
    plain('POST', '/v2/machines'),
    plain('GET', '/v2/machines/x'),
    plain('GET', '/v2/stats'),
    plain('GET', '/v2/stats/'),
    plain('GET', '/v2/stats/foo'),
    plain('GET', '/v2/stats/self'),
    plain('GET', '/v2/stats/leader'),
    plain('POST', '/v2/stats/self'),
    plain('POST', '/v2/stats/store'),
    plain('PUT', '/v2/stats/leader'),
    plain('GET', '/v2/auth/enable'),
    plain('GET', '/v2/auth'),
    plain('GET', '/version'),
    plain('GET', '/health'),
  ];
}

/** From here on a majority is missing. */
function withoutMajority(): Step[] {
  return [
    plain('POST', '/v2/members', { headers: JSON_TYPE, body: '{"peerURLs":["http://127.0.0.1:1"]}' }),
    plain('POST', '/v2/members', { headers: JSON_TYPE, body: '{"peerURLs":["http://127.0.0.1:1"]}' }),
    plain('GET', '/v2/members/leader'),
    plain('GET', '/v2/machines'),
    get('/', 'sorted=true'),
  ];
}

/** A directory is updated, which changes its index in etcd 3.4 and fails in 3.5. */
const UPDATES = [put('/foo', 'dir=true', 'prevExist=true'), put('/foo', 'dir=true&ttl=100', 'prevExist=true')];

function withMajority(): Step[] {
  return [...keys(), ...trees(), ...queues(), ...times(), ...wrong(), ...names(), ...watches(), ...beside()];
}

/** All of them. */
export function steps(): Step[] {
  return [...withMajority(), ...withoutMajority()];
}

/** As the log of differences names a request. */
export function nameOf({ method, path, body = '' }: Step): string {
  return `${method} ${path.slice(0, 200)} ${body.length > 100 ? `${body.length} bytes` : String(body)}`;
}

/** The same, but what changes the tree in etcd 3.4 alone is left out, so that both trees stay equal. */
export function steps34(): Step[] {
  const left = new Set(UPDATES.map(nameOf));
  return steps().filter((step) => !left.has(nameOf(step)));
}

/** What was left out, behind the making of a directory. */
export function updates34(): Step[] {
  return [put('/foo', 'dir=true'), ...UPDATES];
}

/** Requests that etcd 3.4 answers otherwise than 3.5, which is what a member claims to be, and what its answer ends with. */
export const UNLIKE_34: ReadonlyMap<string, RegExp> = new Map([
  ['GET /version ', /\{"etcdserver":"3\.4\.\d+","etcdcluster":"3\.4\.0"\}$/],
  ['GET /health ', /\{"health":"true"\}$/],
  [nameOf(UPDATES[0] as Step), /^200\n.*\{"action":"update","node":\{"key":"\/foo","dir":true,"modifiedIndex"/s],
  [
    nameOf(UPDATES[1] as Step),
    /^200\n.*\{"action":"update","node":\{"key":"\/foo","dir":true,"expiration":"-","ttl":100,/s,
  ],
]);

/** What a member answers that does not serve this API: nothing is there. */
export function stepsWithout(): Step[] {
  const paths = ['/v2', '/v2/keys', '/v2/keys/foo', '/v2/members', '/v2/machines', '/v2/stats/self', '/v2/auth/enable'];
  return paths.flatMap((path) => [plain('GET', path), plain('PUT', path, { headers: FORM, body: 'value=1' })]);
}
