/**
 * `npm run simulate`: clusters in a simulated world, tormented from seeds.
 *
 *   --seed 7 --minutes 2     one run of two simulated minutes (default half a minute) and the peace behind them
 *   --seeds 1..100           these seeds; `--runs N` so many fresh ones (the first is printed)
 *   --budget 60              fresh seeds for so many real seconds, `--total-minutes 120` for so many simulated minutes
 *   --jobs 2                 so many processes side by side, each with its share of the runs (see `start.ts`)
 *   --regressions            the runs that once failed
 *   --trace                  every line of the trace, --keep FILE writes it there instead
 *   --faults FILE            another schedule of faults, as JSON; `--members N` another size of the cluster
 *   --at-once N              so many requests of each client together
 *   --profile three          a cluster and load with a name instead of drawn ones, under faults as drawn: see `profiles.ts`;
 *                            or bursts, the same with more requests together, or store, that without services and recipes
 *   --shrink FILE            what fails is made small and written there, in up to --shrink-runs (default 200) more runs
 *   --replay FILE            plays such a file
 *   --bench                  how fast three members are simulated under load and faults, on `--seeds` (default 1..12)
 *
 * Ends with 1 where a run broke a promise, after saying how to see it again.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bench, describeBench } from './run/bench.ts';
import { Coverage } from './run/coverage.ts';
import type { Fault } from './run/faults.ts';
import type { Plan } from './run/plan.ts';
import { PROFILES } from './run/profiles.ts';
import { REGRESSIONS } from './run/regressions.ts';
import { failureOf, summaryOf } from './run/report.ts';
import { type Schedule, scheduleOf, shrink } from './run/shrink.ts';
import { type SimulateOptions, type SimulateResult, simulate } from './run/simulate.ts';

const SECONDS = 30;
const BENCH = { from: 1, to: 12, seconds: 60, warmUps: 4 };

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    runs: { type: 'string' },
    budget: { type: 'string' },
    'total-minutes': { type: 'string' },
    share: { type: 'string', default: '0/1' },
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    members: { type: 'string' },
    'at-once': { type: 'string' },
    profile: { type: 'string' },
    faults: { type: 'string' },
    keep: { type: 'string' },
    replay: { type: 'string' },
    shrink: { type: 'string' },
    'shrink-runs': { type: 'string', default: '200' },
    regressions: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    bench: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  // How it is called stands at the head of this file.
  const [head = ''] = readFileSync(import.meta.filename, 'utf8').split('\n */');
  console.log(head.replaceAll(/^(?:\/\*\*| \* ?)\n?/gm, ''));
  process.exit();
}

const replayed = values.replay === undefined ? null : (JSON.parse(readFileSync(values.replay, 'utf8')) as Schedule);
const [share, shares] = values.share.split('/').map(Number) as [number, number];
const seconds = values.minutes !== undefined ? Number(values.minutes) * 60 : Number(values.seconds ?? SECONDS);

function profileOf(name: string | undefined): Partial<Plan> {
  if (name === undefined) return {};
  const plan = PROFILES[name];
  if (plan === undefined) throw new Error(`no profile '${name}'; there are: ${Object.keys(PROFILES).join(', ')}`);
  return plan;
}

const profile = profileOf(values.profile);

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: import.meta.dirname })
      .toString()
      .trim();
  } catch {
    return 'unknown';
  }
}

function freshSeed(): number {
  return Math.floor(Math.random() * 2 ** 31);
}

function range(text: string): [from: number, to: number] {
  return text.split('..').map(Number) as [number, number];
}

type Chosen = Pick<SimulateOptions, 'seed' | 'seconds' | 'plan'>;

/** What is to be run, one after the other; endless where a budget of time ends it. */
function* chosen(): Generator<Chosen> {
  if (replayed !== null) {
    yield replayed;
    return;
  }
  if (values.regressions) {
    yield* REGRESSIONS;
    return;
  }
  if (values.seeds !== undefined) {
    const [from, to] = range(values.seeds);
    for (let seed = from; seed <= to; seed++) yield { seed, seconds };
    return;
  }
  const first = values.seed === undefined ? freshSeed() : Number(values.seed);
  const isEndless = values.budget !== undefined || values['total-minutes'] !== undefined;
  const runs = isEndless ? Number.POSITIVE_INFINITY : Number(values.runs ?? 1);
  for (let run = 0; run < runs; run++) yield { seed: first + run, seconds };
}

/** Of what is to be run, the part of this process. */
function* chosenShare(): Generator<Chosen> {
  let number = 0;
  for (const one of chosen()) if (number++ % shares === share) yield one;
}

function optionsOf(one: Chosen): SimulateOptions {
  const faults = values.faults === undefined ? null : (JSON.parse(readFileSync(values.faults, 'utf8')) as Fault[]);
  return {
    ...one,
    ...(replayed === null ? {} : { faults: replayed.faults }),
    keepsTrace: values.trace || values.keep !== undefined,
    ...(faults === null ? {} : { faults }),
    plan: {
      ...one.plan,
      ...profile,
      ...(values.members === undefined ? {} : { founders: Number(values.members), spares: 0 }),
      ...(values['at-once'] === undefined ? {} : { atOnce: Number(values['at-once']) }),
    },
  };
}

function replayOf({ seed, seconds: length, plan }: SimulateOptions): string {
  if (replayed !== null) return `npm run simulate -- --replay ${values.replay} --trace`;
  const rest = (['members', 'profile', 'faults'] as const).flatMap((name) =>
    values[name] === undefined ? [] : [`--${name} ${values[name]}`],
  );
  if (plan?.atOnce !== undefined && values.profile === undefined) rest.push(`--at-once ${plan.atOnce}`);
  return ['npm run simulate --', `--seed ${seed}`, `--seconds ${length}`, ...rest, '--trace'].join(' ');
}

function show(options: SimulateOptions, result: SimulateResult): void {
  if (values.trace) console.log(result.trace.join('\n'));
  if (values.keep !== undefined) writeFileSync(values.keep, `${result.trace.join('\n')}\n`);
  if (result.violations.length > 0) console.log(failureOf(result, commit(), replayOf(options)));
  console.log(summaryOf(result));
}

/** Keeps the smallest run that still fails, as soon as there is a smaller one: this may take long, and be interrupted. */
async function makeSmall(options: SimulateOptions, result: SimulateResult, path: string): Promise<void> {
  const failed = scheduleOf(result, options.seconds);
  if (failed === null) return;
  const keep = (schedule: Schedule): void => writeFileSync(path, `${JSON.stringify(schedule, null, 2)}\n`);
  keep(failed);
  const small = await shrink(failed, { simulate, runsMax: Number(values['shrink-runs']), smaller: keep });
  console.log(
    `${failed.faults.length} faults became ${small.faults.length}, ${failed.seconds} s ${small.seconds}, ` +
      `${failed.plan.clients} clients ${small.plan.clients}: npm run simulate -- --replay ${path} --trace`,
  );
}

/** Runs what was chosen; whether all of it kept its promises. */
async function runAll(): Promise<boolean> {
  const coverage = new Coverage();
  const enoughMs = (Number(values['total-minutes']) * 60_000) / shares;
  const startedMs = performance.now();
  const total = { runs: 0, failed: 0, simulatedMs: 0, calls: 0 };
  for (const one of chosenShare()) {
    const options = optionsOf(one);
    const result = await simulate(options);
    show(options, result);
    if (values.shrink !== undefined) await makeSmall(options, result, values.shrink);
    coverage.add(result.stats.coverage);
    total.runs++;
    total.simulatedMs += result.stats.simulatedMs;
    total.calls += result.stats.calls;
    if (result.violations.length > 0) total.failed++;
    if (values.budget !== undefined && performance.now() - startedMs > Number(values.budget) * 1000) break;
    if (values['total-minutes'] !== undefined && total.simulatedMs >= enoughMs) break;
  }
  const tookMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage();
  console.log(
    `${total.runs} runs, ${total.failed} failed; ${(total.simulatedMs / 60_000).toFixed(1)} simulated minutes in ` +
      `${(tookMs / 1000).toFixed(1)} s (${(total.simulatedMs / tookMs).toFixed(0)} times as fast as time, ` +
      `${((total.simulatedMs * 1000) / (user + system)).toFixed(0)} times the CPU's), ` +
      `${((total.calls * 1000) / total.simulatedMs).toFixed(0)} calls in a simulated second`,
  );
  console.log(coverage.describe());
  return total.failed === 0;
}

async function runBench(): Promise<boolean> {
  const [from, to] = values.seeds === undefined ? [BENCH.from, BENCH.to] : range(values.seeds);
  const result = await bench({
    seeds: Array.from({ length: to - from + 1 }, (_unused, place) => from + place),
    seconds: values.seconds === undefined ? BENCH.seconds : seconds,
    warmUps: BENCH.warmUps,
    plan: profile,
    print: console.log,
  });
  console.log(describeBench(result));
  return result.runs > 0;
}

process.exitCode = (await (values.bench ? runBench() : runAll())) ? 0 : 1;
