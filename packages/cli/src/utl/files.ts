/** What works on files instead of on a cluster; etsdctl has some of it too, under its old names. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { META_STORAGE_VERSION } from '@etsd/backend';
import { LmdbBackend, StoreLoader } from '@etsd/backend/lmdb';
import { CorruptionError, type LogFields, type Logger, type LogLevel, OPEN_END, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { type KvHashResult, Store } from '@etsd/mvcc';
import { EtcdError } from '@etsd/proto';
import { nodeWorld } from '@etsd/runtime/node';
import {
  loadStoreFile,
  parseEndpoint,
  parseInitialCluster,
  type RestoreTarget,
  restoreSnapshot,
  type SnapshotSummary,
  summariseSnapshot,
} from '@etsd/server/files';
import type { Context } from '../ctl/context.ts';
import { reasonOf } from '../ctl/context.ts';
import { badArguments, ExitCode, Failure } from '../ctl/failure.ts';
import type { FlagValues } from '../ctl/flags.ts';
import { formatSize } from '../ctl/go.ts';
import { jsonObject, jsonText } from '../ctl/go-json.ts';
import type { Compat, View } from '../ctl/view.ts';
import { field, textField } from '../ctl/views/fields.ts';
import { digestBucket } from './bucket-digest.ts';
import { hashFile } from './hash-file.ts';
import { withPlainFile } from './plain-file.ts';
import { threadModule, world } from './world.ts';

export { world } from './world.ts';

const HASH_SLICE_BYTES = 1024 * 1024;

/** Everybody else: there is nobody. */
const pause = (): Promise<void> => Promise.resolve();

/** An error of a file as the end of a command. */
export function fileFailure(error: unknown, path: string, doing: 'stat' | 'open' = 'stat'): unknown {
  if (error instanceof CorruptionError) {
    const text = `snapshot file integrity check failed. 1 errors found.\n${error.message}`;
    return new Failure(ExitCode.ERROR, text, error.advice);
  }
  if (error instanceof OperatorError) return new Failure(ExitCode.ERROR, error.message, error.advice);
  if (error instanceof Error && 'syscall' in error)
    return new Failure(ExitCode.ERROR, `${doing} ${path}: ${reasonOf(error)}`);
  return error;
}

/** For reading it once, in order. */
async function withFile<T>(path: string, use: (file: BoltFile) => Promise<T>): Promise<T> {
  try {
    return await withPlainFile(path, async (plain) => {
      const file = await BoltFile.open(world.disk, plain, { reusesMemory: true });
      try {
        return await use(file);
      } finally {
        await file.close();
      }
    });
  } catch (error) {
    throw fileFailure(error, path);
  }
}

/** The one file that a command is about. */
export function fileArgument(context: Context, command: string): string {
  const [path] = context.args;
  if (path !== undefined && context.args.length === 1) return path;
  throw badArguments(`${command} requires exactly one argument`, `write: ${command} FILE`);
}

// ── status ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Since 3.6 the keys are those that a reader would find, and the version of the storage is told. */
export async function snapshotStatus(path: string, compat: Compat): Promise<View> {
  // Threads read the file itself; what is encrypted they could not.
  const summary = await withFile(path, (file) =>
    world.disk.sealing.isOn
      ? summariseSnapshot(file, pause)
      : summariseSnapshot(file, pause, (bucket) => digestBucket(file, bucket)),
  );
  if (compat === '3.5') return statusView(summary, null);
  return await withStore(path, (store, backend) => {
    const version = backend.get('meta', META_STORAGE_VERSION)?.toString() ?? '';
    return statusView({ ...summary, totalKeys: store.count('', OPEN_END, 0) }, version);
  });
}

function statusView({ hash, revision, totalKeys, totalSize }: SnapshotSummary, version: string | null): View {
  const more = version === null ? [] : [version];
  const row = [hash.toString(16), String(revision), String(totalKeys), formatSize(totalSize), ...more];
  return {
    simple: () => `${row.join(', ')}\n`,
    table: () => ({
      headings: ['HASH', 'REVISION', 'TOTAL KEYS', 'TOTAL SIZE', ...more.map(() => 'VERSION')],
      rows: [row],
    }),
    json: () =>
      jsonObject({
        hash: String(hash),
        revision: String(revision),
        totalKey: String(totalKeys),
        totalSize: String(totalSize),
        version: version === null ? null : jsonText(version),
      }),
    fields: () =>
      field('Hash', hash) +
      field('Revision', revision) +
      field('Keys', totalKeys) +
      field('Size', totalSize) +
      (version === null ? '' : textField('Version', version)),
  };
}

// ── hashkv ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** HashKV of the keys in a file, as a member that has them would compute it. */
export async function hashSnapshot(path: string, revision: number): Promise<View> {
  if (!world.disk.sealing.isOn) {
    const hash = await withFile(path, (file) => hashFile(file, revision));
    if (hash instanceof EtcdError) throw new Failure(ExitCode.ERROR, hash.message);
    if (hash !== null) return hashView(hash);
  }
  return await withStore(path, async (store) => {
    const job = store.hashKv(revision);
    if (job instanceof Error) throw new Failure(ExitCode.ERROR, job.message);
    while (!job.slice(HASH_SLICE_BYTES)) await pause();
    return hashView(job);
  });
}

/** The keys of a file as a member has them. */
async function withStore<T>(path: string, use: (store: Store, backend: LmdbBackend) => T | Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'etsdutl-'));
  const storePath = join(directory, 'store.mdb');
  try {
    await withFile(path, async (file) => loadStoreFile(file, await openLoader(storePath), pause));
    const backend = openStore(storePath);
    try {
      const store = new Store(backend);
      store.open();
      return await use(store, backend);
    } finally {
      await backend.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function hashView({ hash, hashRevision, compactRevision }: KvHashResult): View {
  const row = [hash, hashRevision, compactRevision].map(String);
  return {
    simple: () => `${row.join(', ')}\n`,
    table: () => ({ headings: ['HASH', 'HASH REVISION', 'COMPACT REVISION'], rows: [row] }),
    json: () =>
      jsonObject({
        hash: String(hash),
        hashRevision: String(hashRevision),
        compactRevision: String(compactRevision),
      }),
    fields: () =>
      field('Hash', hash) + field('Hash revision', hashRevision) + field('Compact revision', compactRevision),
  };
}

// ── restore ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Added to the revision of what is restored unless told otherwise: a thousand years of a change a minute fit in. */
export const DEFAULT_BUMP = 1_000_000_000;

/** How far the revision is lifted, by the flags of a restore. `byDefault` where they say nothing. */
export function bumpOf(flags: FlagValues, byDefault: number): number {
  const keeps = flags.knows('keep-revision') && flags.flag('keep-revision');
  const isSaid = flags.isGiven('bump-revision') || flags.isGiven('mark-compacted');
  if (keeps && isSaid) {
    throw badArguments(
      '--keep-revision cannot be given together with --bump-revision or --mark-compacted',
      'give --keep-revision alone to go on at the saved revision',
    );
  }
  if (keeps) return 0;
  if (!isSaid) return byDefault;
  const bump = flags.number('bump-revision');
  if (bump > 0 !== flags.flag('mark-compacted')) {
    throw badArguments(
      '--mark-compacted required if --revision-bump > 0',
      'give both --bump-revision and --mark-compacted',
    );
  }
  return bump;
}

/** The member to be made, by the flags of a restore. */
export function targetOf(context: Context, bumpRevision: number): RestoreTarget {
  const { flags } = context;
  const name = flags.text('name');
  const cluster = parseInitialCluster(flags.text('initial-cluster'));
  const members = [...cluster].map(([member, peerUrls]) => ({ name: member, peerUrls }));
  const own = cluster.get(name);
  const advertised = flags.list('initial-advertise-peer-urls');
  for (const url of advertised) parseEndpoint(url);
  if (own !== undefined && [...own].sort().join() !== [...advertised].sort().join()) {
    const text =
      `--initial-cluster has ${name}=${own.join(',')} but missing from ` +
      `--initial-advertise-peer-urls=${advertised.join(',')} ` +
      `(resolved urls: "${[...advertised].sort()[0] ?? ''}" != "${[...own].sort()[0] ?? ''}")`;
    throw new OperatorError(text, 'Give both the same URLs for this member.');
  }
  return {
    world,
    logger: new StderrLogger(context),
    members,
    name,
    token: flags.text('initial-cluster-token'),
    dataDir: flags.text('data-dir') === '' ? `${name}.etcd` : flags.text('data-dir'),
    walDir: flags.text('wal-dir'),
    bumpRevision,
    openBackend: openStore,
    openLoader,
  };
}

/** Says how far the revision was lifted, since those who compare revisions must know. */
export function sayBump({ logger, bumpRevision }: RestoreTarget): void {
  if (bumpRevision === 0) return;
  logger.log('info', 'revision lifted, and everything before it marked compacted; --keep-revision goes on without', {
    'bump-revision': bumpRevision,
  });
}

export async function restore(context: Context, path: string, defaultBump = 0): Promise<void> {
  const bump = bumpOf(context.flags, defaultBump);
  try {
    const target = targetOf(context, bump);
    const skipHashCheck = context.flags.flag('skip-hash-check');
    // What is unpacked needs as much room as what is made of it: it has it where that will be.
    const place = existingPlace(dirname(resolve(target.dataDir)));
    await withPlainFile(
      path,
      (plain) =>
        restoreSnapshot({ ...target, path: plain, skipHashCheck, digestOf: world.disk.sealing.isOn ? null : digestOf }),
      place,
    );
    sayBump(target);
  } catch (error) {
    throw fileFailure(error, path, 'open');
  } finally {
    await world.workers.close();
  }
}

/** A directory that is there, on the way to one that may not be. */
function existingPlace(path: string): string {
  return existsSync(path) ? path : existingPlace(dirname(path));
}

/** A new store that is filled in one go. */
export function openLoader(path: string): Promise<StoreLoader> {
  return StoreLoader.create(path);
}

/** The checksum of a file, in another thread. */
async function digestOf(path: string, bytes: number): Promise<Uint8Array> {
  const { workers } = nodeWorld();
  try {
    return (await workers.run(threadModule('file-digest'), 'fileDigest', [path, bytes])) as Uint8Array;
  } finally {
    await workers.close();
  }
}

export function openStore(path: string): LmdbBackend {
  return new LmdbBackend(path, (error) => {
    throw error;
  });
}

/** Logs as etcdutl prints them: time, level, message, fields. */
export class StderrLogger implements Logger {
  enabled(): boolean {
    return true;
  }

  private readonly context: Context;

  constructor(context: Context) {
    this.context = context;
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    this.context.warn(`${time}\t${level}\t${message}\t${JSON.stringify(fields)}`);
  }
}
