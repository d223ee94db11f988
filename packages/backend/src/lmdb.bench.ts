/** What the LMDB backend costs the main thread: `node packages/backend/src/lmdb.bench.ts [records]`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@etsd/base';
import { LmdbBackend } from './lmdb.ts';
import { Slab } from './slab.ts';

const RECORDS = Number(process.argv[2] ?? 200_000);
const RECORD_BYTES = 310;
const BATCH = 2000;
const directory = mkdtempSync(join(tmpdir(), 'etsd-bench-'));
const backend = new LmdbBackend(join(directory, 'store.mdb'), (error) => {
  throw error;
});

/** CPU time of this thread, in microseconds: other work of the machine does not disturb it. */
function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function line(what: string, total: number, times: number, note = ''): void {
  console.log(`${what.padEnd(24)} ${(total / times).toFixed(2).padStart(6)} µs  ${note}`);
}

async function inBatches(what: string, put: (index: number) => void): Promise<void> {
  let putting = 0;
  let committing = 0;
  for (let i = 0; i < RECORDS; ) {
    // Too short for the clock of processor time.
    const start = performance.now();
    for (const end = Math.min(RECORDS, i + BATCH); i < end; i++) put(i);
    putting += (performance.now() - start) * 1000;
    const middle = cpu();
    await new Promise((resolve) => backend.commit(resolve));
    committing += cpu() - middle;
  }
  line(what, putting, RECORDS);
  line('  its commit', committing, RECORDS);
}

let slab = new Slab(256 * 1024);
let used = 0;
await inBatches('putRecord', (index) => {
  if (used + RECORD_BYTES > slab.bytes.length) {
    slab = new Slab(256 * 1024);
    used = 0;
  }
  backend.putRecord(index + 2, 0, slab, used, used + RECORD_BYTES);
  used += RECORD_BYTES;
});
const key = Buffer.alloc(8);
const value = Buffer.alloc(RECORD_BYTES);
await inBatches('put', (index) => {
  key.writeDoubleBE(index + 1);
  backend.put('lease', key, value);
});

const random = new Prng(1);
let bytes = 0;
let start = cpu();
for (let i = 0; i < 100_000; i++) bytes += (backend.getRecord(random.below(RECORDS) + 2, 0) as Buffer).length;
line('getRecord', cpu() - start, 100_000);
start = cpu();
backend.scan('key', null, null, (_, record) => {
  bytes += record.length;
  return true;
});
line('scan, a record', cpu() - start, RECORDS, `${bytes} bytes read`);
const before = performance.now();
await backend.defragment();
console.log(
  `defragment: ${(performance.now() - before).toFixed(0)} ms for ${(backend.sizeBytes() / 1e6).toFixed(0)} MB`,
);
await backend.close();
rmSync(directory, { recursive: true, force: true });
