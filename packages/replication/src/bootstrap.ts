import { assert, type Logger, OperatorError, type U64, u64ToHex } from '@etsd/base';
import { ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, type HardState, WalMetadata } from '@etsd/proto';
import { changedMembership, confChangeOf, membershipOf, type StoredState } from '@etsd/raft';
import type { World } from '@etsd/runtime';
import { newestSnapshot, type OpenedWal, Wal, type WalOptions } from '@etsd/wal';
import type { LogStore } from './log-store.ts';
import {
  clusterIdOf,
  confChangeEntry,
  type FoundingMember,
  foundingEntry,
  identify,
  memberContext,
} from './membership.ts';

/** What a `ReplicationNode` starts from. */
export interface StartState {
  readonly memberId: U64;
  readonly clusterId: U64;
  readonly stored: StoredState;
  /** The first entries of a new cluster; null for a member with a past, or one that joins. */
  readonly bootstrap: readonly Entry[] | null;
}

/** An open log and what follows from its content. */
export interface OpenedLog {
  readonly log: LogStore;
  readonly start: StartState;
}

/** Where the log of a member is. */
export interface LogPlace {
  readonly world: World;
  /** The directory of the segments (`member/wal`). */
  readonly directory: string;
  readonly logger: Logger;
  readonly walOptions?: WalOptions;
}

/** A cluster to be founded, as the flags describe it. */
export interface Founding {
  /** All founding members, this one among them. */
  readonly members: readonly FoundingMember[];
  /** The name of this member. */
  readonly name: string;
  readonly token: string;
}

export interface NewClusterOptions extends LogPlace, Founding {}

/** Whether the member has a past: then `openExisting`, whatever the flags say about a new cluster. */
export function hasLog(place: LogPlace): Promise<boolean> {
  return Wal.exists(place.world, place.directory);
}

/** Founds a cluster: makes the log, and the entries that every founding member begins with. */
export async function foundCluster(options: NewClusterOptions): Promise<OpenedLog> {
  const founded = foundation(options);
  const log = await createLog(options, founded.memberId, founded.clusterId);
  return { log, start: founded };
}

/** What a founding member begins with. */
function foundation(founding: Founding): StartState {
  const members = identify(founding.members, founding.token);
  const self = members.find((member) => member.name === founding.name);
  if (self === undefined) {
    throw new OperatorError(
      `couldn't find local name "${founding.name}" in the initial cluster configuration`,
      'Name this member in initial-cluster exactly as its flag name says.',
    );
  }
  const clusterId = clusterIdOf(members.map((member) => member.id));
  return { memberId: self.id, clusterId, stored: nothing(), bootstrap: members.map(foundingEntry) };
}

export interface JoinOptions extends LogPlace {
  readonly memberId: U64;
  readonly clusterId: U64;
}

/** Joins a cluster that already knows this member: the log begins empty and is filled by the leader. */
export async function joinCluster(options: JoinOptions): Promise<OpenedLog> {
  const { memberId, clusterId } = options;
  const log = await createLog(options, memberId, clusterId);
  return { log, start: { memberId, clusterId, stored: nothing(), bootstrap: null } };
}

async function createLog(place: LogPlace, memberId: U64, clusterId: U64): Promise<Wal> {
  const metadata = new WalMetadata();
  metadata.nodeId = memberId;
  metadata.clusterId = clusterId;
  return await Wal.create(place.world, place.directory, WalMetadata.encode(metadata), place.walOptions);
}

function nothing(): StoredState {
  return { hardState: null, baseIndex: 0, baseTerm: 0, entries: [], applied: 0, confState: null };
}

export interface ExistingOptions extends LogPlace {
  /** What the stored state contains: it must reach at least the last snapshot record. */
  readonly appliedIndex: number;
  readonly confState: ConfState | null;
  /**
   * Finds out what the flags say, where they ask for a new cluster: if a crash cut the foundation short, so that the log
   * exists but is empty, it is made up for. Without it an empty log is that of a member which waits for its leader.
   */
  readonly founding?: (() => Promise<Founding>) | null;
}

/** Opens the log of a member with a past. */
export async function openExisting(options: ExistingOptions): Promise<OpenedLog> {
  const { world, directory, logger, appliedIndex } = options;
  const snapshot = await newestSnapshot(world.disk, directory);
  const baseIndex = snapshot?.index ?? 0;
  const baseTerm = snapshot?.term ?? 0;
  if (appliedIndex < baseIndex) {
    throw new OperatorError(
      `the database in this data directory ends at entry ${appliedIndex}, but the log of ${directory} was cut at ${baseIndex}`,
      'The database was replaced or lost. Remove this member from the cluster and add it anew, or restore a backup.',
    );
  }
  const voters = options.confState?.voters ?? [];
  const isAlone = (metadata: Buffer): boolean =>
    voters.length === 1 && voters[0] === WalMetadata.decode(metadata).nodeId;
  const walOptions = { ...options.walOptions, leastIndex: appliedIndex, isAlone };
  const opened = await Wal.open(world, directory, { index: baseIndex, term: baseTerm }, walOptions);
  try {
    const { memberId, clusterId } = readMetadata(opened, directory);
    const stored = storedState(opened, baseIndex, baseTerm, options);
    if (isBlank(stored) && options.founding) {
      return { log: opened.wal, start: resumedFoundation(await options.founding(), memberId, clusterId, directory) };
    }
    logger.log('info', 'restarting local member', {
      clusterId: u64ToHex(clusterId),
      localMemberId: u64ToHex(memberId),
      commitIndex: stored.hardState?.commit ?? 0,
      appliedIndex,
    });
    return { log: opened.wal, start: { memberId, clusterId, stored, bootstrap: null } };
  } catch (error) {
    await opened.wal.close();
    throw error;
  }
}

function isBlank({ hardState, entries, baseIndex }: StoredState): boolean {
  return hardState === null && entries.length === 0 && baseIndex === 0;
}

function resumedFoundation(founding: Founding, memberId: U64, clusterId: U64, directory: string): StartState {
  const founded = foundation(founding);
  if (founded.memberId !== memberId || founded.clusterId !== clusterId) {
    throw new OperatorError(
      `the empty log in ${directory} was made for member ${u64ToHex(memberId)} of cluster ${u64ToHex(clusterId)}, ` +
        `but initial-cluster makes this ${u64ToHex(founded.memberId)} of ${u64ToHex(founded.clusterId)}`,
      'Start with the flags of the first start, or remove the data directory: nothing was stored in it.',
    );
  }
  return founded;
}

function readMetadata(opened: OpenedWal, directory: string): { memberId: U64; clusterId: U64 } {
  if (opened.metadata.length === 0) {
    throw new OperatorError(`the log in ${directory} does not say whose it is`, 'Restore a backup.');
  }
  const metadata = WalMetadata.decode(opened.metadata);
  return { memberId: metadata.nodeId, clusterId: metadata.clusterId };
}

function storedState(
  opened: OpenedWal,
  baseIndex: number,
  baseTerm: number,
  { appliedIndex, confState, directory }: ExistingOptions,
): StoredState {
  const lastIndex = baseIndex + opened.entries.length;
  if (appliedIndex > lastIndex) {
    throw new OperatorError(
      `the database contains entry ${appliedIndex}, but the log in ${directory} ends at ${lastIndex}`,
      'The log lost what it had promised. Remove this member from the cluster and add it anew, or restore a backup.',
    );
  }
  if (appliedIndex > 0 && confState === null) {
    throw new OperatorError(
      'the database does not say which members its cluster has',
      'It was written by etcd 3.4 or older: start it once with etcd 3.5.',
    );
  }
  const { hardState, entries } = opened;
  const isFresh = hardState.term === 0 && hardState.commit === 0;
  return { hardState: isFresh ? null : hardState, baseIndex, baseTerm, entries, applied: appliedIndex, confState };
}

/**
 * Makes the opened member the only one of its cluster, for when the others are lost for good: entries that may not be
 * committed are dropped, and entries are added that remove everybody else and let this member vote. Committed entries
 * of the others that never came here are lost; that is the operator's decision.
 */
export async function forceSingleMember(
  opened: OpenedLog,
  peerUrls: readonly string[],
  name: string,
): Promise<OpenedLog> {
  const { log, start } = opened;
  const { stored, memberId } = start;
  const hard = stored.hardState;
  assert(hard !== null, 'replication: a log without a past cannot be forced');
  const commit = Math.max(hard.commit, stored.applied);
  const entries = stored.entries.slice(0, commit - stored.baseIndex);
  const removals = singleMemberEntries(stored, entries, { id: memberId, name, peerUrls });
  for (const entry of removals) {
    entry.term = hard.term;
    entry.index = stored.baseIndex + entries.length + 1;
    entries.push(entry);
  }
  hard.commit = stored.baseIndex + entries.length;
  await saved(log, hard, removals);
  return { log, start: { ...start, stored: { ...stored, hardState: hard, entries } } };
}

function singleMemberEntries(
  stored: StoredState,
  entries: readonly Entry[],
  self: FoundingMember & { readonly id: U64 },
): Entry[] {
  let members = membershipOf(stored.confState ?? new ConfState());
  for (const entry of entries) {
    if (entry.index > stored.applied && entry.type !== EntryType.EntryNormal) {
      members = changedMembership(members, confChangeOf(entry));
    }
  }
  const result: Entry[] = [];
  if (members.outgoing.length > 0) {
    const leave = new ConfChangeV2();
    const entry = new Entry();
    entry.type = EntryType.EntryConfChangeV2;
    entry.data = ConfChangeV2.encode(leave);
    result.push(entry);
    members = changedMembership(members, leave);
  }
  if (!members.voters.includes(self.id)) {
    const context = memberContext(self, members.learners.includes(self.id));
    result.push(confChangeEntry(ConfChangeType.ConfChangeAddNode, self.id, context));
  }
  for (const id of [...members.voters, ...members.learners].sort()) {
    if (id !== self.id) result.push(confChangeEntry(ConfChangeType.ConfChangeRemoveNode, id, null));
  }
  return result;
}

function saved(log: LogStore, hardState: HardState, entries: readonly Entry[]): Promise<void> {
  return new Promise((resolve, reject) => {
    log.save(hardState, entries, 0, entries.length, (error) => (error === null ? resolve() : reject(error)));
    log.flush();
  });
}
