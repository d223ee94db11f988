/** A data directory out of a saved snapshot: the store as it was, and a log that founds a new cluster. */
import {
  type Backend,
  META_CONF_STATE,
  META_CONSISTENT_INDEX,
  META_SCHEDULED_COMPACT_REV,
  META_TERM,
} from '@etsd/backend';
import { assert, type Logger, OperatorError, u64ToHex } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { isRevisionKey, revisionKey, revisionMain } from '@etsd/mvcc';
import { type Entry, HardState } from '@etsd/proto';
import { type Founding, foundCluster, identify, type LogStore } from '@etsd/replication';
import { joinPath, type World } from '@etsd/runtime';
import { checkSavedSnapshot } from './saved-file.ts';
import { checkStoreFile, readBoltIntoBackend } from './store-file.ts';

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
}

export interface RestoreOptions extends RestoreTarget {
  /** The saved file. */
  readonly path: string;
  /** The file is a copy of a member's own, which has no checksum. */
  readonly skipHashCheck: boolean;
}

/** Where a member is made before it gets its name: what a crash leaves cannot be started. */
const UNFINISHED = 'member.unfinished';

/** Term of the entries that found a cluster. */
const FOUNDING_TERM = 1;
/** What of the store belongs to the cluster it comes from. */
const MEMBER_BUCKETS = ['members', 'members_removed'] as const;
const MEMBER_META = [META_CONSISTENT_INDEX, META_TERM, META_CONF_STATE];

/** Rejects with an `OperatorError`, before anything is made where that can be known. */
export async function restoreSnapshot(options: RestoreOptions): Promise<void> {
  const { world, logger, path, dataDir } = options;
  const { disk } = world;
  const walDirectory = walDirectoryOf(options);
  await checkTargets(options, walDirectory);
  const pause = turnOf(world);
  if (!options.skipHashCheck && !(await checkSavedSnapshot(disk, path, pause)).hasChecksum) {
    throw new OperatorError(
      'snapshot missing hash but --skip-hash-check=false',
      'Give --skip-hash-check if the file was copied from a data directory.',
    );
  }
  const file = await BoltFile.open(disk, path);
  try {
    await checkStoreFile(file, pause);
    const fields = {
      path,
      'wal-dir': walDirectory,
      'data-dir': dataDir,
      'snap-dir': joinPath(dataDir, 'member', 'snap'),
    };
    logger.log('info', 'restoring snapshot', fields);
    await makeDataDirectory(options, (backend) => readBoltIntoBackend(file, backend, pause));
    logger.log('info', 'restored snapshot', fields);
  } finally {
    await file.close();
  }
}

/**
 * Makes a data directory around what `fill` puts into the store; it may use the directory it is
 * given for what it needs meanwhile. The data is that, members and progress are those of a new
 * cluster. Rejects where the target is in use; nothing of it is left then.
 */
export async function makeDataDirectory(
  target: RestoreTarget,
  fill: (backend: Backend, directory: string) => Promise<void>,
): Promise<void> {
  const { world, dataDir, walDir } = target;
  const { disk } = world;
  await checkTargets(target, walDirectoryOf(target));
  const existed = (await disk.stat(dataDir)) !== null;
  const unfinished = joinPath(dataDir, UNFINISHED);
  let hasLog = false;
  try {
    await disk.makeDirectory(joinPath(unfinished, 'snap'));
    const backend = target.openBackend(joinPath(unfinished, 'snap', 'store.mdb'));
    try {
      await fill(backend, unfinished);
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

/** A pause that ends the turn: for tools, which nobody else waits for. */
export function turnOf({ timers }: Pick<World, 'timers'>): () => Promise<void> {
  return () => new Promise<void>((resolve) => timers.endOfTurn(resolve));
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

/** An empty record at a later revision, and everything up to it marked as compacted: watchers cannot go on as if nothing was. */
function bumpRevision(backend: Backend, amount: number): void {
  let latest = 1;
  backend.scan('key', null, null, (key) => {
    if (isRevisionKey(key)) latest = revisionMain(key);
    return true;
  });
  const bumped = revisionKey(latest + amount, 0);
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
