/**
 * What a flag costs: `node packages/bench/src/cost.ts --flags='--audit-log=/tmp/audit.log' --control [--row put-100]
 * [--pairs 4] [--rounds 6] [--seconds 1]`; `--flags` may be given several times, each is a member of its own. Or what a
 * change of the program costs, with `--base` naming a checkout from before it. A group of members of etsd stands side by
 * side, one with nothing, one for each `--flags`, and with `--control` another one with nothing. They are loaded in turn, for
 * a moment each, and which of them is first changes from round to round: what disturbs the machine disturbs all alike. Then
 * comes a fresh group (`--pairs`: how many), since two equal members differ, each for as long as it runs.
 *
 * Printed are, of each group's median of rounds (with / without), the median and the quartiles, of throughput and of
 * processor time a request; and of all rounds the median, the interval that holds it with a certainty of 95 % whatever the
 * distribution (from the binomial one: how many rounds may lie on one side of it), and the quartiles. The control shows by
 * how much equal members differ, so what of the rest is the method's own error. `--results FILE` adds the rounds to a file
 * and prints what all in it say.
 *
 * With `--switch FILE` the members with flags are compared with themselves instead: FILE is loaded into them and, at every
 * SIGWINCH, switches off or on what is to be measured (`tests/scale/watching-switch.ts`: all that watches requests). Each
 * round is two moments with and two without. What two equal processes differ by, which is more than any flag costs, is not in
 * the way then; `--control` is a member with the same flags that is not switched. With `--period MS` each is loaded for
 * `--seconds` without a pause and switches by itself, in pairs of moments of so many milliseconds: of the many ways to
 * measure this the one with the narrowest bounds.
 *
 * `{collector}` in flags stands for the address of a collector of spans that takes everything, `{side}` for a number that
 * is another one for each member; `--scrape` has the page of metrics of members with flags read once a round.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type MethodHandler, RpcServer } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { dialerOf } from './dial.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import { optionsOf, PRELOADED_KEYS, selectRows } from './rows.ts';
import { openChannels, runVerb } from './run.ts';
import { startServer } from './servers.ts';

/** Seconds for which each is loaded before it counts: code is compiled, files are made. */
const WARMUP_SECONDS = 3;
/** How long a signal may take, and the load behind it that does not count: the one before each moment is the same. */
const SWITCH_MS = 20;
const SETTLING_SECONDS = 0.05;
/** Moments at the end of a load that are not counted. */
const MOMENTS_LEFT_OUT = 2;
/** Share of cases in which a median may lie outside of what is told. */
const UNCERTAIN = 0.05;
const CONTROL = 'control: nothing changed';
const COLLECTOR_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

interface Load {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

/** One round of one member with flags beside the one without. */
interface Round {
  readonly row: string;
  readonly variant: string;
  /** Tells groups apart. */
  readonly group: string;
  readonly without: Load;
  readonly with: Load;
}

interface Side {
  readonly variant: string | null;
  load(seconds: number): Promise<Load>;
  /** Switches on or off what is measured; on at first. */
  turn(isOn: boolean): Promise<void>;
  close(): Promise<void>;
}

const { values } = parseArgs({
  options: {
    flags: { type: 'string', multiple: true, default: [] },
    base: { type: 'string' },
    control: { type: 'boolean', default: false },
    row: { type: 'string', default: 'put-100' },
    pairs: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '1' },
    switch: { type: 'string' },
    period: { type: 'string', default: '0' },
    core: { type: 'string', default: '-1' },
    scrape: { type: 'boolean', default: false },
    results: { type: 'string' },
    'work-dir': { type: 'string', default: tmpdir() },
  },
});
const [row] = selectRows([values.row]);
if (row === undefined || row.verb === 'restart') throw new Error(`no load ${values.row}`);
const { verb } = row;
const dial = dialerOf(DEFAULT_OPTIONS);

/** Takes all spans; its address. */
async function startCollector(): Promise<{ address: string; close(): Promise<void> }> {
  const server = new RpcServer(nodeWorld());
  const handler: MethodHandler = {
    kind: 'unary',
    message(call) {
      call.send(Buffer.alloc(0));
      call.end();
    },
  };
  server.handle(COLLECTOR_PATH, handler);
  const listener = await server.listen({ host: '127.0.0.1', port: 0 });
  const { address } = listener;
  if (!('port' in address)) throw new Error('the collector has no port');
  return { address: `127.0.0.1:${address.port}`, close: async () => listener.close() };
}

/** One member that stays, and the load on it for a moment. */
async function side(variant: string | null, flags: readonly string[], tree?: string): Promise<Side> {
  const nodeFlags = values.switch === undefined ? [] : [`--import=${resolve(values.switch)}`];
  const core = Number(values.core);
  const settings = { workDirectory: values['work-dir'], members: 1, tls: false, flags, tree, nodeFlags, core };
  const server = await startServer('etsd', settings, dial);
  const options = optionsOf(row as NonNullable<typeof row>, server.endpoints, 0, PRELOADED_KEYS);
  const channels = await openChannels(dial, options);
  let isOn = true;
  const isScraped = values.scrape && flags.length > 0;
  return {
    variant,
    async turn(wanted) {
      if (variant !== CONTROL && wanted !== isOn) server.signal('SIGWINCH');
      isOn = wanted;
      await new Promise((done) => setTimeout(done, SWITCH_MS));
    },
    async close() {
      for (const channel of channels) channel.close();
      await server.stop();
    },
    async load(seconds) {
      const before = server.cpuSeconds();
      const page = isScraped ? fetch(`${server.endpoints[0]}/metrics`).then((response) => response.text()) : null;
      const { perSecond, operations, errors, firstError } = await runVerb(verb, { ...options, seconds }, channels);
      if (errors > 0) throw new Error(`${errors} requests failed: ${firstError}`);
      await page;
      return { perSecond, cpuMicros: ((server.cpuSeconds() - before) * 1e6) / operations };
    },
  };
}

/** Starts a group of members, the place of the one without flags changing from group to group, and loads them in turn. */
async function runGroup(number: number, variants: readonly [string, string][], collector: string): Promise<Round[]> {
  const starts = [
    () => side(null, [], values.base),
    ...variants.map(([name, flags], place) => () => {
      const tree = name === CONTROL ? values.base : undefined;
      return side(name, split(flags, collector, place), tree);
    }),
  ];
  const sides: Side[] = [];
  const rounds: Round[] = [];
  const group = `${Date.now()}`;
  try {
    for (let place = 0; place < starts.length; place++) {
      sides.push(await (starts[(place + number) % starts.length] as () => Promise<Side>)());
    }
    for (const each of sides) await each.load(WARMUP_SECONDS);
    for (let count = 0; count < Number(values.rounds); count++) {
      const turn = [...sides.slice(count % sides.length), ...sides.slice(0, count % sides.length)];
      const order = count % 2 === 0 ? turn : turn.reverse();
      const loads = new Map<string | null, Load>();
      for (const each of order) loads.set(each.variant, await each.load(Number(values.seconds)));
      const without = loads.get(null) as Load;
      for (const [variant] of variants) {
        rounds.push({ row: values.row, variant, group, without, with: loads.get(variant) as Load });
      }
      console.error(
        [...loads].map(([name, { perSecond }]) => `${name ?? 'nothing'} ${perSecond.toFixed(0)}`).join(' | '),
      );
    }
  } finally {
    for (const each of sides) await each.close();
  }
  return rounds;
}

/** Starts members with flags, and loads each with all on and with all off. */
async function runSwitched(variants: readonly [string, string][], collector: string): Promise<Round[]> {
  const rounds: Round[] = [];
  const group = `${Date.now()}`;
  const sides: Side[] = [];
  const seconds = Number(values.seconds);
  try {
    for (const [place, [name, flags]] of variants.entries()) {
      sides.push(await side(name, split(flags, collector, place)));
    }
    for (const each of sides) {
      await each.load(WARMUP_SECONDS);
      await each.turn(false);
      await each.load(WARMUP_SECONDS / 3);
    }
    for (let count = 0; count < Number(values.rounds); count++) {
      for (const each of sides) {
        // On, off, off, on, or the other way round: what drifts with time cancels.
        await each.load(seconds);
        for (const isOn of count % 2 === 0 ? [true, false] : [false, true]) {
          const [one, other] = [await moment(each, isOn, seconds), await moment(each, !isOn, seconds)];
          const [on, without] = isOn ? [one, other] : [other, one];
          rounds.push({ row: values.row, variant: each.variant as string, group, without, with: on });
          console.error(`${each.variant}: off ${without.perSecond.toFixed(0)}, on ${on.perSecond.toFixed(0)}`);
        }
      }
    }
  } finally {
    for (const each of sides) await each.close();
  }
  return rounds;
}

/** What a member that switches by itself counted in one moment. */
interface Moment {
  readonly isOn: boolean;
  readonly isSecond: boolean;
  readonly requests: number;
  readonly ms: number;
  readonly cpuMicros: number;
}

/** Starts members with flags that switch by themselves, and loads one after the other. */
async function runSwitching(variants: readonly [string, string][], collector: string): Promise<Round[]> {
  const rounds: Round[] = [];
  const group = `${Date.now()}`;
  const directory = mkdtempSync(join(values['work-dir'], 'cost-'));
  try {
    for (const [place, [name, flags]] of variants.entries()) {
      const path = join(directory, `moments-${place}`);
      Object.assign(process.env, { ETSD_WATCHING_MS: values.period, ETSD_WATCHING_MOMENTS: path });
      const member = await side(name, split(flags, collector, place));
      try {
        await member.load(WARMUP_SECONDS);
        const before = momentsIn(path).length;
        await member.load(Number(values.seconds));
        rounds.push(
          ...pairsOf(momentsIn(path).slice(before)).map((pair) => ({ row: values.row, variant: name, group, ...pair })),
        );
      } finally {
        await member.close();
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return rounds;
}

function momentsIn(path: string): Moment[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Moment);
}

/** The last moments may be of a time without load. Two in which the disk let nothing through say nothing. */
function pairsOf(moments: readonly Moment[]): Pick<Round, 'without' | 'with'>[] {
  const pairs: Pick<Round, 'without' | 'with'>[] = [];
  for (const [at, second] of moments.entries()) {
    const first = moments[at - 1];
    if (!second.isSecond || first === undefined || at >= moments.length - MOMENTS_LEFT_OUT) continue;
    if (first.requests + second.requests === 0) continue;
    const [on, off] = first.isOn ? [first, second] : [second, first];
    pairs.push({ with: loadOf(on), without: loadOf(off) });
  }
  return pairs;
}

function loadOf({ requests, ms, cpuMicros }: Moment): Load {
  return { perSecond: (requests / ms) * 1000, cpuMicros: cpuMicros / requests };
}

/** One moment of a member, after others like it. */
async function moment(side: Side, isOn: boolean, seconds: number): Promise<Load> {
  await side.turn(isOn);
  await side.load(SETTLING_SECONDS);
  return side.load(seconds);
}

function split(flags: string, collector: string, place: number): string[] {
  const text = flags.replaceAll('{collector}', collector).replaceAll('{side}', String(place));
  return text.split(' ').filter((flag) => flag !== '');
}

function part(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((left, right) => left - right);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] as number;
  return low + ((sorted[Math.ceil(at)] as number) - low) * (at - Math.floor(at));
}

function quartiles(numbers: readonly number[]): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => part(numbers, share).toFixed(3));
  return `${middle} (${low} … ${high})`;
}

/** Where the median lies with a certainty of 95 %: as many rounds at either end as chance leaves there in one of 40 cases. */
function medianBetween(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((left, right) => left - right);
  const count = sorted.length;
  // Probability that at most `outside` of `count` lie on one side of the median, from logarithms: 2 ** -count is 0 else.
  let logTerm = -count * Math.LN2;
  let sum = Math.exp(logTerm);
  let outside = 0;
  while (sum <= UNCERTAIN / 2) {
    logTerm += Math.log((count - outside) / (outside + 1));
    outside++;
    sum += Math.exp(logTerm);
  }
  if (outside === 0) return 'too few rounds';
  return `${(sorted[outside - 1] as number).toFixed(3)} … ${(sorted[count - outside] as number).toFixed(3)}`;
}

function told(rounds: readonly Round[], ratio: (round: Round) => number): string {
  const groups = Object.values(Object.groupBy(rounds, ({ group }) => group)) as Round[][];
  const medians = groups.map((group) => part(group.map(ratio), 0.5));
  const ratios = rounds.map(ratio);
  return `${quartiles(medians)}   all rounds ${quartiles(ratios)}, median 95 % within ${medianBetween(ratios)}`;
}

/** Lines about all rounds of one variant. */
function summary(name: string, rounds: readonly Round[]): string {
  const groups = new Set(rounds.map(({ group }) => group)).size;
  return [
    `${name} (${groups} groups, ${rounds.length} rounds)`,
    `  requests a second  ${told(rounds, (round) => round.with.perSecond / round.without.perSecond)}`,
    `  processor time     ${told(rounds, (round) => round.with.cpuMicros / round.without.cpuMicros)}`,
    `  µs a request       ${told(rounds, (round) => round.with.cpuMicros - round.without.cpuMicros)}`,
  ].join('\n');
}

const variants: [string, string][] = values.flags.map((flags) => [flags, flags]);
if (values.base !== undefined && variants.length === 0) variants.push(['this tree', '']);
if (values.control) variants.push([CONTROL, values.switch === undefined ? '' : (values.flags.at(-1) ?? '')]);
const collector = await startCollector();
const rounds: Round[] = [];
for (let number = 0; number < Number(values.pairs); number++) {
  let run: Promise<Round[]>;
  if (values.switch === undefined) run = runGroup(number, variants, collector.address);
  else if (values.period === '0') run = runSwitched(variants, collector.address);
  else run = runSwitching(variants, collector.address);
  rounds.push(...(await run));
}
await collector.close();
if (values.results !== undefined) {
  appendFileSync(values.results, rounds.map((round) => `${JSON.stringify(round)}\n`).join(''));
  const lines = readFileSync(values.results, 'utf8').trim().split('\n');
  rounds.splice(0, rounds.length, ...lines.map((line) => JSON.parse(line) as Round));
}
const byName = Object.groupBy(rounds, ({ row: load, variant }) => `${load}, ${variant}`);
console.log('With, in parts of without: the median of the groups, and the quartiles.');
for (const [name, some] of Object.entries(byName)) console.log(summary(name, some as Round[]));
