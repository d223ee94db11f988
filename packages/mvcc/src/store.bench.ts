/**
 * The store over LMDB with many keys: `node packages/mvcc/src/store.bench.ts [keys] [value bytes]`. Prints what one
 * operation costs the main thread, the longest slice of each long job, and memory.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbBackend } from '@etsd/backend/lmdb';
import { type Key, keyFromBytes, OPEN_END, Prng, U64_ZERO } from '@etsd/base';
import { KvHash } from './hash.ts';
import { COMPACT_SLICE_RECORDS, HASH_SLICE_BYTES, RESTORE_SLICE_RECORDS } from './limits.ts';
import { WHOLE_RANGE } from './range.ts';
import { Store } from './store.ts';

/** Only what is needed to look at puts with a profiler. */
const PUTS_ONLY = process.argv[4] === 'puts';
const KEYS = Number(process.argv[2] ?? 1_000_000);
const VALUE_BYTES = Number(process.argv[3] ?? 256);
const COMMIT_EVERY = 2000;
const directory = mkdtempSync(join(tmpdir(), 'etsd-bench-'));
const path = join(directory, 'store.mdb');
const random = new Prng(7);
const fail = (error: Error): void => {
  throw error;
};

const keyBytes = Buffer.from('/registry/pods/namespace-000/00000000');
function keyAt(n: number): Key {
  const scrambled = (n * 7919) % KEYS;
  keyBytes.write(String(scrambled % 1000).padStart(3, '0'), 25, 'latin1');
  keyBytes.write(String(scrambled).padStart(8, '0'), 29, 'latin1');
  return keyFromBytes(keyBytes);
}

/** CPU time of this thread, in milliseconds: other work of the machine does not disturb it. */
function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function rss(): string {
  return `${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`;
}

function line(what: string, perOperation: number, note = ''): void {
  console.log(`${what.padEnd(34)} ${perOperation.toFixed(3).padStart(9)} µs  ${note}`);
}

function measure(what: string, times: number, operation: (i: number) => void): void {
  for (let i = 0; i < Math.min(times, 2000); i++) operation(i);
  const start = cpu();
  for (let i = 0; i < times; i++) operation(i);
  line(what, ((cpu() - start) * 1000) / times);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Runs slices with a turn between them and reports all and the longest of them. */
async function sliced(what: string, items: number, slice: () => boolean): Promise<void> {
  const start = performance.now();
  const startCpu = cpu();
  let longest = 0;
  const lengths: number[] = [];
  for (let done = false; !done; ) {
    // The clock of processor time moves in steps of milliseconds: good for sums, not for a slice.
    const begin = performance.now();
    done = slice();
    const took = performance.now() - begin;
    lengths.push(took);
    longest = Math.max(longest, took);
    await turn();
  }
  lengths.sort((a, b) => a - b);
  const typical = lengths[Math.floor(lengths.length * 0.99)] as number;
  const total = performance.now() - start;
  line(
    what,
    ((cpu() - startCpu) * 1000) / items,
    `slices: p99 ${typical.toFixed(1)} ms, longest ${longest.toFixed(1)} ms; ${total.toFixed(0)} ms in all`,
  );
}

console.log(`${KEYS} keys, values of ${VALUE_BYTES} bytes; at the start ${rss()}`);
let backend = new LmdbBackend(path, fail);
let store = new Store(backend);
store.open();
const value = Buffer.alloc(VALUE_BYTES, 'v');

async function fill(what: string, from: number, to: number): Promise<void> {
  let busy = 0;
  let longest = 0;
  const start = performance.now();
  for (let i = from; i < to; ) {
    const begin = cpu();
    for (const end = Math.min(to, i + COMMIT_EVERY); i < end; i++) {
      store.begin();
      store.put(keyAt(i), value, 0, VALUE_BYTES, U64_ZERO);
      store.end();
    }
    const committing = performance.now();
    backend.commit();
    longest = Math.max(longest, performance.now() - committing);
    busy += cpu() - begin;
    await turn();
    while (backend.pendingBytes > 8e6) await turn();
  }
  const note = `longest commit ${longest.toFixed(1)} ms; ${((performance.now() - start) / 1000).toFixed(1)} s in all`;
  line(what, (busy * 1000) / (to - from), note);
}

await fill('put, new key', 0, KEYS);
await backend.flush();
if (PUTS_ONLY) process.exit();
console.log(`memory ${rss()}, file ${(backend.sizeBytes() / 1e6).toFixed(0)} MB`);

const result = { records: [] as Buffer[], count: 0, more: false };
const sample = Array.from({ length: 100_000 }, (_, i) => keyAt(i * 9));
measure('lookup, any key', 200_000, () => store.lookup(sample[random.below(100_000)] as Key, 0));
measure('lookup, 10000 hot keys', 200_000, () => store.lookup(sample[random.below(10_000)] as Key, 0));
measure('range, one of 10000 hot keys', 200_000, () =>
  store.range(sample[random.below(10_000)] as Key, '', WHOLE_RANGE, result),
);
measure('range, one of 100000 keys', 200_000, () =>
  store.range(sample[random.below(100_000)] as Key, '', WHOLE_RANGE, result),
);
measure('range, page of 100', 2000, () =>
  store.range(sample[random.below(100_000)] as Key, OPEN_END, { ...WHOLE_RANGE, limit: 100 }, result),
);
measure('count of about half', 20_000, () => store.count(sample[random.below(100_000)] as Key, OPEN_END, 0));
measure('last 10 of about half', 2000, () =>
  store.range(sample[random.below(100_000)] as Key, OPEN_END, { ...WHOLE_RANGE, limit: 10, sortOrder: 2 }, result),
);

{
  const cursor = store.openCursor('\0', OPEN_END, WHOLE_RANGE);
  if (cursor instanceof Error) throw cursor;
  await sliced('cursor over everything, a record', KEYS, () => cursor.next(1024 * 1024, 1000));
}
{
  const job = store.hashKv(0);
  if (!(job instanceof KvHash)) throw new Error('no compaction was made');
  await sliced('HashKV, a record', KEYS, () => job.slice(HASH_SLICE_BYTES));
}
await backend.close();
console.log(`memory after these reads ${rss()}`);

backend = new LmdbBackend(path, fail);
store = new Store(backend);
store.beginRestore();
await sliced('restore, a record', KEYS, () => store.restoreSlice(RESTORE_SLICE_RECORDS));

const updates = Math.min(KEYS, 200_000);
await fill('put, existing key', 0, updates);
store.compact(store.revision);
await sliced('compaction, a key', KEYS, () => {
  const done = store.compactSlice(COMPACT_SLICE_RECORDS);
  if (backend.pendingOperations > 1000) backend.commit();
  return done;
});
await backend.flush();
console.log(
  `memory at the end ${rss()}, file ${(backend.sizeBytes() / 1e6).toFixed(0)} MB, in use ${(backend.inUseBytes() / 1e6).toFixed(0)} MB`,
);
const before = performance.now();
await backend.defragment();
console.log(
  `defragmented in ${(performance.now() - before).toFixed(0)} ms: file ${(backend.sizeBytes() / 1e6).toFixed(0)} MB`,
);
await backend.close();
rmSync(directory, { recursive: true, force: true });
