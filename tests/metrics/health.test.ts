/**
 * Goal: whatever asks after the health of a member gets from etsd the answer that it gets from etcd, above all where a member
 * is not well. Method: clusters of both products are brought into the same troubles, and all questions are put to both.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freePort, needsPeer } from '@etsd/testkit';
import { type Answered, ask } from '../gateway/http.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';

const PATIENCE_MS = 90_000;

const QUESTIONS = [
  '/health',
  '/health?serializable=true',
  '/health?serializable=TRUE',
  '/health?exclude=NOSPACE',
  '/health?exclude=CORRUPT',
  '/health?exclude=NOSPACE&exclude=CORRUPT',
  '/health?exclude=NOSPACE,CORRUPT',
  '/health?exclude=nospace',
  '/livez',
  '/livez?verbose',
  '/livez/serializable_read',
  '/livez/data_corruption',
  '/livez?exclude=serializable_read&verbose',
  '/livez?allowlist=nothing&verbose',
  '/readyz',
  '/readyz?verbose',
  '/readyz?verbose&exclude=linearizable_read',
  '/readyz?verbose&exclude=linearizable_read&exclude=data_corruption',
  '/readyz?verbose&exclude=linearizable_read,data_corruption',
  '/readyz?verbose&exclude=nothing',
  '/readyz?verbose&allowlist=serializable_read',
  '/readyz/data_corruption',
  '/readyz/data_corruption?verbose',
  '/readyz/serializable_read?verbose',
  '/readyz/linearizable_read',
  '/readyz/linearizable_read?exclude=linearizable_read',
  '/readyz/non_learner?verbose',
  '/readyz/nothing',
];

/** Where no member leads; checks of linearizable reads take as long there as a request may. */
const FEW_QUESTIONS = [
  '/health',
  '/health?serializable=true',
  '/livez?verbose',
  '/readyz?verbose&exclude=linearizable_read',
  '/readyz/non_learner',
  '/version',
];
const LONG_QUESTION = '/readyz?verbose';

/** What a client may see; checks stand in any order. */
function shown({ status, headers, body }: Answered): string {
  const lines = body.split('\n').sort().join('\n');
  const named = ['content-type', 'x-content-type-options', 'allow', 'content-length'].map((name) => headers[name]);
  return [status, ...named, lines].join('|');
}

async function answers(port: number, questions: readonly string[]): Promise<Map<string, string>> {
  const found = await Promise.all(
    questions.map(async (path) => [path, shown(await ask(port, { method: 'GET', path }))] as const),
  );
  return new Map(found);
}

interface Patient {
  readonly cluster: TestCluster;
  readonly member: ClusterMember;
  readonly figuresPort: number;
}

async function bothAnswer(patients: readonly Patient[], questions: readonly string[], figures: boolean): Promise<void> {
  const [theirs, ours] = await Promise.all(
    patients.map(({ member, figuresPort }) => answers(figures ? figuresPort : member.clientPort, questions)),
  );
  assert.deepEqual(ours, theirs);
}

describe('health', { skip: needsPeer('etcd') }, () => {
  it('is told as etcd tells it, with alarms and without a leader', { timeout: 400_000 }, async (t) => {
    const patients = await Promise.all(
      (['etcd', 'etsd'] as const).map(async (product): Promise<Patient> => {
        const figuresPort = await freePort();
        const cluster = await TestCluster.prepare({ products: [product, product] });
        t.after(() => cluster.dispose());
        const [member, other] = cluster.members as [ClusterMember, ClusterMember];
        member.extraFlags.push('--listen-metrics-urls', `http://127.0.0.1:${figuresPort}`);
        await Promise.all([member.start(), other.start()]);
        await cluster.agreed();
        await cluster.versionDecided();
        return { cluster, member, figuresPort };
      }),
    );
    await t.test('while all is well', () => bothAnswer(patients, [...QUESTIONS, '/version', '/debug/nothing'], false));
    await t.test('on the address for figures', () =>
      bothAnswer(patients, [...QUESTIONS, '/version', '/debug/vars', '/', '/v3/kv/range'], true),
    );
    for (const alarm of ['NOSPACE', 'CORRUPT']) {
      for (const { cluster, member } of patients) {
        const memberID = await cluster.idOf(member);
        await cluster.ask('Maintenance/Alarm', { action: 'ACTIVATE', memberID, alarm });
        await eventually(PATIENCE_MS, `${alarm} is known`, async () => {
          const { body } = await ask(member.clientPort, { method: 'GET', path: '/health?exclude=NOSPACE' });
          const { body: all } = await ask(member.clientPort, { method: 'GET', path: '/health' });
          return (alarm === 'CORRUPT' ? body : all).includes('ALARM') || null;
        });
      }
      await t.test(`with the alarm ${alarm}`, () => bothAnswer(patients, QUESTIONS, false));
      if (alarm === 'CORRUPT') continue;
      for (const { cluster, member } of patients) {
        const memberID = await cluster.idOf(member);
        await cluster.ask('Maintenance/Alarm', { action: 'DEACTIVATE', memberID, alarm });
      }
    }
    await Promise.all(patients.map(({ cluster }) => cluster.members[1]?.kill()));
    await Promise.all(
      patients.map(({ member }) =>
        eventually(PATIENCE_MS, 'nobody leads', async () => {
          const path = '/health?exclude=CORRUPT';
          return (await ask(member.clientPort, { method: 'GET', path })).body.includes('NO LEADER') || null;
        }),
      ),
    );
    await t.test('without a leader', () => bothAnswer(patients, FEW_QUESTIONS, false));
    await Promise.all(patients.map(({ member }) => member.kill()));
    const starts = patients.map(({ member }) => member.start().catch(() => {}));
    await Promise.all(
      patients.map(({ figuresPort }) =>
        eventually(PATIENCE_MS, 'figures are shown', () =>
          ask(figuresPort, { method: 'GET', path: '/livez' }).catch(() => null),
        ),
      ),
    );
    await t.test('after a start without the others, on the address for figures', () =>
      bothAnswer(patients, [...FEW_QUESTIONS, LONG_QUESTION], true),
    );
    await Promise.all(patients.map(({ member }) => member.kill()));
    await Promise.all(starts);
  });
});
