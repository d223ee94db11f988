/**
 * Goal: what lies in deploy/ for Prometheus and Grafana works on the first day. Method: a real Prometheus scrapes three
 * members at work with the rules loaded; every query of the dashboard has to answer with something, every series that a
 * rule names has to be there, and promtool runs the rules' own tests.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { DASHBOARD_FILE, dashboard } from '../../scripts/gen-dashboard.ts';
import { DeadlineError, eventually } from '../support/conditions.ts';
import { documentedFigures, shownFigures } from './documented.ts';
import { selectorsOf } from './expressions.ts';
import { JOB, needsPrometheus, ObservedCluster, RULES } from './observed.ts';
import { parsePage, readPage } from './pages.ts';

const run = promisify(execFile);
const SCRAPE_MS = 500;
const PATIENCE_MS = 120_000;

interface Target {
  readonly expr: string;
}

/** Every query of the dashboard, with what Grafana would put in for its variables. */
function dashboardQueries(): string[] {
  const { panels } = JSON.parse(readFileSync(DASHBOARD_FILE, 'utf8')) as { panels: { targets?: Target[] }[] };
  return panels
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    .map((expr) => expr.replaceAll('$cluster', JOB).replaceAll('$__rate_interval', '5s'));
}

/** Waits until nothing is left of what `test` still misses; says what is, where that takes too long. */
async function untilNoneMissing(all: readonly string[], test: (one: string) => Promise<boolean>): Promise<void> {
  let missing = [...all];
  try {
    await eventually(
      PATIENCE_MS,
      'nothing is missing',
      async () => {
        const still: string[] = [];
        for (const one of missing) if (!(await test(one))) still.push(one);
        missing = still;
        return missing.length === 0 || null;
      },
      SCRAPE_MS,
    );
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    assert.deepEqual(missing, []);
  }
}

describe('what Prometheus makes of it', () => {
  it('the committed dashboard is what its script writes', () => {
    assert.equal(readFileSync(DASHBOARD_FILE, 'utf8'), dashboard());
  });

  it('selectors are found in expressions', () => {
    assert.deepEqual(
      selectorsOf(
        'sum without (a) (rate(x_total{b=~"c|(e)"}[5m])) / on (f) group_left (g) y > bool 3 or z:p99 offset 1m',
      ),
      ['x_total{b=~"c|(e)"}', 'y', 'z:p99'],
    );
  });

  describe('with promtool', { skip: needsPrometheus() }, () => {
    it('the rules are rules, and each alert fires for what it is made for', async () => {
      await run('promtool', ['check', 'rules', join(RULES, 'etsd-rules.yml')]);
      await run('promtool', ['check', 'config', join(RULES, 'prometheus.yml')]);
      await run('promtool', ['test', 'rules', join(RULES, 'etsd-rules.test.yml')]);
    });

    it('each alert is among those tests', () => {
      const tests = readFileSync(join(RULES, 'etsd-rules.test.yml'), 'utf8');
      const alerts = readFileSync(join(RULES, 'etsd-rules.yml'), 'utf8').matchAll(/alert: (\S+)/g);
      const untested = [...alerts].map(([, name]) => name).filter((name) => !tests.includes(`alertname="${name}"`));
      assert.deepEqual(untested, []);
    });

    it('every query finds its series in a running cluster', { timeout: 400_000 }, async () => {
      await using observed = await ObservedCluster.start(SCRAPE_MS);
      const rules = await observed.api<{ groups: { rules: { name: string; query: string }[] }[] }>('rules');
      const selectors = rules.groups.flatMap(({ rules: all }) => all.flatMap(({ query }) => selectorsOf(query)));
      assert.ok(selectors.length > 30, `${selectors.length} selectors in all rules`);
      await untilNoneMissing([...new Set(selectors)], async (one) => (await observed.find(one)).length > 0);
      await untilNoneMissing(dashboardQueries(), async (one) => (await observed.query(one)).length > 0);
      const after = await observed.api<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>(
        'rules',
      );
      const ill = after.groups.flatMap((group) => group.rules.filter(({ health }) => health !== 'ok'));
      assert.deepEqual(ill, []);
      const own = shownFigures(parsePage(await readPage(observed.cluster.members[0]?.clientPort as number)));
      const documented = documentedFigures();
      assert.deepEqual(
        own,
        own.map(({ name }) => documented.get(name)),
        'docs/metrics.md says what the page says',
      );
      // Nobody is ill, so that nobody is woken.
      assert.deepEqual(await observed.query('ALERTS{alertstate="firing"}'), []);
      const { stdout } = await run('promtool', [
        'query',
        'instant',
        `http://127.0.0.1:${observed.prometheusPort}`,
        `sum(up{job="${JOB}"})`,
      ]);
      assert.match(stdout, /=> 3 @/);
    });
  });
});
