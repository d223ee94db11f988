/** Each route's answer against what etcd answers, with a member that the test makes ill. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeExchange, type FakeRequest } from './exchange.fixture.ts';
import { HttpFront } from './front.ts';
import { HealthFigures } from './health-figures.ts';
import type { HttpMember, HttpPolicy } from './routes.ts';

class FakeMember implements HttpMember {
  readonly serverVersion = '3.5.30';
  version: string | undefined = '3.5.0';
  leader = true;
  learner = false;
  raised: string[] = [];
  failure: string | undefined = undefined;
  readonly clusterVersion = (): string | undefined => this.version;
  readonly hasLeader = (): boolean => this.leader;
  readonly isLearner = (): boolean => this.learner;
  readonly alarms = (): readonly string[] => this.raised;
  readonly probeRead = (): Promise<string | undefined> => Promise.resolve(this.failure);
  readonly metricsPage = (): string => 'etcd_x 1\n';
  readonly figures = new HealthFigures();
}

const OPEN: HttpPolicy = { cors: ['*'], hostWhitelist: ['*'], ignoresNames: () => false };

async function ask(member: HttpMember, request: FakeRequest, policy = OPEN): Promise<FakeExchange> {
  const exchange = new FakeExchange({ headers: { host: '127.0.0.1:2379' }, ...request });
  new HttpFront({ member, policy, gateway: null, api: null }).serve(exchange);
  await exchange.over;
  return exchange;
}

function get(member: HttpMember, target: string, method = 'GET'): Promise<FakeExchange> {
  return ask(member, { target, method });
}

describe('plain HTTP', () => {
  const cases: ReadonlyArray<
    readonly [what: string, prepare: (member: FakeMember) => void, target: string, status: number, body: string]
  > = [
    ['version', () => {}, '/version', 200, '{"etcdserver":"3.5.30","etcdcluster":"3.5.0"}'],
    [
      'version before it is decided',
      (m) => (m.version = undefined),
      '/version',
      200,
      '{"etcdserver":"3.5.30","etcdcluster":"not_decided"}',
    ],
    ['health', () => {}, '/health', 200, '{"health":"true","reason":""}'],
    ['an alarm', (m) => (m.raised = ['NOSPACE']), '/health', 503, '{"health":"false","reason":"ALARM NOSPACE"}\n'],
    [
      'an excluded alarm',
      (m) => (m.raised = ['NOSPACE']),
      '/health?exclude=NOSPACE',
      200,
      '{"health":"true","reason":""}',
    ],
    ['no leader', (m) => (m.leader = false), '/health', 503, '{"health":"false","reason":"RAFT NO LEADER"}\n'],
    [
      'no leader, serializable',
      (m) => (m.leader = false),
      '/health?serializable=true',
      200,
      '{"health":"true","reason":""}',
    ],
    [
      'a failing read',
      (m) => (m.failure = 'timed out'),
      '/health',
      503,
      '{"health":"false","reason":"RANGE ERROR:timed out"}\n',
    ],
    ['livez', () => {}, '/livez', 200, 'ok\n'],
    ['livez verbose', () => {}, '/livez?verbose', 200, '[+]serializable_read ok\nok\n'],
    ['readyz', () => {}, '/readyz', 200, 'ok\n'],
    ['one check', () => {}, '/readyz/non_learner', 200, 'ok\n'],
    [
      'a failing check',
      (m) => (m.learner = true),
      '/readyz/non_learner',
      503,
      '[-]non_learner failed: not supported for learner\n\n',
    ],
    ['a check that is not', () => {}, '/livez/nothing', 404, '404 page not found\n'],
    ['the root', () => {}, '/', 404, '404 page not found\n'],
    ['metrics', () => {}, '/metrics', 200, 'etcd_x 1\n'],
  ];
  for (const [what, prepare, target, status, body] of cases) {
    it(what, async () => {
      const member = new FakeMember();
      prepare(member);
      const answer = await get(member, target);
      assert.deepEqual([answer.status, answer.text], [status, body]);
    });
  }

  it('packs a page of figures for whoever can unpack it, and for nobody else', async () => {
    const page = 'etcd_x 1\n'.repeat(1000);
    const member = Object.assign(new FakeMember(), { metricsPage: () => page });
    const asked = (encoding: string): Promise<FakeExchange> =>
      ask(member, { target: '/metrics', headers: { host: 'a', 'accept-encoding': encoding } });
    const packed = await asked('br, gzip');
    assert.equal(packed.answered('Content-Encoding'), 'gzip');
    for (const encoding of ['', 'br', 'gzip;q=0']) {
      const plain = await asked(encoding);
      assert.deepEqual([plain.answered('Content-Encoding'), plain.text], [undefined, page], encoding);
    }
  });

  it('refuses other methods and says which it takes', async () => {
    const answer = await get(new FakeMember(), '/version', 'POST');
    assert.equal(answer.status, 405);
    assert.equal(answer.answered('Allow'), 'GET');
  });

  it('answers any OPTIONS with what browsers ask', async () => {
    const answer = await get(new FakeMember(), '/anything', 'OPTIONS');
    assert.equal(answer.status, 200);
    assert.equal(answer.answered('Access-Control-Allow-Origin'), '*');
  });

  it('allows only the origins and hosts that the operator listed', async () => {
    // CVE-2018-5702: a page makes its own name stand for this address.
    const policy = { ...OPEN, cors: ['https://a.example'], hostWhitelist: ['good.example'] };
    const from = (origin: string, host = 'good.example:2379') =>
      ask(new FakeMember(), { target: '/livez', headers: { origin, host } }, policy);
    assert.equal((await from('https://a.example')).answered('Access-Control-Allow-Origin'), 'https://a.example');
    const other = await from('https://b.example');
    assert.ok(!other.headers.some(([name]) => name.startsWith('Access-Control')));
    const refused = await from('https://a.example', 'evil.example');
    assert.equal(refused.status, 421);
    assert.match(refused.text, /^etcd received your request, but the Host header was unrecognized\./);
  });

  it('sends whoever writes a path with detours to the plain one', async () => {
    for (const path of ['//version', '/x/../version', '/./version']) {
      const answer = await get(new FakeMember(), `${path}?a=b`);
      assert.deepEqual([answer.status, answer.answered('Location')], [301, '/version?a=b']);
    }
  });
});
