/**
 * How long a backup takes, with which memory, beside etcd: a store of so many megabytes is made, restored by both restore
 * tools, and saved by both clients from members of both products.
 *
 *     node tests/scale/backup.ts [--megabytes 1000] [--only status,restore,save]
 */
import { equal } from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BUCKETS } from '@etsd/backend';
import { BoltWriter } from '@etsd/boltfile';
import { revisionKey } from '@etsd/mvcc';
import { KeyValue } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import { findPeerProgram, freePort } from '@etsd/testkit';
import { NODE, ROOT } from '../support/binaries.ts';
import { type Product, TestServer } from '../support/server.ts';

const VALUE_BYTES = 1000;
const MEGABYTE = 1e6;
const SAMPLE_MS = 20;
/** Longer than anything measured here may take. */
const TIMEOUT_MS = 600_000;

export interface StepResult {
  readonly step: string;
  readonly seconds: number;
  /** Of its own, at most, in MiB; pages of mapped files are the system's. */
  readonly ownMemory: number;
}

/** A saved snapshot with records of a thousand bytes. */
export async function writeSnapshot(path: string, megabytes: number): Promise<number> {
  const { disk } = nodeWorld();
  const writer = await BoltWriter.create(disk, path);
  const records = Math.floor((megabytes * MEGABYTE) / (VALUE_BYTES + 100));
  for (const bucket of BUCKETS) {
    writer.beginBucket(bucket);
    for (let at = 0; bucket === 'key' && at < records; at++) {
      const revision = at + 2;
      const key = Buffer.from(`/registry/pods/namespace-${at % 100}/pod-${at.toString().padStart(9, '0')}`);
      // Half of it packs well, as values of controllers do.
      const value = Buffer.alloc(VALUE_BYTES, `{"kind":"Pod","metadata":{"name":"pod-${at}"}}`);
      for (let byte = VALUE_BYTES / 2; byte < VALUE_BYTES; byte += 4) {
        value.writeUInt32LE(Math.imul(at * VALUE_BYTES + byte, 0x9e3779b1) >>> 0, byte);
      }
      const record = KeyValue.create({ key, value, createRevision: revision, modRevision: revision, version: 1 });
      writer.add(revisionKey(revision, 0), KeyValue.encode(record));
      if (writer.isBacklogged) await writer.drain();
    }
    writer.endBucket();
  }
  await writer.finish(true);
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  appendFileSync(path, hash.digest());
  return records;
}

/** Runs a program to its end and looks at its memory meanwhile. */
export async function measured(step: string, words: readonly string[]): Promise<StepResult> {
  const [program, ...args] = words as [string, ...string[]];
  const startMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: TIMEOUT_MS });
  let errors = '';
  child.stderr.on('data', (text: Buffer) => {
    errors += text.toString();
  });
  let own = 0;
  const sampling = setInterval(() => {
    own = Math.max(own, ownMemory(child.pid ?? 0));
  }, SAMPLE_MS);
  const [status] = await once(child, 'exit');
  clearInterval(sampling);
  equal(status, 0, `${step}\n${errors.slice(-2000)}`);
  return { step, seconds: (performance.now() - startMs) / 1000, ownMemory: Math.round(own) };
}

/** 0 where the process is gone. */
function ownMemory(pid: number): number {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return 0;
  try {
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(path, 'latin1'))?.[1] ?? 0) / 1024;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0;
    throw error;
  }
}

const ours = (name: string, ...args: string[]): string[] => [NODE, join(ROOT, `packages/cli/bin/${name}.ts`), ...args];
const theirs = (name: string, ...args: string[]): string[] => [findPeerProgram(name) as string, ...args];

interface Restored {
  readonly product: Product;
  readonly dataDir: string;
  readonly peerPort: number;
}

async function placeFor(
  directory: string,
  product: Product,
): Promise<Restored & { readonly flags: readonly string[] }> {
  const dataDir = join(directory, product);
  const peerPort = await freePort();
  const url = `http://127.0.0.1:${peerPort}`;
  const flags = ['--name', 'infra1', '--initial-cluster', `infra1=${url}`, '--initial-advertise-peer-urls', url];
  flags.push('--data-dir', join(dataDir, 'member.etcd'));
  return { product, dataDir, peerPort, flags };
}

export interface BackupOptions {
  readonly megabytes: number;
  readonly only: readonly string[];
  readonly report: (result: StepResult) => void;
}

/** All steps, one after the other; real etcd's where it is found. */
export async function backups({ megabytes, only, report }: BackupOptions): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'backup-scale-'));
  const hasPeer = ['etcd', 'etcdctl', 'etcdutl'].every((name) => findPeerProgram(name) !== null);
  const products: readonly Product[] = hasPeer ? ['etcd', 'etsd'] : ['etsd'];
  try {
    const file = join(directory, 'saved.db');
    await writeSnapshot(file, megabytes);
    const run = async (step: string, words: readonly string[]): Promise<void> => report(await measured(step, words));
    if (only.includes('status')) {
      if (hasPeer) await run('etcdutl snapshot status', theirs('etcdutl', 'snapshot', 'status', file));
      await run('etsdutl snapshot status', ours('etsdutl', 'snapshot', 'status', file));
      await run('etsdutl hashkv', ours('etsdutl', 'hashkv', file));
    }
    for (const product of products) {
      const place = await placeFor(directory, product);
      const words = ['snapshot', 'restore', file, ...place.flags];
      if (product === 'etcd') await run('etcdutl snapshot restore', theirs('etcdutl', ...words));
      else await run('etsdutl snapshot restore', ours('etsdutl', ...words));
      if (only.includes('save')) await saves(place, directory, run, hasPeer);
      rmSync(place.dataDir, { recursive: true });
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

type Run = (step: string, words: readonly string[]) => Promise<void>;

/** A member that was just restored is asked for a snapshot by both clients, and by ours packed. */
export async function saves(place: Restored, directory: string, run: Run, hasPeer: boolean): Promise<void> {
  const { product, dataDir, peerPort } = place;
  const flags = ['--quota-backend-bytes', String(8 * 1024 ** 3)];
  const options = { product, dataDir, flags, readyMs: TIMEOUT_MS };
  const server = new TestServer(options, await freePort(), peerPort);
  try {
    await server.start();
    const words = (file: string): string[] => ['--endpoints', server.address, 'snapshot', 'save', file];
    const plain = join(directory, 'again.db');
    // What is written to the disk by the one would be the other's trouble.
    const settled = (): void => void execFileSync('sync');
    settled();
    if (hasPeer) await run(`etcdctl snapshot save from ${product}`, theirs('etcdctl', ...words(plain)));
    settled();
    await run(`etsdctl snapshot save from ${product}`, ours('etsdctl', ...words(plain)));
    settled();
    const packed = join(directory, 'again.db.zst');
    await run(
      `etsdctl snapshot save --compress=zstd from ${product}`,
      ours('etsdctl', ...words(packed), '--compress=zstd'),
    );
    equal(statSync(packed).size < statSync(plain).size, true);
    for (const path of [plain, packed]) rmSync(path);
  } finally {
    await server.dispose();
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '1000' },
      only: { type: 'string', default: 'status,restore,save' },
    },
  });
  const report = ({ step, seconds, ownMemory: memory }: StepResult): void =>
    console.log(`${step.padEnd(48)} ${seconds.toFixed(2).padStart(7)} s ${String(memory).padStart(6)} MiB`);
  await backups({ megabytes: Number(values.megabytes), only: values.only.split(','), report });
}
