/**
 * Goal: under each attack (handshakes left open among them: GHSA-6vch-q96h-7gc3) a member over TLS goes on serving others, in bounded memory, and shows the attack in its
 * metrics and its log. Method: the tool's attacks, each for a moment; `node tests/hostile/attacks.ts` is the long form,
 * which also compares waits.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually } from '../support/conditions.ts';
import { type Battlefield, battle, isCounted } from './attacks/battle.ts';
import { quantile } from './attacks/bystander.ts';
import { leaveField, prepareField } from './attacks/field.ts';
import { ATTACKS } from './attacks/kinds.ts';

let field: Battlefield;

before(async () => {
  // Whoever is slow is waited for shorter than in production, and one address may do more, so that the test is short.
  const flags = ['--tls-handshake-timeout=800ms', '--tls-handshakes-per-address=2000'];
  field = await prepareField({ tls: true, perSecond: 100, flags });
});
after(async () => {
  if (field !== undefined) await leaveField(field);
});

/** More than this no attack of this size takes. */
const GROWTH_MAX_MIB = 250;
/** Where the machine is busy with other things an attacker takes his time: he goes on until he is seen, at most so many times. */
const TIMES_MAX = 100;
/** Nobody waits longer than this, whatever the machine is busy with besides. */
const WAIT_MAX_MS = 10_000;

for (const attack of ATTACKS) {
  test(`${attack.name}: ${attack.what}`, { timeout: 300_000 }, async (context) => {
    const report = await battle(field, attack, {
      quietMs: 0,
      attackMs: 600,
      attackTimesMax: attack.isQuiet ? 1 : TIMES_MAX,
      size: 300,
    });
    const waits = `${report.requests} requests, p99 ${report.putMs[1].toFixed(0)} and ${report.readMs[1].toFixed(0)} ms`;
    const counted = [...report.counted].map(([label, count]) => `${label} +${count}`).join(', ');
    context.diagnostic(`${waits}, memory +${report.growthMiB.toFixed(0)} MiB; ${counted}`);
    assert.ok(field.server.isRunning, field.server.tail(20));
    assert.deepEqual(report.failures, []);
    assert.ok(report.putMs[1] < WAIT_MAX_MS && report.readMs[1] < WAIT_MAX_MS, waits);
    assert.ok(report.growthMiB < GROWTH_MAX_MIB, `memory grew by ${report.growthMiB.toFixed(0)} MiB`);
    if (attack.isQuiet) return;
    assert.ok(isCounted(attack, report.counted), `not counted: ${counted}`);
    const isTold = (line: string): boolean => line.includes(field.target.from) && attack.countedAs.test(line);
    await eventually(30_000, 'a line that names attack and attacker', () =>
      field.server.logs.some(isTold) ? true : null,
    );
  });
}

// Goal: those who connect and stay are no reason to go through the whole heap every two seconds, for which everybody waits.
// Under a slow stream of them only; that would take a test half a minute, so it is looked at what the member runs with.
test('the member lets its heap grow', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  assert.match(readFileSync(`/proc/${field.server.pid}/cmdline`, 'utf8'), /--heap-growing-percent=300\0/);
});

test('afterwards it is as before', async () => {
  const waits = await field.bystander.watch(500);
  assert.deepEqual(waits.failures, []);
  assert.ok(quantile(waits.puts, 0.5) < WAIT_MAX_MS / 10);
});
