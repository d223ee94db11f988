/** Judgements on a cluster: is it fast enough, how much memory does its data take. */
import { randomBytes } from 'node:crypto';
import { type EtcdClient, parseEndpoint, prefix } from '@etsd/client';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { type Flag, flag } from '../flags.ts';
import { quote } from '../go.ts';
import { Progress } from '../progress.ts';

const KEY_BYTES = 256;
const VALUE_BYTES = 1024;
const PERF_SECONDS = 60;
/** Smaller than this share of the rate asked for is too slow. */
const RATE_SHARE = 0.9;
const SLOWEST_SECONDS = 0.5;
const DEVIATION_SECONDS = 0.1;
const ERRORS_MAX = 10;

type Size = 's' | 'm' | 'l' | 'xl';

function sizeOf(text: string): Size {
  const known: Record<string, Size> = {
    s: 's',
    small: 's',
    m: 'm',
    medium: 'm',
    l: 'l',
    large: 'l',
    xl: 'xl',
    xLarge: 'xl',
  };
  const size = known[text];
  if (size !== undefined) return size;
  throw new Failure(ExitCode.BAD_FEATURE, `unknown load option ${text}`, 'write --load=s, m, l or xl');
}

function flagsOf(name: string): readonly Flag[] {
  return [
    flag('auto-compact', 'bool', 'false', 'compact the store when done'),
    flag('auto-defrag', 'bool', 'false', 'defragment the members when done'),
    flag('load', 'string', 's', 's, m, l or xl'),
    flag('prefix', 'string', `/etcdctl-check-${name}/`, 'prefix of the keys that are written, and removed afterwards'),
  ];
}

/** Writes of one kind by so many clients at once. */
interface Load {
  readonly prefix: string;
  readonly clients: number;
  /** Writes in all; the load ends there or when `isOver` says so. */
  readonly writes: number;
  /** Writes a second at most; infinite for as fast as it goes. */
  readonly rate: number;
  readonly isOver: () => boolean;
}

class Outcome {
  writes = 0;
  seconds = 0;
  slowest = 0;
  readonly errors = new Map<string, number>();
  private sum = 0;
  private squares = 0;

  took(seconds: number): void {
    this.writes++;
    this.slowest = Math.max(this.slowest, seconds);
    this.sum += seconds;
    this.squares += seconds * seconds;
  }

  failed(error: unknown): void {
    const { message } = error as Error;
    this.errors.set(message, (this.errors.get(message) ?? 0) + 1);
  }

  get errorCount(): number {
    let count = 0;
    for (const each of this.errors.values()) count += each;
    return count;
  }

  get deviation(): number {
    const mean = this.sum / Math.max(1, this.writes);
    return Math.sqrt(Math.max(0, this.squares / Math.max(1, this.writes) - mean * mean));
  }
}

async function run(client: EtcdClient, load: Load, outcome: Outcome, onWrite: () => void): Promise<void> {
  const startMs = performance.now();
  let issued = 0;
  const worker = async (): Promise<void> => {
    while (issued < load.writes && !load.isOver()) {
      const dueMs = startMs + (issued / load.rate) * 1000;
      issued++;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const key = `${load.prefix}${randomBytes(KEY_BYTES / 2).toString('hex')}`;
      const beganMs = performance.now();
      try {
        await client.kv.put(key, VALUE);
        outcome.took((performance.now() - beganMs) / 1000);
      } catch (error) {
        outcome.failed(error);
      }
      onWrite();
    }
  };
  await Promise.all(Array.from({ length: load.clients }, worker));
  outcome.seconds = (performance.now() - startMs) / 1000;
}

const VALUE = randomBytes(VALUE_BYTES);

async function refuseExistingKeys(context: Context, client: EtcdClient, text: string): Promise<void> {
  const { count } = await client.kv.range({ ...prefix(text), limit: 1, countOnly: true }, context.short);
  if (count === 0) return;
  const problem = `prefix ${quote(Buffer.from(text))} has keys. Delete with 'etcdctl del --prefix ${text}' first`;
  throw new Failure(ExitCode.INVALID_INPUT, problem);
}

async function cleanUp(context: Context, client: EtcdClient, text: string): Promise<void> {
  const deleted = await client.kv.delete(prefix(text), { timeoutMs: 0 });
  if (context.flags.flag('auto-compact')) {
    await client.kv.compact(deleted.header?.revision ?? 0, { timeoutMs: 0, physical: true });
    context.line(`Compacted with revision ${deleted.header?.revision ?? 0}`);
  }
  if (context.flags.flag('auto-defrag')) {
    for (const endpoint of client.endpoints) {
      await client.maintenance.defragment({ endpoint, timeoutMs: 0 });
      context.line(`Defragmented ${quote(Buffer.from(endpoint))}`);
    }
  }
}

// ── perf ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const PERF_LOADS: Record<Size, { rate: number; clients: number }> = {
  s: { rate: 150, clients: 50 },
  m: { rate: 1000, clients: 200 },
  l: { rate: 8000, clients: 500 },
  xl: { rate: 15_000, clients: 1000 },
};

const perf: Command = {
  name: 'perf',
  summary: 'Write for a minute and judge the speed',
  description: 'Writes per second: s 150, m 1000, l 8000, xl 15000, with keys of 256 and values of 1024 bytes.',
  examples: [['A middling load', 'check perf --load=m']],
  flags: flagsOf('perf'),
  async run(context) {
    const { clients, rate } = PERF_LOADS[sizeOf(context.flags.text('load'))];
    const text = context.flags.text('prefix');
    const client = await context.client();
    await refuseExistingKeys(context, client, text);
    const progress = new Progress(context.surroundings.stdout, 'writing');
    const endMs = performance.now() + PERF_SECONDS * 1000;
    const outcome = new Outcome();
    const load: Load = {
      prefix: text,
      clients,
      rate,
      writes: rate * PERF_SECONDS,
      isOver: () => performance.now() >= endMs || outcome.errorCount > ERRORS_MAX,
    };
    await run(client, load, outcome, () => {
      progress.show(PERF_SECONDS * 1000 - (endMs - performance.now()), PERF_SECONDS * 1000);
    });
    progress.done('done');
    await cleanUp(context, client, text);
    if (!judge(context, outcome, rate)) throw new Failure(ExitCode.ERROR, 'FAIL');
  },
};

function judge(context: Context, outcome: Outcome, rate: number): boolean {
  let passed = true;
  const say = (good: boolean, pass: string, fail: string): void => {
    context.line(good ? `PASS: ${pass}` : fail);
    passed &&= good;
  };
  for (const [message, count] of outcome.errors) say(false, '', `FAIL: ERROR(${message}) -> ${count}`);
  const throughput = Math.round(outcome.writes / outcome.seconds);
  say(
    outcome.writes / outcome.seconds >= rate * RATE_SHARE,
    `Throughput is ${throughput} writes/s`,
    `FAIL: Throughput too low: ${throughput} writes/s`,
  );
  const slowest = outcome.slowest.toFixed(6);
  say(
    outcome.slowest <= SLOWEST_SECONDS,
    `Slowest request took ${slowest}s`,
    `Slowest request took too long: ${slowest}s`,
  );
  const deviation = outcome.deviation.toFixed(6);
  say(outcome.deviation <= DEVIATION_SECONDS, `Stddev is ${deviation}s`, `Stddev too high: ${deviation}s`);
  context.line(passed ? 'PASS' : 'FAIL');
  return passed;
}

// ── datascale ───────────────────────────────────────────────────────────────────────────────────────────────────────

const DATA_LOADS: Record<Size, { keys: number; clients: number }> = {
  s: { keys: 10_000, clients: 50 },
  m: { keys: 100_000, clients: 200 },
  l: { keys: 1_000_000, clients: 500 },
  xl: { keys: 3_000_000, clients: 1000 },
};

const datascale: Command = {
  name: 'datascale',
  summary: 'Write many keys and print how much memory they take',
  description: 'Keys: s 10,000, m 100,000, l 1,000,000, xl 3,000,000. The first endpoint is asked.',
  flags: flagsOf('datascale'),
  async run(context) {
    const { clients, keys } = DATA_LOADS[sizeOf(context.flags.text('load'))];
    const text = context.flags.text('prefix');
    const client = await context.client();
    await refuseExistingKeys(context, client, text);
    const endpoint = client.endpoints[0];
    if (endpoint === undefined) throw badArguments('no endpoint is given');
    const before = await residentBytes(endpoint, 'before');
    context.line(
      `Start data scale check for work load [${keys} key-value pairs, ${VALUE_BYTES} bytes per key-value, ${clients} concurrent clients].`,
    );
    const progress = new Progress(context.surroundings.stdout, 'writing');
    const load: Load = { prefix: text, clients, writes: keys, rate: Number.POSITIVE_INFINITY, isOver: () => false };
    const outcome = new Outcome();
    await run(client, load, outcome, () => progress.show(outcome.writes, keys));
    progress.done('done');
    const after = await residentBytes(endpoint, 'after');
    await cleanUp(context, client, text);
    if (outcome.errors.size > 0) {
      context.line('FAIL: too many errors');
      for (const [message, count] of outcome.errors) context.line(`FAIL: ERROR(${message}) -> ${count}`);
      throw new Failure(ExitCode.ERROR, 'FAIL');
    }
    context.line(`PASS: Approximate system memory used : ${((after - before) / 1024 / 1024).toFixed(2)} MB.`);
  },
};

/** Memory of the member as its metrics have it. */
async function residentBytes(endpoint: string, moment: 'before' | 'after'): Promise<number> {
  const { address, tls } = parseEndpoint(endpoint);
  if ('path' in address) throw badArguments('datascale reads /metrics over TCP', 'name an endpoint like HOST:PORT');
  const url = `${tls === 'always' ? 'https' : 'http'}://${address.host}:${address.port}/metrics`;
  const response = await fetch(url);
  const match = /^process_resident_memory_bytes (\S+)$/m.exec(await response.text());
  if (match !== null) return Number(match[1]);
  throw new Failure(ExitCode.ERROR, `FAIL: Could not read process_resident_memory_bytes ${moment} the put operations.`);
}

export const CHECK_COMMAND: Command = {
  name: 'check',
  summary: 'Judge speed and memory of a cluster',
  group: 'Cluster maintenance',
  commands: [datascale, perf],
};
