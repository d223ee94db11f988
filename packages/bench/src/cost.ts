/**
 * What a flag costs: `node packages/bench/src/cost.ts --flags='--audit-log=/tmp/audit.log' [--row put-100] [--pairs 4]
 * [--rounds 6] [--seconds 1]`; or a change of the program, with `--base` naming a checkout from before it. Two members of
 * etsd stand side by side, one without and one with it, and are loaded in turn, for a moment each, which of them is first
 * changing from round to round: what disturbs the machine disturbs both alike. Prints the medians of the rounds' ratios
 * (with / without) of throughput and of processor time per request, and their quartiles. Run it with a flag that changes
 * nothing, too: so much two equal members differ.
 */
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { dialerOf } from './dial.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import { optionsOf, PRELOADED_KEYS, selectRows } from './rows.ts';
import { openChannels, runVerb } from './run.ts';
import { type RunningServer, startServer } from './servers.ts';

/** Seconds for which each is loaded before it counts: code is compiled, files are made. */
const WARMUP_SECONDS = 3;

interface Round {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

interface Side {
  readonly server: RunningServer;
  load(seconds: number): Promise<Round>;
  close(): void;
}

const { values } = parseArgs({
  options: {
    flags: { type: 'string', default: '' },
    base: { type: 'string' },
    row: { type: 'string', default: 'put-100' },
    pairs: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '1' },
    'work-dir': { type: 'string', default: tmpdir() },
  },
});
const [row] = selectRows([values.row]);
if (row === undefined || row.verb === 'restart') throw new Error(`no load ${values.row}`);
const { verb } = row;
const dial = dialerOf(DEFAULT_OPTIONS);

/** One member that stays, and the load on it for a moment. */
async function side(flags: readonly string[], tree?: string): Promise<Side> {
  const server = await startServer(
    'etsd',
    { workDirectory: values['work-dir'], members: 1, tls: false, flags, tree },
    dial,
  );
  const options = optionsOf(row as NonNullable<typeof row>, server.endpoints, 0, PRELOADED_KEYS);
  const channels = await openChannels(dial, options);
  return {
    server,
    close() {
      for (const channel of channels) channel.close();
    },
    async load(seconds) {
      const before = server.cpuSeconds();
      const { perSecond, operations, errors, firstError } = await runVerb(verb, { ...options, seconds }, channels);
      if (errors > 0) throw new Error(`${errors} requests failed: ${firstError}`);
      return { perSecond, cpuMicros: ((server.cpuSeconds() - before) * 1e6) / operations };
    },
  };
}

function quartiles(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((left, right) => left - right);
  const at = (part: number): string => (sorted[Math.round((sorted.length - 1) * part)] as number).toFixed(3);
  return `${at(0.5)} (half of the rounds from ${at(0.25)} to ${at(0.75)})`;
}

const throughput: number[] = [];
const cpu: number[] = [];
const micros: number[] = [];

/** One pair of members, fresh ones: two equal members differ by more than a flag costs, each for as long as it runs. */
async function pair(isOther: boolean): Promise<void> {
  const flags = values.flags.split(' ').filter((flag) => flag !== '');
  const first = await (isOther ? side(flags) : side([], values.base));
  const second = await (isOther ? side([], values.base) : side(flags));
  const [without, withFlags] = isOther ? [second, first] : [first, second];
  try {
    for (const each of [first, second]) await each.load(WARMUP_SECONDS);
    for (let round = 0; round < Number(values.rounds); round++) {
      const order = round % 2 === 0 ? [first, second] : [second, first];
      const results = new Map<object, Round>();
      for (const each of order) results.set(each, await each.load(Number(values.seconds)));
      const [base, more] = [results.get(without) as Round, results.get(withFlags) as Round];
      throughput.push(more.perSecond / base.perSecond);
      cpu.push(more.cpuMicros / base.cpuMicros);
      micros.push(more.cpuMicros - base.cpuMicros);
      console.error(
        `${base.perSecond.toFixed(0)} → ${more.perSecond.toFixed(0)} a second, ` +
          `${base.cpuMicros.toFixed(2)} → ${more.cpuMicros.toFixed(2)} µs`,
      );
    }
  } finally {
    for (const each of [first, second]) each.close();
    await first.server.stop();
    await second.server.stop();
  }
}

for (let count = 0; count < Number(values.pairs); count++) await pair(count % 2 === 1);
const what = [values.base === undefined ? '' : 'this tree', values.flags].filter((part) => part !== '').join(' with ');
console.log(`${values.row}, ${what}, of without; ${values.pairs} pairs, ${values.rounds} rounds each:`);
console.log(`  requests a second  ${quartiles(throughput)}`);
console.log(`  processor time     ${quartiles(cpu)}; in microseconds a request ${quartiles(micros)}`);
