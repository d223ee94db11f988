/**
 * A cluster that lost its majority, from what is left of it: the directory whose log reaches furthest becomes a new
 * cluster of one. It is copied, never changed.
 */
import { type Logger, OperatorError, type U64, u64ToHex } from '@etsd/base';
import { ConfState, type Entry, EntryType, HardState, WalSnapshot } from '@etsd/proto';
import { changedMembership, confChangeOf, membershipOf, type StoredState } from '@etsd/raft';
import { forceSingleMember } from '@etsd/replication/founding';
import { joinPath, type World } from '@etsd/runtime';
import { Wal } from '@etsd/wal';
import { judge } from './doctor.ts';
import type { Inspection } from './inspect.ts';
import { checkTarget, copyFile, layoutOf, lockAll, makeDirectoryWhole, releaseAll } from './layout.ts';

export interface RecoveryPlan {
  /** The directory to go on with. */
  readonly best: Inspection;
  /** Voters of the cluster, as the best directory knows them. */
  readonly voters: readonly U64[];
  /** Voters whose directories are at hand and can be gone on with. */
  readonly survivors: readonly U64[];
  /** The survivors are a majority: they need not be recovered but started. */
  readonly hasQuorum: boolean;
  /** Entries that the best directory holds beyond those it knows to be committed; they are kept. */
  readonly uncommitted: number;
  /** What at most is lost, in sentences. */
  readonly losses: readonly string[];
}

/** Compares directories of one cluster. Throws an `OperatorError` where they are of several, or none can be used. */
export function planRecovery(inspections: readonly Inspection[]): RecoveryPlan {
  const clusters = new Set(inspections.map(({ clusterId }) => clusterId).filter((id) => id !== null));
  if (clusters.size > 1) {
    const names = [...clusters].map((id) => u64ToHex(id as U64)).join(', ');
    throw new OperatorError(`the directories belong to several clusters: ${names}`, 'Name those of one.');
  }
  const usable = inspections.filter(isUsable);
  const best = [...usable].sort((a, b) => b.reach.term - a.reach.term || b.reach.index - a.reach.index)[0];
  if (best === undefined) {
    throw new OperatorError(
      'none of the directories can be gone on with',
      'See etsdutl doctor for each; restore a backup: etsdutl snapshot restore.',
    );
  }
  const { voters } = membershipOf(confStateAtEnd(best));
  const survivors = usable.filter(isSound).map(({ memberId }) => memberId as U64);
  const present = new Set(survivors.filter((id) => voters.includes(id)));
  const hasQuorum = present.size > voters.length / 2;
  const commit = Math.max(best.log?.hardState.commit ?? 0, best.store?.state.index ?? 0);
  return {
    best,
    voters,
    survivors: [...present],
    hasQuorum,
    uncommitted: Math.max(0, best.reach.index - commit),
    losses: lossesOf(
      best,
      hasQuorum,
      voters.some((id) => !inspections.some(({ memberId }) => memberId === id)),
    ),
  };
}

/** It holds all that it promised, as it is or after a repair that loses nothing: it counts towards a majority. */
function isSound(inspection: Inspection): boolean {
  return judge(inspection).every(({ severity, repair }) => severity === 'note' || repair !== null);
}

function isUsable({ product, log, reach, memberId }: Inspection): boolean {
  return product === 'etsd' && log !== null && memberId !== null && reach.index > 0;
}

function lossesOf(best: Inspection, hasQuorum: boolean, isAnyMissing: boolean): string[] {
  const { log, reach, store } = best;
  if (hasQuorum) return [];
  const losses: string[] = [];
  const when = log === null ? '' : `, which was last written to at ${new Date(log.modifiedMs).toISOString()}`;
  if (!isAnyMissing)
    losses.push(`lost at most: what this directory does not contain behind entry ${reach.index}${when}`);
  else
    losses.push(
      `lost at most: writes that the missing members acknowledged among themselves after entry ${reach.index} (term ${reach.term}) ` +
        `had come to this one${when}`,
    );
  const last = log?.ranges.at(-1)?.last ?? 0;
  if (last > reach.index) losses.push(`and entries ${reach.index + 1} to ${last}, which damage in the log cuts off`);
  if (store === null)
    losses.push('the store cannot be used: it is made anew from the log, which goes back to the first entry');
  return losses;
}

/** The configuration after all entries of the directory. */
function confStateAtEnd({ store, entries }: Inspection): ConfState {
  let members = membershipOf(store?.state.confState ?? new ConfState());
  for (const entry of entries) {
    if (entry.type !== EntryType.EntryNormal) members = changedMembership(members, confChangeOf(entry));
  }
  const state = new ConfState();
  state.voters = [...members.voters];
  state.learners = [...members.learners];
  return state;
}

export interface RecoverOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly best: Inspection;
  /** To be made; must not exist, or be empty. */
  readonly targetDir: string;
  /** Where the member will be reached by others. */
  readonly peerUrls: readonly string[];
  readonly name: string;
}

/** Makes the cluster of one. The log begins anew at what the store contains, followed by the entries behind it. */
export async function recoverMember(options: RecoverOptions): Promise<void> {
  const { world, best, targetDir } = options;
  const { disk } = world;
  await checkTarget(disk, targetDir);
  const source = layoutOf(best.dataDir);
  const locks = await lockAll(disk, [joinPath(best.dataDir, 'member', 'lock')], best.dataDir);
  try {
    await makeDirectoryWhole(disk, targetDir, async (unfinished) => {
      const target = layoutOf(unfinished);
      if (best.store !== null) await copyFile(disk, source.storePath, target.storePath);
      await writeLog(options, target.walDirectory);
    });
  } finally {
    await releaseAll(locks);
  }
}

async function writeLog({ world, best, peerUrls, name, logger }: RecoverOptions, directory: string): Promise<void> {
  const { log, store, memberId, clusterId, reach } = best;
  const metadata = log?.metadata ?? null;
  if (log === null || metadata === null || memberId === null || clusterId === null) {
    throw new OperatorError(`the log of ${best.dataDir} does not say whose it is`, 'Use another directory.');
  }
  const applied = store?.state.index ?? 0;
  const baseTerm = store?.state.term ?? 0;
  const confState = store?.state.confState ?? null;
  const entries = best.entries.map((entry) => entry as Entry);
  const term = Math.max(log.hardState.term, reach.term, 1);
  const { vote } = log.hardState;
  const hardState = HardState.create({ term, vote, commit: applied + entries.length });
  const wal = await Wal.create(world, directory, metadata, { logger });
  try {
    await done((callback) => wal.save(hardState, [], 0, 0, callback));
    if (applied > 0 && confState !== null) {
      await done((callback) =>
        wal.saveSnapshot(WalSnapshot.create({ index: applied, term: baseTerm, confState }), callback),
      );
    }
    await done((callback) => wal.save(hardState, entries, 0, entries.length, callback));
    const stored: StoredState = { hardState, baseIndex: applied, baseTerm, entries, applied, confState };
    await forceSingleMember({ log: wal, start: { memberId, clusterId, stored, bootstrap: null } }, peerUrls, name);
  } finally {
    await wal.close();
  }
}

function done(start: (callback: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error === null ? resolve() : reject(error))));
}
