/**
 * `npm run bench:compare`: etsd and real etcd in turn on this machine, with the same flags, fresh directories and the
 * same loads; medians and ratios of throughput, latency, processor time and memory.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findPeerProgram } from '@etsd/testkit';
import type { Dial } from './channel.ts';
import { dialerOf } from './dial.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import { plot } from './plot.ts';
import { digits, median, percentilesOf, table } from './report.ts';
import { optionsOf, PRELOADED_KEYS, preloadOptions, type Row, selectRows } from './rows.ts';
import { openChannels, runVerb } from './run.ts';
import { type RunningServer, type ServerName, type ServerSettings, startServer } from './servers.ts';

const USAGE = `usage: npm run bench:compare -- [flags]

  --rows         comma-separated names or families (put,range-l-100,…); all if not given
  --seconds      length of each load (5)
  --warmup       seconds of the same load before it, not counted (1)
  --rounds       how often each server is started and measured (3)
  --servers      etsd,etcd or one of them
  --keys         keys of 256 bytes that are there before the first row (10000)
  --members      members of each cluster (1); processor time and memory are sums
  --load         spread: clients on all members; leader: all on the leader (spread)
  --tls          clients connect over TLS (needs openssl to make a certificate)
  --server-flags further flags for both servers, separated by spaces
  --work-dir     where the servers' directories are made (the system's temporary directory)
  --out          where JSON and SVG go (bench-results)
`;

/** What one load on one server came to. */
export interface Measurement {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
  serverCpuMicros: number;
  residentMb: number;
  loadCpuMicros: number;
  errors: number;
}

const FIGURES = ['perSecond', 'p50Ms', 'p99Ms', 'p999Ms', 'serverCpuMicros', 'residentMb', 'loadCpuMicros'] as const;

export interface RowResult {
  row: string;
  clients: number;
  unit: string;
  rounds: Partial<Record<ServerName, Measurement[]>>;
  medians: Partial<Record<ServerName, Measurement>>;
}

interface Settings {
  rows: Row[];
  seconds: number;
  warmup: number;
  rounds: number;
  servers: ServerName[];
  keys: number;
  load: Placement;
  server: ServerSettings;
  out: string;
}

/** On which members of a cluster the clients are. */
type Placement = 'spread' | 'leader';

function parseSettings(args: string[]): Settings {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      rows: text,
      seconds: text,
      warmup: text,
      rounds: text,
      servers: text,
      keys: text,
      members: text,
      load: text,
      tls: { type: 'boolean' },
      'server-flags': text,
      'work-dir': text,
      out: text,
    },
  });
  const servers = (values.servers ?? 'etsd,etcd').split(',');
  for (const name of servers) if (name !== 'etsd' && name !== 'etcd') throw new Error(`no server ${name}`);
  const load = values.load ?? 'spread';
  if (load !== 'spread' && load !== 'leader') throw new Error(`no load ${load}; there are: spread leader`);
  return {
    load,
    rows: selectRows(values.rows === undefined ? [] : values.rows.split(',')),
    seconds: Number(values.seconds ?? 5),
    warmup: Number(values.warmup ?? 1),
    rounds: Number(values.rounds ?? 3),
    servers: servers as ServerName[],
    keys: Number(values.keys ?? PRELOADED_KEYS),
    server: {
      workDirectory: values['work-dir'] ?? tmpdir(),
      members: Number(values.members ?? 1),
      tls: values.tls ?? false,
      flags: (values['server-flags'] ?? '').split(' ').filter((flag) => flag !== ''),
    },
    out: values.out ?? 'bench-results',
  };
}

/** One row on a running server: a warm-up, then the load that counts. */
async function measure(row: Row, server: RunningServer, settings: Settings, dial: Dial): Promise<Measurement> {
  const verb = row.verb;
  if (verb === 'restart') return measureRestart(server, settings, dial);
  const endpoints = settings.load === 'leader' ? [await server.leaderEndpoint(dial)] : server.endpoints;
  const options = optionsOf(row, endpoints, settings.seconds, settings.keys);
  const channels = await openChannels(dial, options);
  if (settings.warmup > 0) await runVerb(verb, { ...options, seconds: settings.warmup }, channels);
  let serverCpu = 0;
  let ownCpu = process.cpuUsage();
  const outcome = await runVerb(verb, options, channels, () => {
    serverCpu = server.cpuSeconds();
    ownCpu = process.cpuUsage();
  });
  const spentSeconds = server.cpuSeconds() - serverCpu;
  const own = process.cpuUsage(ownCpu);
  const residentMb = server.residentBytes() / 1e6;
  for (const channel of channels) channel.close();
  if (outcome.errors > 0)
    console.error(`${row.name} on ${server.name}: ${outcome.errors} errors, ${outcome.firstError}`);
  const each = Math.max(1, outcome.operations);
  const latency = percentilesOf(outcome.latency);
  return {
    perSecond: outcome.perSecond,
    p50Ms: latency.p50Ms,
    p99Ms: latency.p99Ms,
    p999Ms: latency.p999Ms,
    serverCpuMicros: (spentSeconds * 1e6) / each,
    residentMb,
    loadCpuMicros: (own.user + own.system) / each,
    errors: outcome.errors,
  };
}

/** All latencies are the time until every member answers; the rate is of keys read back, counting preloaded ones. */
async function measureRestart(server: RunningServer, settings: Settings, dial: Dial): Promise<Measurement> {
  const tookMs = await server.restart(dial);
  return {
    perSecond: (settings.keys / tookMs) * 1000,
    p50Ms: tookMs,
    p99Ms: tookMs,
    p999Ms: tookMs,
    serverCpuMicros: (server.cpuSeconds() * 1e6) / settings.keys,
    residentMb: server.residentBytes() / 1e6,
    loadCpuMicros: 0,
    errors: 0,
  };
}

async function runServer(name: ServerName, settings: Settings, results: RowResult[], dial: Dial): Promise<void> {
  const server = await startServer(name, settings.server, dial);
  const abandon = (): void => {
    void server.stop().then(() => process.exit(130));
  };
  process.once('SIGINT', abandon);
  try {
    const preload = preloadOptions(server.endpoints, settings.keys);
    const channels = await openChannels(dial, preload);
    await runVerb('put', preload, channels);
    for (const channel of channels) channel.close();
    for (const [index, row] of settings.rows.entries()) {
      let measurement: Measurement;
      try {
        measurement = await measure(row, server, settings, dial);
      } catch (error) {
        console.error(`  ${row.name.padEnd(14)} ${name}  failed: ${(error as Error).message}`);
        process.exitCode = 1;
        continue;
      }
      const rounds = (results[index] as RowResult).rounds;
      rounds[name] = [...(rounds[name] ?? []), measurement];
      console.error(
        `  ${row.name.padEnd(14)} ${name}  ${digits(measurement.perSecond).padStart(8)} a second, ` +
          `p99 ${digits(measurement.p99Ms)} ms, ${digits(measurement.serverCpuMicros)} µs CPU`,
      );
    }
  } finally {
    process.removeListener('SIGINT', abandon);
    await server.stop();
  }
}

/** The median of each figure by itself: rounds differ in what disturbs them. */
export function medianOf(measurements: readonly Measurement[]): Measurement {
  const out = { errors: measurements.reduce((sum, each) => sum + each.errors, 0) } as Measurement;
  for (const figure of FIGURES) out[figure] = median(measurements.map((each) => each[figure]));
  return out;
}

function lineOf(first: string, second: string, m: Measurement): string[] {
  return [first, second, ...FIGURES.map((figure) => digits(m[figure]))];
}

/** Three lines for each row: the two servers, and etsd divided by etcd. */
export function resultTable(results: readonly RowResult[]): string {
  const rows = [['row', 'server', 'a second', 'p50 ms', 'p99 ms', 'p99.9 ms', 'CPU µs', 'RSS MB', 'load µs']];
  for (const result of results) {
    const { etsd, etcd } = result.medians;
    if (etsd !== undefined) rows.push(lineOf(result.row, 'etsd', etsd));
    if (etcd !== undefined) rows.push(lineOf(etsd === undefined ? result.row : '', 'etcd', etcd));
    if (etsd === undefined || etcd === undefined) continue;
    rows.push(['', 'ratio', ...FIGURES.map((figure) => `×${(etsd[figure] / etcd[figure]).toFixed(2)}`)]);
  }
  return table(rows);
}

function versionOf(command: string, args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8' }).split('\n')[0] ?? '';
  } catch (error) {
    return `unknown (${(error as Error).message.split('\n')[0]})`;
  }
}

function writeResults(settings: Settings, results: readonly RowResult[], startedAt: Date): string {
  mkdirSync(settings.out, { recursive: true });
  const base = join(settings.out, `compare-${startedAt.toISOString().replace(/[:.]/g, '-')}`);
  const etcd = settings.servers.includes('etcd') ? findPeerProgram('etcd') : null;
  const facts = {
    startedAt: startedAt.toISOString(),
    commit: versionOf('git', ['rev-parse', 'HEAD']),
    node: process.version,
    etcd: etcd === null ? null : versionOf(etcd, ['--version']),
    cpu: cpus()[0]?.model ?? '',
    cpus: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    seconds: settings.seconds,
    warmup: settings.warmup,
    rounds: settings.rounds,
    keys: settings.keys,
    members: settings.server.members,
    load: settings.load,
    tls: settings.server.tls,
    serverFlags: settings.server.flags,
  };
  writeFileSync(`${base}.json`, `${JSON.stringify({ facts, results }, null, 1)}\n`);
  writeFileSync(`${base}.svg`, plot(results));
  return base;
}

async function main(args: string[]): Promise<void> {
  if (args.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const settings = parseSettings(args);
  const startedAt = new Date();
  const results: RowResult[] = settings.rows.map((row) => ({
    row: row.name,
    clients: row.options.clients ?? 1,
    unit: row.verb === 'watch' ? 'events' : row.verb === 'restart' ? 'keys' : 'requests',
    rounds: {},
    medians: {},
  }));
  // The certificate of the run is signed by nobody.
  const dial = dialerOf({ ...DEFAULT_OPTIONS, insecureSkipTlsVerify: true });
  for (let round = 0; round < settings.rounds; round++) {
    console.error(`round ${round + 1} of ${settings.rounds}`);
    const order = round % 2 === 0 ? settings.servers : [...settings.servers].reverse();
    for (const name of order) await runServer(name, settings, results, dial);
  }
  for (const result of results) {
    for (const name of settings.servers) {
      const rounds = result.rounds[name];
      if (rounds !== undefined) result.medians[name] = medianOf(rounds);
    }
  }
  const base = writeResults(settings, results, startedAt);
  console.log(resultTable(results));
  console.log(`\nEach figure is the median of ${settings.rounds} rounds; ratio: etsd divided by etcd.`);
  console.log(`CPU: of the server, all threads, per operation; load: of this program. ${base}.json, ${base}.svg`);
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
