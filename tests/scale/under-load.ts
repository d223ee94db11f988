/**
 * What a snapshot of a large store costs those who write meanwhile, beside etcd: puts at a steady rate, first alone and
 * then while snapshots are taken.
 *
 *     node tests/scale/under-load.ts [--megabytes 1000] [--product etsd] [--rate 500] [--directory DIR [--prepare | --save]]
 *
 * With `--save` nobody writes, and both products' clients save snapshots: how long that takes, and with which memory.
 * The stores are restored from one file. In a directory of the caller's they are kept, and `--prepare` makes no more than
 * them, so that what is measured can be repeated, and run when the machine is quiet.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Histogram } from '@etsd/bench';
import { findPeerProgram, freePort } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import type { Product } from '../support/server.ts';
import { measured, saves, writeSnapshot } from './backup.ts';
import { SteadyPuts } from './client.ts';
import { type Latencies, latenciesOf } from './large-range.ts';
import { MeasuredServer } from './measured-server.ts';
import type { ProbeReading } from './probe.ts';
import { readSnapshot, type SnapshotRead } from './snapshot-reader.ts';

export interface UnderLoad {
  readonly product: Product;
  readonly snapshots: readonly SnapshotRead[];
  /** Before the snapshots and after them, half of the time each. */
  readonly quiet: Latencies;
  /** While snapshots are made, before their first pieces come, and while they are sent. */
  readonly making: Latencies;
  readonly sending: Latencies;
  readonly beside: Latencies;
  /** Syncs of the log, alone and beside snapshots: those that took more than so many milliseconds, in a hundred. */
  readonly quietSyncs: readonly string[];
  readonly syncs: readonly string[];
  /** p99 beside snapshots, in those of puts alone. */
  readonly growth: number;
  /** Resident memory in MiB that is the program's own, before and at most meanwhile. */
  readonly ownBefore: number;
  readonly ownPeak: number;
  /** Of the event loop; null for etcd. */
  readonly quietProbe: ProbeReading | null;
  readonly probe: ProbeReading | null;
}

export interface UnderLoadOptions {
  readonly product: Product;
  readonly dataDir: string;
  /** Puts a second. */
  readonly rate: number;
  readonly quietMs: number;
  /** Snapshots are taken one after the other until so much time has passed, and at least one. */
  readonly besideMs: number;
}

const WARM_MS = 1500;
const PRODUCTS: readonly Product[] = ['etcd', 'etsd'];
const RESTORE = ['--name', 'infra1', '--initial-cluster', 'infra1=http://127.0.0.1:1'];

/** A restored data directory for each product. */
export async function prepareStores(directory: string, megabytes: number, products: readonly Product[]): Promise<void> {
  const missing = products.filter((product) => !existsSync(join(directory, product)));
  if (missing.length === 0) return;
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'saved.db');
  rmSync(file, { force: true });
  await writeSnapshot(file, megabytes);
  for (const product of missing) {
    const words = ['snapshot', 'restore', file, '--data-dir', join(directory, product, 'member.etcd'), ...RESTORE];
    words.push('--initial-advertise-peer-urls', 'http://127.0.0.1:1');
    if (product === 'etcd') execFileSync(findPeerProgram('etcdutl') as string, words, { stdio: 'ignore' });
    else execFileSync(NODE, [join(ROOT, 'packages/cli/bin/etsdutl.ts'), ...words], { stdio: 'ignore' });
  }
  rmSync(file);
}

export async function underLoad(options: UnderLoadOptions): Promise<UnderLoad> {
  const { product, dataDir, rate, quietMs, besideMs } = options;
  const server = await MeasuredServer.start(product, [], dataDir);
  try {
    // What others have written is not to be on its way to the disk meanwhile.
    execFileSync('sync');
    const warm = new SteadyPuts(server.address, rate);
    await sleep(WARM_MS);
    await warm.stop();
    await server.probe();
    const syncsBefore = await syncsOf(server.address);
    const alone = new SteadyPuts(server.address, rate);
    await sleep(quietMs);
    const before = await alone.stop();
    const quietProbe = await server.probe();
    const syncsAt = await syncsOf(server.address);
    const quietSyncs = slowSyncs(syncsBefore, syncsAt);
    const ownBefore = server.resident().own;
    let ownPeak = 0;
    const watch = setInterval(() => {
      ownPeak = Math.max(ownPeak, server.resident().own);
    }, 50);
    const puts = new SteadyPuts(server.address, rate);
    const snapshots: SnapshotRead[] = [];
    const startMs = performance.now();
    const [making, sending, all] = [new Histogram(), new Histogram(), new Histogram()];
    do {
      snapshots.push(await readSnapshot(server.address, () => making.add(puts.take())));
      sending.add(puts.take());
    } while (performance.now() - startMs < besideMs);
    clearInterval(watch);
    sending.add(await puts.stop());
    all.add(making);
    all.add(sending);
    const beside = latenciesOf(all);
    const syncs = slowSyncs(syncsAt, await syncsOf(server.address));
    const probe = await server.probe();
    const again = new SteadyPuts(server.address, rate);
    await sleep(quietMs);
    before.add(await again.stop());
    const quiet = latenciesOf(before);
    const growth = beside.p99 / quiet.p99;
    const phases = { making: latenciesOf(making), sending: latenciesOf(sending), quietSyncs, syncs };
    return { product, snapshots, quiet, beside, ...phases, growth, ownBefore, ownPeak, quietProbe, probe };
  } finally {
    await server.dispose();
  }
}

/** Both clients save the store of one product; they print what that took. */
async function saveFrom(directory: string, product: Product): Promise<void> {
  const place = { product, dataDir: join(directory, product), peerPort: await freePort() };
  const run = async (step: string, words: readonly string[]): Promise<void> => {
    const { seconds, ownMemory } = await measured(step, words);
    console.log(`${step.padEnd(48)} ${seconds.toFixed(2).padStart(7)} s ${String(ownMemory).padStart(6)} MiB`);
  };
  await saves(place, directory, run, findPeerProgram('etcdctl') !== null);
}

/** How many syncs of the log took no longer than so many seconds. */
async function syncsOf(address: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const lines = text.matchAll(/^etcd_disk_wal_fsync_duration_seconds_bucket\{le="([^"]+)"\} (\S+)$/gm);
  return new Map([...lines].map(([, bound, count]) => [bound as string, Number(count)]));
}

function slowSyncs(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string[] {
  const grown = (bound: string): number => (after.get(bound) ?? 0) - (before.get(bound) ?? 0);
  const all = grown('+Inf');
  return [...after.keys()]
    .filter((bound) => bound !== '+Inf' && grown(bound) < all)
    .map((bound) => `${Number(bound) * 1000} ms: ${((100 * (all - grown(bound))) / all).toFixed(2)}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '1000' },
      product: { type: 'string', multiple: true },
      rate: { type: 'string', default: '500' },
      'quiet-ms': { type: 'string', default: '10000' },
      'beside-ms': { type: 'string', default: '10000' },
      directory: { type: 'string' },
      prepare: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
    },
  });
  const products = (values.product ??
    PRODUCTS.filter((name) => name === 'etsd' || findPeerProgram(name) !== null)) as Product[];
  const directory = values.directory ?? mkdtempSync(join(tmpdir(), 'snapshot-load-'));
  try {
    await prepareStores(directory, Number(values.megabytes), products);
    for (const product of values.prepare ? [] : products) {
      if (values.save) {
        await saveFrom(directory, product);
        continue;
      }
      const result = await underLoad({
        product,
        dataDir: join(directory, product),
        rate: Number(values.rate),
        quietMs: Number(values['quiet-ms']),
        besideMs: Number(values['beside-ms']),
      });
      if (values.verbose) console.log(JSON.stringify(result));
      const { snapshots, quiet, making, sending, beside, growth, ownBefore, ownPeak } = result;
      const line = (name: string, { p50, p99, max }: Latencies): string =>
        `  ${name.padEnd(20)} p50 ${p50.toFixed(2)} p99 ${p99.toFixed(2)} max ${max.toFixed(1)} ms`;
      const taken = snapshots.map(
        ({ bytes, seconds, firstSeconds }) =>
          `${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s (first piece after ${firstSeconds.toFixed(1)} s)`,
      );
      console.log(`${product}: ${taken.join(', ')}`);
      console.log(line('puts alone', quiet));
      console.log(line('while it is made', making));
      console.log(line('while it is sent', sending));
      console.log(`${line('both', beside)}: p99 × ${growth.toFixed(2)}`);
      console.log(`  slow syncs alone, of a hundred:  ${result.quietSyncs.join(', ')}`);
      console.log(`  slow syncs beside, of a hundred: ${result.syncs.join(', ')}`);
      console.log(`  memory ${ownBefore.toFixed(0)} MiB before, ${ownPeak.toFixed(0)} MiB at most`);
    }
  } finally {
    if (values.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
}
