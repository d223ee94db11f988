/**
 * What a durable entry costs, by number of proposals saved at once: durations and processor time of all threads.
 * `node packages/wal/src/wal.bench.ts [directory] [rounds]`; the smallest run is part of the tests.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entry, HardState } from '@etsd/proto';
import { KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { Wal, type WalOptions } from './index.ts';

const ENTRY_BYTES = 300;

interface Outcome {
  readonly entriesPerSecond: number;
  readonly syncsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicrosPerEntry: number;
  readonly mainMicrosPerEntry: number;
}

/** `clients` proposals under way at any time, each followed by the next as soon as it is durable. */
export async function run(
  root: string,
  clients: number,
  total: number,
  options: WalOptions,
  world: World = nodeWorld(),
): Promise<Outcome> {
  let syncs = 0;
  const observer = { synced: () => void syncs++ };
  const wal = await Wal.create(world, join(root, `w${clients}-${Math.random()}`), Buffer.from('m'), {
    ...options,
    observer,
  });
  const data = Buffer.alloc(ENTRY_BYTES, 7);
  const state = HardState.create({ term: 1 });
  const durations: number[] = [];
  let next = 1;
  let answered = 0;
  const cpuBefore = process.cpuUsage();
  const mainBefore = process.threadCpuUsage();
  const started = performance.now();
  await new Promise<void>((resolve, reject) => {
    const propose = (): void => {
      if (next > total) return;
      const entry = Entry.create({ term: 1, index: next++, data });
      const before = performance.now();
      wal.save(state, [entry], 0, 1, (error) => {
        if (error !== null) return reject(error);
        durations.push(performance.now() - before);
        if (++answered === total) resolve();
        else setImmediate(propose);
      });
    };
    for (let client = 0; client < clients; client++) propose();
  });
  const seconds = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const main = process.threadCpuUsage(mainBefore);
  await wal.close();
  durations.sort((a, b) => a - b);
  return {
    entriesPerSecond: Math.round(total / seconds),
    syncsPerSecond: Math.round(syncs / seconds),
    p50Ms: durations[total >> 1] as number,
    p99Ms: durations[Math.floor(total * 0.99)] as number,
    cpuMicrosPerEntry: (cpu.user + cpu.system) / total,
    mainMicrosPerEntry: (main.user + main.system) / total,
  };
}

/** The real world with a disk that encrypts. */
function sealedWorld(): World {
  const world = nodeWorld();
  const keys = KeyRing.parse(Buffer.from(`bench ${world.random.bytes(32).toString('hex')}`), 'the benchmark');
  return { ...world, disk: new SealedDisk(world.disk, new Sealing(keys, world.random)) };
}

if (import.meta.main) {
  const base = process.argv[2] ?? tmpdir();
  const rounds = Number(process.argv[3] ?? 2);
  mkdirSync(base, { recursive: true });
  const root = mkdtempSync(join(base, 'wal-bench-'));
  const variants: [string, WalOptions, World][] = [
    ['zeros ahead', { segmentBytes: 16e6 }, nodeWorld()],
    ['encrypted', { segmentBytes: 16e6 }, sealedWorld()],
    ['sparse', { segmentBytes: 16e6, fillAheadBytes: 0 }, nodeWorld()],
  ];
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [clients, total] of [
        [1, 30_000],
        [100, 200_000],
        [1000, 300_000],
      ] as const) {
        for (const [name, options, world] of variants) {
          const result = await run(root, clients, total, options, world);
          console.log(
            `${name.padEnd(12)} ${String(clients).padStart(5)} clients  ${String(result.entriesPerSecond).padStart(7)}/s`,
            `${String(result.syncsPerSecond).padStart(5)} syncs/s  p50 ${result.p50Ms.toFixed(2)} ms  p99 ${result.p99Ms.toFixed(2)} ms`,
            ` cpu ${result.cpuMicrosPerEntry.toFixed(1)} µs/entry, main ${result.mainMicrosPerEntry.toFixed(1)}`,
          );
        }
      }
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
