/**
 * A data directory of etsd, stopped, as one of etcd: the store becomes a bbolt file, the log is copied as it is. Up to
 * 3.6 etcd begins with a snapshot file that lists the members; one is made at the last entry that the store contains, and
 * the log is told of it, so that etcd starts exactly there.
 */
import { META_CONF_STATE } from '@etsd/backend';
import { assert, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { HardState, RaftSnapshot, SnapshotMetadata, WalMetadata, WalSnapshot } from '@etsd/proto';
import { withoutSealing } from '@etsd/runtime';
import { type KeptKeys, keptKeys } from '@etsd/state';
import { listSegments, newestSnapshot, readLog, Wal, writeSnapshotFile } from '@etsd/wal';
import { type FrozenState, readFrozenState, v2ChangesOf } from '../snapshots/frozen-state.ts';
import { checkStoreFile, type Pause, writeStoreToBolt } from '../snapshots/store-file.ts';
import { v2StoreJson } from '../snapshots/v2-store.ts';
import { differingBuckets, sumsOfBolt, sumsOfStore } from './bucket-sums.ts';
import { type ClosableReader, compareLogs, type Migration, type MigrationOptions } from './from-etcd.ts';
import { checkTarget, copyLogPlain, type Layout, layoutOf, lockAll, makeDirectoryWhole, releaseAll } from './layout.ts';

/** Rejects with an `OperatorError` that says why a directory cannot be moved; nothing is left behind then. */
export async function migrateToEtcd(options: MigrationOptions): Promise<Migration> {
  const { world, dataDir, targetDir, openReader } = options;
  const { disk } = world;
  const source = layoutOf(dataDir, options.walDir);
  if ((await disk.stat(source.storePath)) === null) {
    const isEtcd = (await disk.stat(source.boltPath)) !== null;
    throw new OperatorError(
      isEtcd ? `${dataDir} is a data directory of etcd already` : `${source.storePath} does not exist`,
      isEtcd
        ? 'Start etcd with it as it is.'
        : 'Name the data directory of a stopped etsd, the one that holds "member".',
    );
  }
  await checkTarget(disk, targetDir);
  if ((await listSegments(disk, source.walDirectory)).length === 0) {
    throw new OperatorError(`there is no log in ${source.walDirectory}`, 'Name its directory with --wal-dir.');
  }
  const locks = await lockAll(disk, [`${dataDir}/member/lock`], dataDir);
  try {
    const pause: Pause = () => new Promise((resolve) => world.timers.endOfTurn(resolve));
    const reader = await openReader(source.storePath, pause);
    try {
      return await move(options, source, reader, pause);
    } finally {
      reader.close();
    }
  } finally {
    await releaseAll(locks);
  }
}

async function move(
  options: MigrationOptions,
  source: Layout,
  reader: ClosableReader,
  pause: Pause,
): Promise<Migration> {
  const { world, targetDir, logger } = options;
  const { disk } = world;
  const state = readFrozenState(reader);
  const base = await newestSnapshot(disk, source.walDirectory);
  const start = { index: base?.index ?? 0, term: base?.term ?? 0 };
  const log = await readLog(disk, source.walDirectory, start);
  const lastIndex = start.index + log.entries.length;
  if (state.index < start.index || state.index > lastIndex) {
    throw new OperatorError(
      `the store contains entry ${state.index}, the log those from ${start.index} to ${lastIndex}`,
      'Store and log do not belong together. Start the member once, so that it installs what it received, or see etsdutl doctor.',
    );
  }
  if (state.index === 0 || reader.get('meta', META_CONF_STATE) === null) {
    throw new OperatorError('the member has applied nothing yet', 'Start it once, so that it joins its cluster.');
  }
  const notes: string[] = [];
  if (log.end.torn !== null) {
    notes.push(
      `the log ends in half a record, as after a crash (${log.end.segment.name}, byte ${log.end.position}): it was never acknowledged and is cut off`,
    );
  }
  let revision = 0;
  let records = 0;
  let hash = 0;
  await makeDirectoryWhole(disk, targetDir, async (unfinished) => {
    const target = layoutOf(unfinished);
    logger.log('info', 'writing the store of etcd', { path: target.boltPath });
    await writeStoreToBolt(reader, disk, target.boltPath, { pause, isDurable: true });
    await copyLogPlain(disk, source.walDirectory, target.walDirectory);
    await noteSnapshot(options, target, state, keptKeys(reader, v2ChangesOf(state)), start);
    logger.log('info', 'comparing what was written with what was read', { path: target.boltPath });
    const before = await sumsOfStore(reader, pause);
    const file = await BoltFile.open(disk, target.boltPath);
    try {
      await checkStoreFile(file, pause);
      const differing = differingBuckets(before, await sumsOfBolt(file, pause));
      if (differing.length > 0) {
        throw new OperatorError(`what was written differs from the source in ${differing.join(', ')}`, 'Report this.');
      }
    } finally {
      await file.close();
    }
    await compareLogs(disk, log, await readLog(disk, target.walDirectory, start));
    const keys = before.buckets.get('key');
    revision = before.revision;
    records = keys?.records ?? 0;
    hash = keys?.hash ?? 0;
  });
  const { nodeId, clusterId } = WalMetadata.decode(log.metadata);
  const { term } = log.hardState;
  const members = state.members.length;
  return {
    memberId: nodeId,
    clusterId,
    revision,
    records,
    hash,
    appliedIndex: state.index,
    lastIndex,
    term,
    members,
    notes,
  };
}

/** Makes the snapshot file that etcd starts from, and the log's record of it. */
async function noteSnapshot(
  { world }: MigrationOptions,
  { walDirectory, snapDirectory }: Layout,
  { index, term, confState, members, removed, clusterVersion }: FrozenState,
  keys: KeptKeys,
  start: { index: number; term: number },
): Promise<void> {
  assert(confState !== null, 'a store that contains entries says who votes');
  // What etcd is to read is written as it is, also where our own files are encrypted.
  const plain = { ...world, disk: withoutSealing(world.disk) };
  const { wal, hardState } = await Wal.open(plain, walDirectory, start);
  try {
    // A snapshot counts only where the log says that its entry is committed; that is noted with the next entry.
    const commit = Math.max(hardState.commit, index);
    const promised = HardState.create({ term: hardState.term, vote: hardState.vote, commit });
    await done((callback) => wal.save(promised, [], 0, 0, callback));
    const data = v2StoreJson({ members, removed, version: clusterVersion, keys });
    const metadata = SnapshotMetadata.create({ index, term, confState });
    await writeSnapshotFile(plain.disk, snapDirectory, RaftSnapshot.create({ data, metadata }));
    if (index > start.index) {
      await done((callback) => wal.saveSnapshot(WalSnapshot.create({ index, term, confState }), callback));
    }
  } finally {
    await wal.close();
  }
}

function done(start: (callback: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error === null ? resolve() : reject(error))));
}
