/** What is known of a member that is stopped, from its files alone; nothing is changed. */
import type { BackendReader } from '@etsd/backend';
import { OperatorError, type U64 } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import { KeyIndex, Restore } from '@etsd/mvcc';
import { type HardState, ProtoError, WalMetadata } from '@etsd/proto';
import type { Disk } from '@etsd/runtime';
import { type EntryRange, type LogSurvey, surveyLog } from '@etsd/wal';
import { type FrozenState, readFrozenState } from '../snapshots/frozen-state.ts';
import { checkStoreFile, type Pause } from '../snapshots/store-file.ts';
import { sumsOfBolt } from './bucket-sums.ts';
import { layoutOf } from './layout.ts';

/** A file of our store, open for reading only. */
export interface StoreReader extends BackendReader {
  check(pause: Pause): Promise<{ readonly hasChecksum: boolean }>;
  close(): void;
}

export interface InspectOptions {
  readonly disk: Disk;
  readonly dataDir: string;
  readonly walDir: string;
  readonly pause: Pause;
  readonly openReader: (path: string) => StoreReader;
  /** Keep the log's entries behind what the store contains. */
  readonly keepEntries?: boolean;
}

/** A store that could be read. */
export interface InspectedStore {
  readonly state: FrozenState;
  /** Of the newest key, and of the last compaction; −1 where there was none. */
  readonly revision: number;
  readonly compactRevision: number;
  /** False for one without checksums: of etcd, or of an older version. */
  readonly hasChecksum: boolean;
}

export interface Inspection {
  readonly dataDir: string;
  readonly product: 'etsd' | 'etcd';
  readonly memberId: U64 | null;
  readonly clusterId: U64 | null;
  /** As the store says, '' where it does not know. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Null where there is none. */
  readonly log: LogSurvey | null;
  readonly store: InspectedStore | null;
  /** Why the store cannot be used; null where it can, or where there is none. */
  readonly storeDamage: Error | null;
  readonly hasStore: boolean;
  /** The last entry that this directory alone can restore, and its term: the store, and the entries that go on from it. */
  readonly reach: { readonly index: number; readonly term: number };
  /** Entries behind the store, in order and without gaps; only where they were asked for. */
  readonly entries: LogSurvey['entries'];
}

/** Reads all of a data directory. Rejects with an `OperatorError` where it is none. */
export async function inspectDirectory(options: InspectOptions): Promise<Inspection> {
  const { disk, dataDir, walDir } = options;
  const { boltPath, storePath, walDirectory } = layoutOf(dataDir, walDir);
  const product = (await disk.stat(boltPath)) === null ? 'etsd' : 'etcd';
  const hasStore = product === 'etcd' || ((await disk.stat(storePath))?.size ?? 0) > 0;
  let store: InspectedStore | null = null;
  let storeDamage: Error | null = null;
  try {
    if (product === 'etcd') store = await readBolt(disk, boltPath, options.pause);
    else if (hasStore) store = await readStore(options, storePath);
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    storeDamage = error;
  }
  const applied = store?.state.index ?? 0;
  const log = await surveyLog(disk, walDirectory, options.keepEntries === true ? applied : undefined);
  if (log === null && !hasStore) {
    throw new OperatorError(`${dataDir} is no data directory of a member`, 'Name the one that holds "member".');
  }
  const { memberId, clusterId } = identityOf(log);
  const self = store?.state.members.find(({ id }) => id === memberId);
  return {
    dataDir,
    product,
    memberId,
    clusterId,
    name: self?.name ?? '',
    peerUrls: self?.peerURLs ?? [],
    log,
    store,
    storeDamage,
    hasStore,
    reach: reachOf(store, log),
    entries: log?.entries ?? [],
  };
}

function identityOf(log: LogSurvey | null): { memberId: U64 | null; clusterId: U64 | null } {
  if (log === null || log.metadata === null) return { memberId: null, clusterId: null };
  try {
    const { nodeId, clusterId } = WalMetadata.decode(log.metadata);
    return { memberId: nodeId, clusterId };
  } catch (error) {
    if (!(error instanceof ProtoError)) throw error;
    return { memberId: null, clusterId: null };
  }
}

function reachOf(store: InspectedStore | null, log: LogSurvey | null): { index: number; term: number } {
  const index = store?.state.index ?? 0;
  const next = following(log?.ranges ?? [], index);
  return next === null ? { index, term: store?.state.term ?? 0 } : { index: next.last, term: next.lastTerm };
}

/** The entries that go on right behind an index. */
export function following(ranges: readonly EntryRange[], index: number): EntryRange | null {
  return ranges.find(({ first, last }) => first <= index + 1 && last > index) ?? null;
}

async function readStore({ openReader, pause }: InspectOptions, path: string): Promise<InspectedStore> {
  const reader = openReader(path);
  try {
    const { hasChecksum } = await reader.check(pause);
    const restore = new Restore(new KeyIndex(), {
      get: (bucket, key) => reader.get(bucket, key),
      scan: (bucket, from, to, visit) => reader.scan(bucket, from, to, visit),
      close: () => {},
    });
    while (!restore.slice(1000)) await pause();
    const { revision, compactRevision } = restore;
    return { state: readFrozenState(reader), revision, compactRevision, hasChecksum };
  } finally {
    reader.close();
  }
}

/** Of etcd: whoever is to go on with it moves it first, so that only what is told of it is read. */
async function readBolt(disk: Disk, path: string, pause: Pause): Promise<InspectedStore> {
  const file = await BoltFile.open(disk, path);
  try {
    await checkStoreFile(file, pause);
    const { revision } = await sumsOfBolt(file, pause);
    const records = new Map<string, [Buffer, Buffer][]>();
    for (const bucket of await file.buckets()) {
      const name = bucket.name.toString('latin1');
      if (!['meta', 'members', 'members_removed', 'cluster'].includes(name)) continue;
      const found: [Buffer, Buffer][] = [];
      const cursor = file.leaves(bucket);
      for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
        for (let at = 0; at < leaf.count; at++) found.push([Buffer.from(leaf.key(at)), Buffer.from(leaf.value(at))]);
      }
      records.set(name, found);
    }
    const state = readFrozenState({
      get: (bucket, key) => records.get(bucket)?.find(([found]) => found.equals(key))?.[1] ?? null,
      scan: (bucket, _from, _to, visit) => {
        for (const [key, value] of records.get(bucket) ?? []) if (!visit(key, value)) return;
      },
    });
    return { state, revision, compactRevision: -1, hasChecksum: false };
  } finally {
    await file.close();
  }
}

/** A promise of the log about what is committed that its end does not keep. */
export function brokenPromise(log: LogSurvey | null): { hardState: HardState; last: number } | null {
  if (log === null) return null;
  const last = Math.max(log.base?.index ?? 0, log.ranges.at(-1)?.last ?? 0);
  return log.hardState.commit > last ? { hardState: log.hardState, last } : null;
}
