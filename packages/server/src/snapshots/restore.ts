/** A data directory out of a saved snapshot: the store as it was, and a log that founds a new cluster. */
import {
  type Backend,
  type Bucket,
  META_CONF_STATE,
  META_CONSISTENT_INDEX,
  META_SCHEDULED_COMPACT_REV,
  META_TERM,
} from '@etsd/backend';
import { assert, type Logger, OperatorError, u64ToHex } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { isRevisionKey, revisionKey, revisionMain } from '@etsd/mvcc';
import { type Entry, HardState } from '@etsd/proto';
import { type Founding, foundCluster, identify, type LogStore } from '@etsd/replication/founding';
import { joinPath, type World } from '@etsd/runtime';
import { checkSavedSnapshot, type DigestOf, savedSize } from './saved-file.ts';
import { checkStoreFile, type Pause } from './store-file.ts';

/** A data directory to be made, for a member of a new cluster. */
export interface RestoreTarget extends Founding {
  readonly world: World;
  readonly logger: Logger;
  /** To be made; must not exist, or be empty. */
  readonly dataDir: string;
  /** '' for the one below the data directory. */
  readonly walDir: string;
  /**
   * So much is added to the revision and everything before it is marked compacted, so that no client sees a revision
   * twice and watchers are told; 0 for nothing.
   */
  readonly bumpRevision: number;
  readonly openBackend: (path: string) => Backend;
  /** Makes a new store that is filled in one go. */
  readonly openLoader: (path: string) => Promise<BulkStore>;
}

/** A new store that takes records in order, bucket by bucket (`StoreLoader`). */
export interface BulkStore {
  /** Whether it is time to `drain`. */
  readonly isFull: boolean;
  add(bucket: Bucket, key: Buffer, value: Buffer): void;
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface RestoreOptions extends RestoreTarget {
  /** The saved file. */
  readonly path: string;
  /** The file is a copy of a member's own, which has no checksum. */
  readonly skipHashCheck: boolean;
  /** Takes the checksum in another thread; null to take it here, before anything else. */
  readonly digestOf: DigestOf | null;
}

/** Where a member is made before it gets its name: what a crash leaves cannot be started. */
const UNFINISHED = 'member.unfinished';

/** Term of the entries that found a cluster. */
const FOUNDING_TERM = 1;
/**
 * What of the store belongs to the cluster it comes from; and the keys of etcd 2, of which no backup has more than what a
 * replay of the log has put there.
 */
const MEMBER_BUCKETS = ['members', 'members_removed', 'v2'] as const;
const MEMBER_META = [META_CONSISTENT_INDEX, META_TERM, META_CONF_STATE];

/** Rejects with an `OperatorError`, before anything is made where that can be known; what was made is removed. */
export async function restoreSnapshot(options: RestoreOptions): Promise<void> {
  const { world, logger, path, dataDir, skipHashCheck, digestOf } = options;
  const { disk } = world;
  const walDirectory = walDirectoryOf(options);
  await checkTargets(options, walDirectory);
  const pause = turnOf(world);
  if (!skipHashCheck && !(await savedSize(disk, path)).hasChecksum) {
    throw new OperatorError(
      'snapshot missing hash but --skip-hash-check=false',
      'Give --skip-hash-check if the file was copied from a data directory.',
    );
  }
  const checked = skipHashCheck ? Promise.resolve() : checkSavedSnapshot(disk, path, pause, digestOf);
  // Taken elsewhere it goes on beside the loading, and is waited for at its end.
  checked.catch(() => {});
  if (digestOf === null) await checked;
  const file = await BoltFile.open(disk, path, { reusesMemory: true }).catch(async (error: unknown) => {
    await checked;
    throw error;
  });
  try {
    const fields = {
      path,
      'wal-dir': walDirectory,
      'data-dir': dataDir,
      'snap-dir': joinPath(dataDir, 'member', 'snap'),
    };
    logger.log('info', 'restoring snapshot', fields);
    await makeDataDirectory(options, async (storePath) => {
      try {
        await loadStoreFile(file, await options.openLoader(storePath), pause);
      } catch (error) {
        // A checksum that differs says more than what comes of it.
        await checked;
        throw error;
      }
      await checked;
    });
    logger.log('info', 'restored snapshot', fields);
  } finally {
    await file.close();
  }
}

/** Checks a file and puts it into a new store, in one go. */
export async function loadStoreFile(file: BoltFile, loader: BulkStore, pause: Pause): Promise<void> {
  const drained = async (): Promise<void> => {
    if (loader.isFull) await loader.drain();
    else await pause();
  };
  try {
    await checkStoreFile(file, drained, (bucket, key, value) => loader.add(bucket, key, value));
  } finally {
    await loader.close();
  }
}

/**
 * Makes a data directory around what `load` puts into a new store and `change` makes of it; both
 * may use the directory they are given for what they need meanwhile. The data is that, members and progress are those of a new
 * cluster. Rejects where the target is in use; nothing of it is left then.
 */
export async function makeDataDirectory(
  target: RestoreTarget,
  load: (storePath: string, directory: string) => Promise<void>,
  change: (backend: Backend, directory: string) => Promise<void> = async () => {},
): Promise<void> {
  const { world, dataDir, walDir } = target;
  const { disk } = world;
  await checkTargets(target, walDirectoryOf(target));
  const existed = (await disk.stat(dataDir)) !== null;
  const unfinished = joinPath(dataDir, UNFINISHED);
  let hasLog = false;
  try {
    await disk.makeDirectory(joinPath(unfinished, 'snap'));
    const storePath = joinPath(unfinished, 'snap', 'store.mdb');
    await load(storePath, unfinished);
    const backend = target.openBackend(storePath);
    try {
      await change(backend, unfinished);
      await forgetCluster(backend);
      if (target.bumpRevision > 0) bumpRevision(backend, target.bumpRevision);
      await backend.flush();
    } finally {
      await backend.close();
    }
    hasLog = true;
    await writeLog(target, walDir === '' ? joinPath(unfinished, 'wal') : walDir);
    await disk.rename(unfinished, joinPath(dataDir, 'member'));
    await disk.syncDirectory(dataDir);
  } catch (error) {
    await disk.remove(existed ? unfinished : dataDir);
    if (hasLog && walDir !== '') await disk.remove(walDir);
    throw error;
  }
}

function walDirectoryOf({ dataDir, walDir }: RestoreTarget): string {
  return walDir === '' ? joinPath(dataDir, 'member', 'wal') : walDir;
}

/** How long a tool goes on in one turn, in milliseconds: what reads and writes for it beside should not have to wait. */
const TURN_MS = 2;

/** A pause that ends the turn now and then: for tools, which nobody else waits for. A turn costs ten microseconds. */
export function turnOf({ clock, timers }: Pick<World, 'clock' | 'timers'>): () => Promise<void> {
  let startMs = clock.nowMs();
  return async () => {
    if (clock.nowMs() - startMs < TURN_MS) return;
    await new Promise<void>((resolve) => timers.endOfTurn(resolve));
    startMs = clock.nowMs();
  };
}

/** Refuses to overwrite anything, and flags that do not fit each other. */
export async function checkTargets(
  { world, dataDir, members, name }: RestoreTarget,
  walDirectory: string,
): Promise<void> {
  const { disk } = world;
  if (!members.some((member) => member.name === name)) {
    throw new OperatorError(
      `couldn't find local name "${name}" in the initial cluster configuration`,
      'Name this member in --initial-cluster exactly as --name says.',
    );
  }
  const existing = await disk.stat(dataDir);
  if (existing !== null && (!existing.isDirectory || (await disk.list(dataDir)).length > 0)) {
    throw new OperatorError(`data-dir "${dataDir}" not empty or could not be read`, 'Give --data-dir another one.');
  }
  if ((await disk.stat(walDirectory)) !== null) {
    throw new OperatorError(`wal-dir "${walDirectory}" exists`, 'Give --wal-dir another one.');
  }
}

/** Members and progress are those of the cluster that was saved; the new one begins its log anew. */
async function forgetCluster(backend: Backend): Promise<void> {
  for (const bucket of MEMBER_BUCKETS) {
    const keys: Buffer[] = [];
    backend.scan(bucket, null, null, (key) => {
      keys.push(Buffer.from(key));
      return true;
    });
    for (const key of keys) backend.delete(bucket, key);
  }
  for (const key of MEMBER_META) backend.delete('meta', key);
  await new Promise<void>((resolve, reject) => {
    backend.commit((error) => (error === null ? resolve() : reject(error)));
  });
}

/** That of the last record, found by halves: reading all that is stored would take as long as restoring it. */
function latestRevision(backend: Backend): number {
  let latest = 1;
  const isReached = (revision: number): boolean => {
    let found = 0;
    backend.scan('key', revisionKey(revision, 0), null, (key) => {
      if (isRevisionKey(key)) found = revisionMain(key);
      return found === 0;
    });
    latest = Math.max(latest, found);
    return found > 0;
  };
  let reached = 1;
  let above = 2;
  for (; isReached(above); above *= 2) reached = above;
  while (above - reached > 1) {
    const middle = reached + Math.floor((above - reached) / 2);
    if (isReached(middle)) reached = middle;
    else above = middle;
  }
  return latest;
}

/** An empty record at a later revision, and everything up to it marked as compacted: watchers cannot go on as if nothing was. */
function bumpRevision(backend: Backend, amount: number): void {
  const bumped = revisionKey(latestRevision(backend) + amount, 0);
  backend.put('key', bumped, Buffer.alloc(0));
  backend.put('meta', META_SCHEDULED_COMPACT_REV, bumped);
}

/** The log of a founded cluster whose founding entries are committed already, so that flags about it count no more. */
async function writeLog(options: RestoreTarget, directory: string): Promise<void> {
  const { world, logger, members, name, token } = options;
  const { log, start } = await foundCluster({ world, logger, directory, members, name, token });
  try {
    const entries = [...(start.bootstrap ?? [])];
    assert(entries.length > 0, 'a cluster has members');
    for (const [index, entry] of entries.entries()) {
      entry.term = FOUNDING_TERM;
      entry.index = index + 1;
    }
    for (const { id, peerUrls } of identify(members, token)) {
      const fields = { 'added-peer-id': u64ToHex(id), 'added-peer-peer-urls': peerUrls };
      logger.log('info', 'added member', { 'cluster-id': u64ToHex(start.clusterId), ...fields });
    }
    const vote = identify(members, token)[0]?.id ?? start.memberId;
    await save(log, HardState.create({ term: FOUNDING_TERM, vote, commit: entries.length }), entries);
  } finally {
    await log.close();
  }
}

function save(log: LogStore, hardState: HardState, entries: readonly Entry[]): Promise<void> {
  return new Promise((resolve, reject) => {
    log.save(hardState, entries, 0, entries.length, (error) => (error === null ? resolve() : reject(error)));
    log.flush();
  });
}
