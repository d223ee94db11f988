/**
 * What a request costs the program that makes it: this library beside npm's `etcd3` and plain `@grpc/grpc-js`, on one
 * server, in one run, each in a process of its own, in turn.
 *
 *     node tests/client/compare-clients.ts [--seconds 5] [--rounds 3] [--concurrency 100] [--product etsd]
 *
 * Goal: at least three times the requests per second of the client's processor time (user and system, all its threads)
 * that either of the others gets. Method: puts of 256 bytes and linearizable reads of one key, so many at a time; a warm-up
 * that does not count; the middle of the rounds. `--bound 3` ends with 1 where a ratio is below.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { EtcdClient } from '@etsd/client';
import { type Product, startServer } from '../support/server.ts';
import { CLIENTS, type ClientName, type Subject } from './compared-clients.ts';

const WORKLOADS = ['put', 'range'] as const;
type Workload = (typeof WORKLOADS)[number];

/** What a child is asked to do, and what it answers. */
interface Order {
  readonly workload: Workload;
  readonly warmupMs: number;
  readonly measureMs: number;
}
interface Measured {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

const VALUE = Buffer.alloc(256, 'v');
const KEYS = 1000;

/** So many loops, each with one request under way; returns what was measured after the warm-up. */
async function load(subject: Subject, order: Order, concurrency: number): Promise<Measured> {
  let requests = 0;
  let stopped = false;
  const loop = async (place: number): Promise<void> => {
    for (let i = place; !stopped; i += concurrency) {
      const key = `compare/${i % KEYS}`;
      if (order.workload === 'put') await subject.put(key, VALUE);
      else if ((await subject.get(key)) === null) throw new Error(`${key} is not there`);
      requests++;
    }
  };
  const loops = Promise.all(Array.from({ length: concurrency }, (_unused, place) => loop(place)));
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  await Promise.race([loops, pause(order.warmupMs)]);
  const before = { requests, cpu: process.cpuUsage(), at: performance.now() };
  await Promise.race([loops, pause(order.measureMs)]);
  const cpu = process.cpuUsage(before.cpu);
  const measured = {
    requests: requests - before.requests,
    elapsedMs: performance.now() - before.at,
    cpuMs: (cpu.user + cpu.system) / 1000,
  };
  stopped = true;
  await loops;
  return measured;
}

async function child(name: ClientName, address: string, concurrency: number): Promise<void> {
  const subject = await CLIENTS[name](address);
  process.on('message', (order: Order | 'end') => {
    if (order === 'end') {
      subject.close();
      process.disconnect();
      return;
    }
    load(subject, order, concurrency).then(
      (measured) => process.send?.(measured),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.send?.('ready');
}

/** One answer of a child; rejects if it ends instead. */
function answer<T>(from: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const gone = (code: number | null): void => reject(new Error(`a client ended with ${code}`));
    from.once('exit', gone);
    from.once('message', (message) => {
      from.off('exit', gone);
      resolve(message as T);
    });
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] as number;
}

interface Row {
  readonly perCpuSecond: number;
  readonly perSecond: number;
}

async function measure(options: {
  product: Product;
  concurrency: number;
  rounds: number;
  measureMs: number;
}): Promise<Map<string, Row>> {
  const server = await startServer({ product: options.product });
  await using writer = new EtcdClient({ endpoints: server.address });
  const keys = Array.from({ length: KEYS }, (_unused, i) => `compare/${i}`);
  await Promise.all(keys.map((each) => writer.kv.put(each, VALUE)));
  const names = Object.keys(CLIENTS) as ClientName[];
  const children = names.map((name) =>
    fork(import.meta.filename, ['--as', name, '--address', server.address, '--concurrency', `${options.concurrency}`]),
  );
  const rows = new Map<string, Row>();
  try {
    await Promise.all(children.map((each) => answer(each)));
    for (const workload of WORKLOADS) {
      const measured = new Map<ClientName, Measured[]>(names.map((name) => [name, []]));
      for (let round = 0; round < options.rounds; round++) {
        for (const [place, name] of names.entries()) {
          const each = children[place] as ChildProcess;
          const warmupMs = round === 0 ? options.measureMs / 2 : 200;
          each.send({ workload, warmupMs, measureMs: options.measureMs } satisfies Order);
          measured.get(name)?.push(await answer<Measured>(each));
        }
      }
      for (const [name, results] of measured) {
        rows.set(`${workload} ${name}`, {
          perCpuSecond: median(results.map(({ requests, cpuMs }) => requests / (cpuMs / 1000))),
          perSecond: median(results.map(({ requests, elapsedMs }) => requests / (elapsedMs / 1000))),
        });
      }
    }
    return rows;
  } finally {
    for (const each of children) {
      if (each.connected) each.send('end');
      else each.kill('SIGKILL');
    }
    await server.dispose();
  }
}

/** Prints the table; returns the smallest ratio of ours to another's. */
function report(rows: ReadonlyMap<string, Row>): number {
  console.log('workload  client     requests/s   requests per client CPU second   @etsd/client in its place');
  let smallest = Number.POSITIVE_INFINITY;
  for (const workload of WORKLOADS) {
    const own = rows.get(`${workload} @etsd/client`) as Row;
    for (const [title, row] of rows) {
      const [kind, name] = title.split(' ') as [string, string];
      if (kind !== workload) continue;
      const ratio = own.perCpuSecond / row.perCpuSecond;
      if (row !== own) smallest = Math.min(smallest, ratio);
      const figures = `${row.perSecond.toFixed(0).padStart(10)}   ${row.perCpuSecond.toFixed(0).padStart(30)}`;
      console.log(
        `${kind.padEnd(9)} ${name.padEnd(13)} ${figures}   ${row === own ? '' : `${ratio.toFixed(2)} times`}`,
      );
    }
  }
  return smallest;
}

const { values } = parseArgs({
  options: {
    as: { type: 'string' },
    address: { type: 'string', default: '' },
    product: { type: 'string', default: 'etsd' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '100' },
    bound: { type: 'string', default: '0' },
  },
});
const concurrency = Number(values.concurrency);
if (values.as !== undefined) await child(values.as as ClientName, values.address, concurrency);
else {
  const rows = await measure({
    product: values.product as Product,
    concurrency,
    rounds: Number(values.rounds),
    measureMs: Number(values.seconds) * 1000,
  });
  const smallest = report(rows);
  console.log(`smallest ratio: ${smallest.toFixed(2)}`);
  process.exitCode = smallest < Number(values.bound) ? 1 : 0;
}
