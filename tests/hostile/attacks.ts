/**
 * Attacks a member over TLS in all the ways we know, one after the other, and says what became of its other clients.
 *
 *     node tests/hostile/attacks.ts [--seconds 10] [--attack hello-flood,rapid-reset] [--size 10000] [--plain] [--list]
 *
 * Ends with status 1 where the member did not hold: other clients' 99th percentile more than doubled, memory grew beyond
 * its bound, a request of theirs failed, or the attack was not to be seen in metrics and log.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type BattleReport, battle, isCounted } from './attacks/battle.ts';
import { leaveField, prepareField, season } from './attacks/field.ts';
import { ATTACKS, type Attack } from './attacks/kinds.ts';

const GROWTH_MAX_MIB = 250;
/** Waits shorter than this are noise of the machine. */
const NOISE_MS = 2;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    attack: { type: 'string', default: '' },
    size: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '200' },
    plain: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

function faults(report: BattleReport, attack: Attack): string[] {
  const found: string[] = [];
  for (const [what, [before, meanwhile]] of [
    ['puts', report.putMs],
    ['reads', report.readMs],
  ] as const) {
    if (meanwhile > 2 * Math.max(before, NOISE_MS)) found.push(`p99 of ${what} more than doubled`);
  }
  if (report.failures.length > 0) found.push(`${report.failures.length} requests failed: ${report.failures[0]}`);
  if (report.growthMiB > GROWTH_MAX_MIB) found.push('memory');
  if (!isCounted(attack, report.counted)) found.push('not in the metrics');
  if (report.lines === 0) found.push('not in the log');
  return found;
}

function show(report: BattleReport, found: readonly string[]): void {
  const ms = ([before, meanwhile]: readonly [number, number]): string =>
    `${before.toFixed(1)} → ${meanwhile.toFixed(1)} ms`;
  const counted = [...report.counted].map(
    ([label, count]) => `${label.replace(/^etsd_|,?side="client",?/g, '')} +${count}`,
  );
  process.stdout.write(
    `${report.name.padEnd(20)} put ${ms(report.putMs).padEnd(20)} read ${ms(report.readMs).padEnd(20)} ` +
      `loop ${report.loopCpu.toFixed(0)} %, waits ${report.loopWait.toFixed(0)} %, attacker ${report.attackerCpu.toFixed(0)} %, ` +
      `memory +${report.growthMiB.toFixed(0)} MiB, log lines ${report.lines}, ${found.length === 0 ? 'held' : found.join('; ')}\n` +
      `${''.padEnd(20)} ${counted.join(', ')}\n`,
  );
}

if (values.list) {
  for (const { name, what } of ATTACKS) process.stdout.write(`${name.padEnd(20)} ${what}\n`);
  process.exit(0);
}
/**
 * An attacker sits at a machine of his own. Here he gets a processor of his own, and the member and its clients the
 * others, before and meanwhile: what he takes to attack is not what is to be measured, and a low priority alone would still
 * let him run for a tick of the scheduler before those he attacks, and before the kernel's own threads.
 */
function aside(): readonly string[] | undefined {
  const processors = cpus().length;
  if (processors < 2) return undefined;
  const theirs = spawnSync('taskset', ['-a', '-c', '-p', `0-${processors - 2}`, String(process.pid)]);
  return theirs.status === 0 ? ['-c', String(processors - 1)] : undefined;
}

const apart = aside();
const names = values.attack === '' ? [] : values.attack.split(',');
const chosen = ATTACKS.filter(({ name }) => names.length === 0 || names.includes(name));
const field = await prepareField({ tls: !values.plain, perSecond: Number(values.rate) });
let lost = 0;
try {
  await season(field);
  for (const attack of chosen) {
    const attackMs = Number(values.seconds) * 1000;
    const report = await battle(field, attack, {
      quietMs: attackMs,
      attackMs,
      size: Number(values.size),
      ...(apart === undefined ? {} : { apart }),
    });
    const found = faults(report, attack);
    show(report, found);
    if (found.length > 0) lost++;
  }
} finally {
  await leaveField(field);
}
process.exit(lost > 0 ? 1 : 0);
