/**
 * Goal: whatever happens to machines, disks, clocks and the network, clients see nothing that was not promised, and peace
 * restores service. Method: whole members in a simulated world; seeds that once failed, then fresh ones for as long as the
 * budget allows (`SIMULATE_BUDGET_S`, real seconds). A failure names its seed and the command that shows it again.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REGRESSIONS } from './regressions.ts';
import { failureOf, summaryOf } from './report.ts';
import { type SimulateResult, simulate } from './simulate.ts';

const BUDGET_S = Number(process.env['SIMULATE_BUDGET_S'] ?? 10);
const SECONDS = 20;

function judge(result: SimulateResult, seconds: number): void {
  const replay = `npm run simulate -- --seed ${result.seed} --seconds ${seconds} --trace`;
  assert.equal(result.violations.length, 0, failureOf(result, 'of this test', replay));
}

test('the same seed gives the same trace, another seed another one', async () => {
  const runs: SimulateResult[] = [];
  for (const seed of [5, 5, 6]) runs.push(await simulate({ seed, seconds: 6, keepsTrace: true }));
  const [one, again, other] = runs as [SimulateResult, SimulateResult, SimulateResult];
  assert.ok(one.trace.length > 200, 'a trace of nothing is always the same');
  assert.deepEqual(again.trace, one.trace);
  assert.deepEqual(again.stats, one.stats);
  assert.notEqual(other.stats.traceDigest, one.stats.traceDigest);
});

test('a schedule of faults can be given, and any part of it', async () => {
  const { faults, stats } = await simulate({ seed: 11, seconds: 8, plan: { founders: 3, faultMs: 300 } });
  assert.ok(faults.length > 5);
  const half = faults.filter((_fault, place) => place % 2 === 0);
  const result = await simulate({ seed: 11, seconds: 8, plan: { founders: 3, faultMs: 300 }, faults: half });
  judge(result, 8);
  assert.notEqual(result.stats.traceDigest, stats.traceDigest);
});

for (const { seed, seconds, found } of REGRESSIONS) {
  test(`seed ${seed}: ${found}`, async () => judge(await simulate({ seed, seconds }), seconds));
}

test(`fresh seeds for ${BUDGET_S} s`, async (context) => {
  const startedMs = performance.now();
  let seed = Math.floor(Math.random() * 2 ** 31);
  let calls = 0;
  do {
    const result = await simulate({ seed, seconds: SECONDS });
    context.diagnostic(summaryOf(result));
    judge(result, SECONDS);
    calls += result.stats.calls;
    seed++;
  } while (performance.now() - startedMs < BUDGET_S * 1000);
  assert.ok(calls > 500, 'a verdict about nothing');
});
