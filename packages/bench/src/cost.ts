/**
 * What a flag costs: `node packages/bench/src/cost.ts --flags='--audit-log=/tmp/audit.log' [--row put-100] [--rounds 16]
 * [--seconds 1]`. Two members of etsd stand side by side, one without and one with the flags, and are loaded in turn, for a
 * moment each, which of them is first changing from round to round: what disturbs the machine disturbs both alike. Prints
 * the medians of the rounds' ratios (with / without) of throughput and of processor time per request, and their quartiles.
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

const { values } = parseArgs({
  options: {
    flags: { type: 'string', default: '' },
    row: { type: 'string', default: 'put-100' },
    rounds: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '1' },
    'work-dir': { type: 'string', default: tmpdir() },
  },
});
const [row] = selectRows([values.row]);
if (row === undefined || row.verb === 'restart') throw new Error(`no load ${values.row}`);
const { verb } = row;
const dial = dialerOf(DEFAULT_OPTIONS);

/** One member that stays, and the load on it for a moment. */
async function side(
  flags: readonly string[],
): Promise<{ server: RunningServer; load(seconds: number): Promise<Round> }> {
  const server = await startServer(
    'etsd',
    { workDirectory: values['work-dir'], members: 1, tls: false, flags: [...flags] },
    dial,
  );
  const options = optionsOf(row as NonNullable<typeof row>, server.endpoints, 0, PRELOADED_KEYS);
  const channels = await openChannels(dial, options);
  return {
    server,
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

const without = await side([]);
const withFlags = await side(values.flags.split(' ').filter((flag) => flag !== ''));
try {
  for (const each of [without, withFlags]) await each.load(WARMUP_SECONDS);
  const throughput: number[] = [];
  const cpu: number[] = [];
  const micros: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const order = round % 2 === 0 ? [without, withFlags] : [withFlags, without];
    const results = new Map<object, Round>();
    for (const each of order) results.set(each, await each.load(Number(values.seconds)));
    const [base, more] = [results.get(without) as Round, results.get(withFlags) as Round];
    throughput.push(more.perSecond / base.perSecond);
    cpu.push(more.cpuMicros / base.cpuMicros);
    micros.push(more.cpuMicros - base.cpuMicros);
    console.error(
      `${base.perSecond.toFixed(0)} → ${more.perSecond.toFixed(0)} a second, ${base.cpuMicros.toFixed(2)} → ${more.cpuMicros.toFixed(2)} µs`,
    );
  }
  console.log(`${values.row} with ${values.flags}, of without, ${values.rounds} rounds of ${values.seconds} s:`);
  console.log(`  requests a second  ${quartiles(throughput)}`);
  console.log(`  processor time     ${quartiles(cpu)}; in microseconds a request ${quartiles(micros)}`);
} finally {
  await without.server.stop();
  await withFlags.server.stop();
}
process.exit(process.exitCode ?? 0);
