// A large store becomes a file, and a file becomes the store of another member: time, how long a turn of the event loop
// takes, memory. `node packages/server/src/snapshots/snapshots.bench.ts 1000000`
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLmdb } from '@etsd/backend/lmdb';
import { silentLogger, U64_ZERO } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { ConfState, Message, MessageType, RaftSnapshot } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { Lessor, State } from '@etsd/state';
import { MetricRegistry } from '../metrics.ts';
import { MemberSnapshots } from './member-snapshots.ts';
import { SnapshotMetrics } from './snapshot-metrics.ts';

const KEYS = Number(process.argv[2] ?? 100_000);
const world = nodeWorld();

function open(name: string) {
  const directory = mkdtempSync(join(tmpdir(), `snapshots-bench-${name}-`));
  const backend = openLmdb(join(directory, 'store.mdb'), (error) => {
    throw error;
  });
  const store = new Store(backend);
  store.open();
  const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
  const state = new State({ backend, store, lessor });
  const metrics = new SnapshotMetrics(new MetricRegistry());
  const parts = { world, logger: silentLogger, directory, backend, store, lessor, state, metrics };
  const snapshots = new MemberSnapshots(parts);
  return { directory, backend, store, state, snapshots };
}

/** Runs `work` and reports what it took. */
async function measured<T>(what: string, work: () => Promise<T>): Promise<T> {
  let longest = 0;
  let isDone = false;
  let cpu = process.threadCpuUsage();
  const turn = (): void => {
    const now = process.threadCpuUsage();
    longest = Math.max(longest, now.user + now.system - cpu.user - cpu.system);
    cpu = now;
    if (!isDone) setImmediate(turn);
  };
  turn();
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const result = await work();
  isDone = true;
  const used = process.cpuUsage(startCpu);
  const rss = Math.round(process.memoryUsage.rss() / 1024 / 1024);
  const cpuSeconds = ((used.user + used.system) / 1e6).toFixed(2);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(2);
  console.log(
    `${what}: ${seconds} s, ${cpuSeconds} s of processor, longest turn ${longest / 1000} ms, ${rss} MB resident`,
  );
  return result;
}

const from = open('from');
const to = open('to');
const value = Buffer.alloc(256, 7);
for (let i = 0; i < KEYS; i++) {
  from.state.applyEmpty(i + 1, 2);
  from.store.begin();
  from.store.put(`/bench/${String((i * 7919) % KEYS).padStart(8, '0')}`, value, 0, value.length, U64_ZERO);
  from.store.end();
  if (i % 2000 === 1999) await new Promise<void>((resolve) => from.backend.commit(() => resolve()));
}
await from.backend.flush();
const message = Message.create({ type: MessageType.MsgSnap, snapshot: RaftSnapshot.create({}) });
const outgoing = await measured(`making a file of ${KEYS} keys`, () => from.snapshots.source.open(message));
console.log(`the file has ${(outgoing.size / 1e6).toFixed(0)} MB`);
await measured('receiving it', () =>
  to.snapshots.sink.receive(
    outgoing.message,
    (async function* () {
      for (let piece = await outgoing.read(); piece !== null; piece = await outgoing.read()) yield piece;
    })(),
  ),
);
outgoing.close();
const snapshot = outgoing.message.snapshot as RaftSnapshot;
if (snapshot.metadata !== null) snapshot.metadata.confState ??= new ConfState();
await measured('installing it', () => {
  return new Promise<void>((resolve, reject) => {
    to.snapshots.installer.install(snapshot, (error) => (error === null ? resolve() : reject(error)));
  });
});
if (to.store.revision !== from.store.revision) throw new Error('the revisions differ');
for (const { backend, directory } of [from, to]) {
  await backend.close();
  rmSync(directory, { recursive: true });
}
await world.workers.close();
