/**
 * Goal: a failing run comes out small, breaks the same promise, and can be written down and played again. Method: a stand-in for
 * the simulator whose failure has known causes, so that it takes no time; and one run of the real one, written down.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { NO_EXTRAS } from './extras.ts';
import { drawFaults } from './faults.ts';
import { drawPlan, type Plan } from './plan.ts';
import { type Schedule, scheduleOf, shrink } from './shrink.ts';
import { type SimulateOptions, type SimulateResult, simulate } from './simulate.ts';

const PLAN: Plan = {
  ...drawPlan(new Prng(3)),
  ...NO_EXTRAS,
  founders: 5,
  clients: 9,
  compactionMs: 200,
  authMs: 1000,
  faultMs: 500,
};
const FAULTS = drawFaults(new Prng(4), PLAN, 20_000);

/** Breaks a promise where there is compaction, three clients or more, and the fault that comes ninth. */
function pretend({ seed, seconds, plan, faults }: SimulateOptions): Promise<SimulateResult> {
  const whole = { ...PLAN, ...plan };
  const given = faults ?? FAULTS;
  const culprit = FAULTS[8] as (typeof FAULTS)[number];
  const isBroken = whole.compactionMs > 0 && whole.clients >= 2 && given.some((fault) => fault.atMs === culprit.atMs);
  const violations = isBroken && seconds * 1000 >= culprit.atMs ? [{ rule: 'watch complete', text: 'something' }] : [];
  const stats = { simulatedMs: seconds * 1000 } as SimulateResult['stats'];
  return Promise.resolve({ seed, plan: whole, faults: given, violations, trace: [], history: [], stats });
}

test('what does not matter is left out, what does stays, and the rest of the run with it', async () => {
  assert.ok(FAULTS.length > 15, 'a schedule worth the name');
  const failed = scheduleOf(await pretend({ seed: 1, seconds: 20 }), 20);
  assert.ok(failed !== null);
  const seen: Schedule[] = [];
  const small = await shrink(failed, { simulate: pretend, runsMax: 500, smaller: (schedule) => seen.push(schedule) });
  assert.deepEqual(small.faults, [FAULTS[8]]);
  assert.equal(small.plan.clients, 2);
  assert.equal(small.plan.compactionMs, 200);
  assert.deepEqual([small.plan.authMs, small.plan.watchers, small.plan.founders], [0, 0, 3]);
  assert.ok(small.seconds < 20 && small.seconds * 1000 >= (FAULTS[8]?.atMs ?? 0));
  assert.equal(seen.at(-1)?.rule, 'watch complete');
  const again = JSON.parse(JSON.stringify(small)) as Schedule;
  assert.equal((await pretend(again)).violations.length, 1);
});

test('nothing is made of a run that broke nothing, and a bound on the runs is kept', async () => {
  assert.equal(scheduleOf(await pretend({ seed: 1, seconds: 20, faults: [] }), 20), null);
  const failed = scheduleOf(await pretend({ seed: 1, seconds: 20 }), 20) as Schedule;
  let runs = 0;
  const counted = (options: SimulateOptions): Promise<SimulateResult> => {
    runs++;
    return pretend(options);
  };
  await shrink(failed, { simulate: counted, runsMax: 10 });
  assert.equal(runs, 10);
});

test('a run that was written down with all that was drawn gives the same trace', async () => {
  const { plan, faults, stats } = await simulate({ seed: 77, seconds: 4 });
  const written = JSON.parse(JSON.stringify({ seed: 77, seconds: 4, plan, faults })) as SimulateOptions;
  const again = await simulate(written);
  assert.equal(again.stats.traceDigest, stats.traceDigest);
  assert.equal(again.stats.events, stats.events);
});
