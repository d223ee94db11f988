/**
 * Attacks a member over TLS in all the ways we know, one after the other, and says what became of its other clients.
 *
 *     node tests/hostile/attacks.ts [--seconds 10] [--quiet-seconds 10] [--rounds 1] [--attack hello-flood,rapid-reset]
 *                                   [--size 10000] [--rate 400] [--data-root DIR] [--eager] [--plain] [--control]
 *                                   [--server-flags='--x=1 …'] [--list]
 *
 * A round is a quiet time and an attack; of several rounds the medians count. Ends with status 1 where the member did not
 * hold: other clients' 99th percentile more than doubled, memory grew beyond its bound, a request of theirs failed, or the
 * attack was not to be seen in metrics and log. With `--control` the same attack goes first, for as long as the quiet time,
 * to a stand-in that makes nothing of it: what others wait then for the member is the machine's share, which attackers take
 * here because they run on it (`attacks/apart.ts`). It is shown, and changes nothing about the judgement.
 *
 * `--data-root /dev/shm` has the member's disk in memory: a disk that others share has a noise of its own, which is longer
 * than what is to be seen. `--eager` lets the attacker run whenever he likes instead of when nobody else wants to: to see
 * that he attacks no harder then.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { standApart } from './attacks/apart.ts';
import { type BattleReport, battle, isCounted, joinReports, type WaitsOfOthers } from './attacks/battle.ts';
import { leaveField, prepareField, season } from './attacks/field.ts';
import { ATTACKS, type Attack } from './attacks/kinds.ts';

const GROWTH_MAX_MIB = 250;
/** Waits shorter than this are noise of the machine. */
const NOISE_MS = 2;
/** From the end of an attack to the next quiet time: what was open has been closed, debts are forgiven. */
const REST_MS = 1500;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    'quiet-seconds': { type: 'string' },
    rounds: { type: 'string', default: '1' },
    attack: { type: 'string', default: '' },
    size: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '400' },
    'data-root': { type: 'string' },
    eager: { type: 'boolean', default: false },
    control: { type: 'boolean', default: false },
    plain: { type: 'boolean', default: false },
    'server-flags': { type: 'string', default: '' },
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
  const ms = ([before, meanwhile, control]: WaitsOfOthers): string =>
    `${before.toFixed(1)} → ${meanwhile.toFixed(1)}${Number.isNaN(control) ? '' : ` (control ${control.toFixed(1)})`} ms`;
  const counted = [...report.counted].map(
    ([label, count]) => `${label.replace(/^etsd_|,?side="client",?/g, '')} +${count}`,
  );
  process.stdout.write(
    `${report.name.padEnd(20)} put ${ms(report.putMs).padEnd(20)} read ${ms(report.readMs).padEnd(20)} ` +
      `loop ${report.loopCpu.toFixed(0)} %, waits ${report.loopWait.toFixed(0)} %, attacker ${report.attackerCpu.toFixed(0)} %, ` +
      `${report.attackRate.connections.toFixed(0)} connections and ${(report.attackRate.bytes / 1024).toFixed(0)} KiB a second, ` +
      `memory +${report.growthMiB.toFixed(0)} MiB, log lines ${report.lines}, ${found.length === 0 ? 'held' : found.join('; ')}\n` +
      `${''.padEnd(20)} ${counted.join(', ')}\n`,
  );
}

if (values.list) {
  for (const { name, what } of ATTACKS) process.stdout.write(`${name.padEnd(20)} ${what}\n`);
  process.exit(0);
}

const apart = standApart(values.eager);
const names = values.attack === '' ? [] : values.attack.split(',');
const chosen = ATTACKS.filter(({ name }) => names.length === 0 || names.includes(name));
apart?.toMember();
const flags = values['server-flags'].split(' ').filter((flag) => flag !== '');
const field = await prepareField({
  tls: !values.plain,
  perSecond: Number(values.rate),
  flags,
  dataRoot: values['data-root'],
});
apart?.toClients();
const attackMs = Number(values.seconds) * 1000;
const quietMs = Number(values['quiet-seconds'] ?? values.seconds) * 1000;
const rounds = new Map<Attack, BattleReport[]>(chosen.map((attack) => [attack, []]));
let lost = 0;
try {
  await season(field);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [attack, reports] of rounds) {
      // What others on this machine have yet to write is not what puts wait for.
      spawnSync('sync');
      const report = await battle(field, attack, {
        restMs: REST_MS,
        quietMs,
        attackMs,
        size: Number(values.size),
        withControl: values.control,
        ...(apart === undefined ? {} : { places: apart }),
      });
      reports.push(report);
      show(report, faults(report, attack));
    }
  }
  if (Number(values.rounds) > 1) process.stdout.write('\nmedians:\n');
  for (const [attack, reports] of rounds) {
    const report = joinReports(reports);
    const found = faults(report, attack);
    if (reports.length > 1) show(report, found);
    if (found.length > 0) lost++;
  }
} finally {
  await leaveField(field);
}
process.exit(lost > 0 ? 1 : 0);
