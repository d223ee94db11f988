/** Each route's answer against what etcd answers, with a member that the test makes ill. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { answerHttp, type HttpAnswer, type HttpMember } from './routes.ts';

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
}

const OPEN = { cors: ['*'], hostWhitelist: ['*'], secure: false };

function get(member: HttpMember, target: string, method = 'GET'): Promise<HttpAnswer> {
  return answerHttp(member, OPEN, { method, target, origin: undefined, host: '127.0.0.1:2379' });
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
      assert.deepEqual([answer.status, answer.body], [status, body]);
    });
  }

  it('refuses other methods and says which it takes', async () => {
    const answer = await get(new FakeMember(), '/version', 'POST');
    assert.equal(answer.status, 405);
    assert.ok(answer.headers.some(([name, value]) => name === 'Allow' && value === 'GET'));
  });

  it('answers any OPTIONS with what browsers ask', async () => {
    const answer = await get(new FakeMember(), '/anything', 'OPTIONS');
    assert.equal(answer.status, 200);
    assert.ok(answer.headers.some(([name, value]) => name === 'Access-Control-Allow-Origin' && value === '*'));
  });

  it('allows only the origins and hosts that the operator listed', async () => {
    const policy = { cors: ['https://a.example'], hostWhitelist: ['good.example'], secure: false };
    const question = { method: 'GET', target: '/livez', origin: 'https://a.example', host: 'good.example:2379' };
    const allowed = await answerHttp(new FakeMember(), policy, question);
    assert.ok(allowed.headers.some(([, value]) => value === 'https://a.example'));
    const other = await answerHttp(new FakeMember(), policy, { ...question, origin: 'https://b.example' });
    assert.ok(!other.headers.some(([name]) => name.startsWith('Access-Control')));
    const refused = await answerHttp(new FakeMember(), policy, { ...question, host: 'evil.example' });
    assert.equal(refused.status, 421);
    assert.match(refused.body, /^etcd received your request, but the Host header was unrecognized\./);
  });
});
