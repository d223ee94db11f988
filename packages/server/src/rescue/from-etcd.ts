/**
 * A data directory of etcd 3.4 to 3.7, stopped, as one of etsd: the log is copied as it is, since both write the same,
 * and what stands in the bbolt file goes into our store record by record. Everything stays what it was: keys with all
 * their revisions, leases, users, roles, members, ids, term and log.
 */
import { type Backend, type BackendReader, META_CONF_STATE, META_TERM } from '@etsd/backend';
import { type Logger, OperatorError, type U64, u64ToHex } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { ConfState, type Entry, EntryType, InternalRaftRequest, ProtoError, WalMetadata } from '@etsd/proto';
import { changedMembership, confChangeOf, confStateOf, membershipOf } from '@etsd/raft';
import { type Disk, joinPath, type World } from '@etsd/runtime';
import { confStateToJson, parseVersion } from '@etsd/state';
import { decodeSnapshotFile, listSegments, type ReplayedLog, readLog, snapshotName, validSnapshots } from '@etsd/wal';
import { receivedPath } from '../snapshots/file-names.ts';
import { type FrozenState, numberBytes, readFrozenState } from '../snapshots/frozen-state.ts';
import { recoverInstalledSnapshot } from '../snapshots/recover.ts';
import { checkStoreFile, type Pause, readBoltIntoBackend } from '../snapshots/store-file.ts';
import { CLUSTER_VERSION } from '../version.ts';
import { type BucketSums, differingBuckets, sumsOfBolt, sumsOfStore } from './bucket-sums.ts';
import { putKeysOfEtcd } from './keys-from-etcd.ts';
import {
  checkTarget,
  copyFile,
  copyLog,
  type Layout,
  layoutOf,
  lockAll,
  makeDirectoryWhole,
  releaseAll,
} from './layout.ts';

export interface MigrationOptions {
  readonly world: World;
  readonly logger: Logger;
  /** The directory to be moved; nothing in it is changed. */
  readonly dataDir: string;
  /** Of its log; '' for the one below it. */
  readonly walDir: string;
  /** To be made; must not exist, or be empty. */
  readonly targetDir: string;
  readonly openBackend: (path: string) => Backend;
  /** Opens a file of our store for reading only, after looking at all of it. */
  readonly openReader: (path: string, pause: Pause) => Promise<ClosableReader>;
}

export interface ClosableReader extends BackendReader {
  close(): void;
}

/** What was moved. */
export interface Migration {
  readonly memberId: U64;
  readonly clusterId: U64;
  /** Of the newest key. */
  readonly revision: number;
  /** Records of the bucket `key`, which is: revisions of keys. */
  readonly records: number;
  /** CRC-32C over all of them, equal in source and target. */
  readonly hash: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly term: number;
  readonly members: number;
  /** What the operator should know. */
  readonly notes: readonly string[];
}

const CLUSTER_VERSION_KEY = Buffer.from('clusterVersion');
const DOWNGRADE_KEY = Buffer.from('downgrade');

/** Rejects with an `OperatorError` that says why a directory cannot be moved; nothing is left behind then. */
export async function migrateFromEtcd(options: MigrationOptions): Promise<Migration> {
  const { world, dataDir, targetDir } = options;
  const { disk } = world;
  const source = layoutOf(dataDir, options.walDir);
  await checkIsEtcd(disk, source);
  await checkTarget(disk, targetDir);
  const segments = await listSegments(disk, source.walDirectory);
  const last = segments.at(-1);
  if (last === undefined) {
    throw new OperatorError(
      `there is no log in ${source.walDirectory}`,
      'Name the directory of the log with --wal-dir, or restore a snapshot instead: etsdutl snapshot restore.',
    );
  }
  const locks = await lockAll(disk, [source.boltPath, joinPath(source.walDirectory, last.name)], dataDir);
  try {
    const file = await BoltFile.open(disk, source.boltPath);
    try {
      return await new FromEtcd(options, source, file).run();
    } finally {
      await file.close();
    }
  } finally {
    await releaseAll(locks);
  }
}

async function checkIsEtcd(disk: Disk, source: Layout): Promise<void> {
  if ((await disk.stat(source.boltPath)) !== null) return;
  const isOurs = (await disk.stat(source.storePath)) !== null;
  throw new OperatorError(
    isOurs ? `${source.dataDir} is a data directory of etsd already` : `${source.boltPath} does not exist`,
    isOurs ? 'Start etsd with it as it is.' : 'Name the data directory of a stopped etcd, the one that holds "member".',
  );
}

class FromEtcd {
  private readonly options: MigrationOptions;
  private readonly source: Layout;
  private readonly file: BoltFile;
  private readonly pause: Pause;
  private readonly notes: string[] = [];

  constructor(options: MigrationOptions, source: Layout, file: BoltFile) {
    this.options = options;
    this.source = source;
    this.file = file;
    this.pause = () => new Promise((resolve) => options.world.timers.endOfTurn(resolve));
  }

  async run(): Promise<Migration> {
    const { source, file, pause } = this;
    const { world, targetDir, logger } = this.options;
    const { disk } = world;
    logger.log('info', 'reading the data directory of etcd', { path: source.dataDir });
    await checkStoreFile(file, pause);
    const before = await sumsOfBolt(file, pause);
    const snapshot = (await validSnapshots(disk, source.walDirectory)).at(-1) ?? null;
    const start = { index: snapshot?.index ?? 0, term: snapshot?.term ?? 0 };
    const log = await readLog(disk, source.walDirectory, start);
    if (log.metadata.length === 0)
      throw new OperatorError(`the log in ${source.walDirectory} does not say whose it is`);
    if (log.end.torn !== null) {
      this.notes.push(
        `the log ends in half a record, as after a crash (${log.end.segment.name}, byte ${log.end.position}): it was never acknowledged and is cut off`,
      );
    }
    let moved: Migration | null = null;
    await makeDirectoryWhole(disk, targetDir, async (unfinished) => {
      moved = await this.fill(layoutOf(unfinished), log, start, before);
    });
    return moved as unknown as Migration;
  }

  private async fill(
    target: Layout,
    log: ReplayedLog,
    start: { index: number; term: number },
    before: BucketSums,
  ): Promise<Migration> {
    const { source, file, pause } = this;
    const { world, logger, openBackend, openReader } = this.options;
    const { disk } = world;
    await copyLog(disk, source.walDirectory, target.walDirectory);
    const backend = openBackend(target.storePath);
    let state: FrozenState;
    let isReplaced = false;
    try {
      await readBoltIntoBackend(file, backend, pause);
      state = readFrozenState(backend);
      if (state.index < start.index) {
        isReplaced = await this.installReceived(target, backend, start.index);
        state = readFrozenState(backend);
      }
      this.checkPositions(state, start, log);
      await this.amend(backend, state, start, log);
      const { snapDirectory } = source;
      await putKeysOfEtcd(backend, { disk, snapDirectory, start, entries: log.entries }, state.index);
      await backend.flush();
      state = readFrozenState(backend);
    } finally {
      await backend.close();
    }
    logger.log('info', 'comparing what was written with what was read', { path: target.storePath });
    const reader = await openReader(target.storePath, pause);
    let after: BucketSums;
    try {
      after = await sumsOfStore(reader, pause);
    } finally {
      reader.close();
    }
    const allowed = ['meta', 'cluster'];
    const differing = isReplaced ? [] : differingBuckets(before, after).filter((bucket) => !allowed.includes(bucket));
    if (differing.length > 0) {
      throw new OperatorError(`what was written differs from the source in ${differing.join(', ')}`, 'Report this.');
    }
    await compareLogs(disk, log, await readLog(disk, target.walDirectory, start));
    const { nodeId, clusterId } = WalMetadata.decode(log.metadata);
    const keys = after.buckets.get('key');
    return {
      memberId: nodeId,
      clusterId,
      revision: after.revision,
      records: keys?.records ?? 0,
      hash: keys?.hash ?? 0,
      appliedIndex: state.index,
      lastIndex: start.index + log.entries.length,
      term: log.hardState.term,
      members: state.members.length,
      notes: this.notes,
    };
  }

  /** The log says that a snapshot was received which a crash kept from taking the store's place; it lies beside it. */
  private async installReceived(target: Layout, backend: Backend, index: number): Promise<boolean> {
    const { world, logger } = this.options;
    const { disk } = world;
    const received = receivedPath(this.source.snapDirectory, index);
    if ((await disk.stat(received)) === null) return false;
    await copyFile(disk, received, receivedPath(target.snapDirectory, index), { sealed: true });
    const { walDirectory, snapDirectory } = target;
    this.notes.push(`the snapshot at entry ${index}, which had been received but not installed, is installed`);
    return await recoverInstalledSnapshot({ world, logger, walDirectory, directory: snapDirectory, backend });
  }

  private checkPositions(state: FrozenState, start: { index: number }, log: ReplayedLog): void {
    const lastIndex = start.index + log.entries.length;
    if (state.index < start.index) {
      throw new OperatorError(
        `the store ${this.source.boltPath} ends at entry ${state.index}, but the log was cut at entry ${start.index}`,
        'Store and log do not belong together: use an intact copy, or another member of the cluster.',
      );
    }
    if (state.index <= lastIndex) return;
    throw new OperatorError(
      `the store ${this.source.boltPath} contains entry ${state.index}, but the log ends at entry ${lastIndex}`,
      'The log lost what it had promised: move another member of the cluster, or restore a snapshot of it.',
    );
  }

  /** What another version of etcd wrote differently, or not at all. */
  private async amend(
    backend: Backend,
    state: FrozenState,
    start: { index: number; term: number },
    log: ReplayedLog,
  ): Promise<void> {
    this.lowerVersion(backend, state, log);
    if (state.index === 0) return;
    if (state.term === 0) {
      const term = state.index === start.index ? start.term : log.entries[state.index - start.index - 1]?.term;
      backend.put('meta', META_TERM, numberBytes(term as number));
    }
    if (state.confState !== null) return;
    const confState = await this.confStateFromLog(state, start, log);
    checkSameMembers(state, confState, this.source);
    backend.put('meta', META_CONF_STATE, Buffer.from(confStateToJson(confState)));
    this.notes.push('etcd 3.4 wrote this store: who votes is taken from its log and snapshot');
  }

  /** Up to 3.4 only the snapshot file and the entries behind it say who votes. */
  private async confStateFromLog(
    state: FrozenState,
    start: { index: number; term: number },
    log: ReplayedLog,
  ): Promise<ConfState> {
    const { disk } = this.options.world;
    let confState = new ConfState();
    if (start.index > 0) {
      const path = joinPath(this.source.snapDirectory, snapshotName(start));
      if ((await disk.stat(path)) === null) {
        throw new OperatorError(
          `the log was cut at entry ${start.index}, but its snapshot ${path} is missing`,
          'Use a complete copy of the directory, or another member.',
        );
      }
      confState = decodeSnapshotFile(await disk.readFile(path), path).metadata?.confState ?? confState;
    }
    let members = membershipOf(confState);
    for (const entry of log.entries) {
      if (entry.index > state.index) break;
      if (entry.type !== EntryType.EntryNormal) members = changedMembership(members, confChangeOf(entry));
    }
    return confStateOf(members);
  }

  /** A cluster of 3.6 or later becomes one of 3.5, which is what its members will be: the data is the same. */
  private lowerVersion(backend: Backend, state: FrozenState, log: ReplayedLog): void {
    for (const entry of log.entries) {
      const version = entry.index > state.index ? versionSetBy(entry) : null;
      if (version === null || !isNewer(version)) continue;
      throw new OperatorError(
        `entry ${entry.index} of the log makes this a cluster of ${version}, and the store does not contain it yet`,
        'Start this etcd once more, let it serve, stop it, and try again.',
      );
    }
    if (!isNewer(state.clusterVersion)) return;
    backend.put('cluster', CLUSTER_VERSION_KEY, Buffer.from(CLUSTER_VERSION));
    backend.delete('cluster', DOWNGRADE_KEY);
    this.notes.push(`the cluster's version goes from ${state.clusterVersion} to ${CLUSTER_VERSION}, which etsd speaks`);
  }
}

function isNewer(version: string): boolean {
  const [found, own] = [parseVersion(version), parseVersion(CLUSTER_VERSION)];
  if (found === undefined || own === undefined) return false;
  return found.major > own.major || (found.major === own.major && found.minor > own.minor);
}

function versionSetBy(entry: Entry): string | null {
  if (entry.type !== EntryType.EntryNormal || entry.data.length === 0) return null;
  try {
    return InternalRaftRequest.decode(entry.data).clusterVersionSet?.ver ?? null;
  } catch (error) {
    // A request of the older key space is none of these.
    if (error instanceof ProtoError) return null;
    throw error;
  }
}

function checkSameMembers({ members }: FrozenState, confState: ConfState, source: Layout): void {
  const voting = [...confState.voters, ...confState.learners].sort();
  const listed = members.map(({ id }) => id).sort();
  if (voting.join() === listed.join()) return;
  const names = (ids: readonly U64[]): string => ids.map(u64ToHex).join(', ') || 'nobody';
  throw new OperatorError(
    `the log of ${source.dataDir} has the members ${names(voting)}, its store ${names(listed)}`,
    'Start it once with etcd 3.5, stop it, and try again.',
  );
}

/** Both logs say the same: the same entries, the same promises. */
export async function compareLogs(disk: Disk, before: ReplayedLog, after: ReplayedLog): Promise<void> {
  const isSame =
    before.metadata.equals(after.metadata) &&
    before.entries.length === after.entries.length &&
    before.entries.every((entry, index) => isSameEntry(entry, after.entries[index] as Entry));
  if (!isSame) throw new OperatorError('the copy of the log differs from the log', 'Check the disk, and try again.');
  void disk;
}

function isSameEntry(a: Entry, b: Entry): boolean {
  return a.index === b.index && a.term === b.term && a.type === b.type && a.data.equals(b.data);
}
