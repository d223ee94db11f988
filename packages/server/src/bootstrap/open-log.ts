/** The log a member goes on with: its own, or that of a member that begins. */
import { assert, OperatorError, type U64, u64ToHex } from '@etsd/base';
import {
  type Founding,
  forceSingleMember,
  foundCluster,
  hasLog,
  joinCluster,
  type LogPlace,
  type OpenedLog,
  openExisting,
} from '@etsd/replication';
import type { MemberRecord, State } from '@etsd/state';
import type { DataDirectory } from '../data-directory.ts';
import { findBeginning } from './begin.ts';
import { otherUrls } from './plan-checks.ts';
import { askForCluster } from './remote-cluster.ts';
import { MemberRemovedError } from './removed.ts';
import type { BootstrapParts } from './surroundings.ts';
import { checkNoTwin } from './twin.ts';

/** As where a cluster is founded: whoever is not up yet is not waited for. */
const ASK_MS = 1000;

export interface OpenLogParts extends BootstrapParts {
  readonly directory: DataDirectory;
  readonly state: State;
  readonly place: LogPlace;
}

export interface StartingLog extends OpenedLog {
  /** The other members, where the log does not tell who they are yet: a member that joins is to be reached by them. */
  readonly remotes: readonly MemberRecord[];
}

/** Opens the log that is there, or makes the first. Rejects with an `OperatorError` on what the operator can mend. */
export async function openLog(parts: OpenLogParts): Promise<StartingLog> {
  const { place, state, directory } = parts;
  if (await hasLog(place)) {
    const opened = await continueLog(parts);
    return { ...opened, remotes: await remotesOf(parts, opened) };
  }
  if (state.appliedIndex > 0) {
    throw new OperatorError(
      `the store ${directory.storePath} contains entries, but there is no log in ${directory.walDirectory}`,
      'Give --wal-dir the directory of the log that belongs to this store, or restore a backup.',
    );
  }
  const beginning = await findBeginning(parts);
  if (beginning.kind === 'found') return { ...(await foundCluster({ ...place, ...beginning.founding })), remotes: [] };
  const { memberId, clusterId, members } = beginning;
  const opened = await joinCluster({ ...place, memberId, clusterId });
  return { ...opened, remotes: members.filter(({ id }) => id !== memberId) };
}

/** The others as they know themselves, for a member that joined and was ended before it had heard from any of them. */
async function remotesOf(parts: OpenLogParts, { start }: OpenedLog): Promise<readonly MemberRecord[]> {
  const { world, config, logger, tls, state } = parts;
  if (state.members.size > 0 || start.bootstrap !== null || start.stored.entries.length > 0) return [];
  const urls = otherUrls(parts, { members: config.initialCluster, token: config.initialClusterToken });
  const remote = await askForCluster(urls, { world, logger, tls, timeoutMs: ASK_MS, warns: true });
  if (remote === null || remote.id !== start.clusterId) return [];
  return remote.members.filter(({ id }) => id !== start.memberId);
}

/** The flags about the cluster count no more, except where a crash cut the foundation short. */
async function continueLog(parts: OpenLogParts): Promise<OpenedLog> {
  const { config, logger, place, state } = parts;
  const { appliedIndex, confState } = state;
  const founding = config.initialClusterState === 'new' ? () => resumedFounding(parts) : null;
  const existing = await openExisting({ ...place, appliedIndex, confState, founding });
  try {
    checkIsMember(parts, existing.start.memberId);
    // A cluster forced out of a copy has nothing to do with the one it was copied from.
    if (!config.forceNewCluster)
      await checkNoTwin(parts, existing.start.memberId, existing.start.clusterId, state.members);
  } catch (error) {
    await existing.log.close();
    throw error;
  }
  // A foundation that was cut short goes on: there is no past that others could have a part in.
  if (!config.forceNewCluster || existing.start.bootstrap !== null) return existing;
  logger.log('warn', 'forcing a new cluster of this member alone');
  return await forceSingleMember(existing, config.initialAdvertisePeerUrls, config.name);
}

async function resumedFounding(parts: OpenLogParts): Promise<Founding> {
  const beginning = await findBeginning(parts);
  assert(beginning.kind === 'found', 'flags that ask for a new cluster do not join one');
  return beginning.founding;
}

function checkIsMember({ state, directory, config }: OpenLogParts, memberId: U64): void {
  const { members } = state;
  if (members.isRemoved(memberId)) throw new MemberRemovedError(config.dataDir);
  // A store that was just founded, or that of a member that joins, does not list it yet.
  if (members.size === 0 || members.get(memberId) !== undefined) return;
  throw new OperatorError(
    `the log in ${directory.walDirectory} is that of member ${u64ToHex(memberId)}, which the store ${directory.storePath} does not know`,
    'They belong to different clusters: give --data-dir and --wal-dir of the same member.',
  );
}
