/**
 * Goal: whatever happens to machines, disks, clocks and the network, clients see nothing that was not promised, and peace
 * restores service. Method: whole members in a simulated world; seeds that once failed, then fresh ones for
 * `SIMULATE_MINUTES` of simulated time, in a process for each core. A failure names its seed and the command that shows it
 * again.
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { endOf, startShare } from '../shares.ts';
import { REGRESSIONS } from './regressions.ts';
import { failureOf } from './report.ts';
import { type SimulateResult, simulate } from './simulate.ts';

const MINUTES = Number(process.env['SIMULATE_MINUTES'] ?? 5);
const SECONDS = 20;

function judge(result: SimulateResult, seconds: number, more = ''): void {
  const replay = `npm run simulate -- --seed ${result.seed} --seconds ${seconds} ${more}--trace`;
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

for (const { seed, seconds, plan, found } of REGRESSIONS) {
  test(`seed ${seed}: ${found}`, async () =>
    judge(
      await simulate({ seed, seconds, plan }),
      seconds,
      plan.atOnce === undefined ? '' : `--at-once ${plan.atOnce} `,
    ));
}

test(`fresh seeds for ${MINUTES} simulated minutes`, async (context) => {
  const shares = Math.min(2, availableParallelism());
  const first = String(Math.floor(Math.random() * 2 ** 31));
  const args = ['--seed', first, '--seconds', String(SECONDS), '--total-minutes', String(MINUTES)];
  const startedMs = performance.now();
  let [minutes, calls] = [0, 0];
  const runShare = async (share: number): Promise<void> => {
    const child = startShare(share, shares, args, true);
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const code = await endOf(child);
    assert.equal(code, 0, output);
    const [, time, rate] = /([\d.]+) simulated minutes in [\s\S]* (\d+) calls in a simulated second/.exec(output) ?? [];
    minutes += Number(time);
    calls += Number(rate) * Number(time) * 60;
  };
  await Promise.all(Array.from({ length: shares }, (_unused, share) => runShare(share)));
  const tookS = (performance.now() - startedMs) / 1000;
  context.diagnostic(`${minutes.toFixed(1)} simulated minutes from seed ${first} on, in ${tookS.toFixed(0)} s`);
  assert.ok(minutes >= MINUTES - 0.1, `${minutes} of ${MINUTES} minutes`);
  assert.ok(calls > MINUTES * 60, 'a verdict about nothing');
});
