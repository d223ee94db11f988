/** Joining a cluster that runs: its members tell the ids, this one and that of the cluster. */
import { assert, errorFrom, OperatorError, type U64, u64ToHex } from '@etsd/base';
import { type MemberRecord, parseVersion } from '@etsd/state';
import { minorOf } from '../duties/version-rules.ts';
import { MIN_CLUSTER_VERSION, PROTOCOL_VERSION } from '../version.ts';
import { askPeer, type PeerAnswer } from './ask-peer.ts';
import { differenceOfUrls } from './peer-urls.ts';
import { otherUrls } from './plan-checks.ts';
import { askForCluster, describeMembers, type RemoteCluster } from './remote-cluster.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

const ASK_MS = 10_000;

/** The cluster to join, and the id it has given to this member. */
export interface Joining {
  readonly memberId: U64;
  readonly clusterId: U64;
  /** All its members, this one among them. */
  readonly members: readonly MemberRecord[];
}

/** Finds the cluster through the other members of the plan, and this member in it by its peer URLs. */
export async function findCluster(parts: BootstrapParts, plan: ClusterPlan): Promise<Joining> {
  const { world, config, logger, tls } = parts;
  const remote = await askForCluster(otherUrls(parts, plan), { world, logger, tls, timeoutMs: ASK_MS, warns: true });
  if (remote === null) {
    throw new OperatorError(
      'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs',
      'Give --initial-cluster the peer URLs of members that run, beside those of this one.',
    );
  }
  const self = (await assignIds(parts, plan, remote)).get(config.name) as MemberRecord;
  if (self.isStarted) {
    throw new OperatorError(
      `member ${u64ToHex(self.id)} has already been bootstrapped`,
      'It has lost its data directory, and with it what it promised the others: remove it from the cluster and add it anew.',
    );
  }
  await checkVersions(parts, remote, self.id);
  return { memberId: self.id, clusterId: remote.id, members: remote.members };
}

/** Every member of the cluster is one of the plan, by its URLs, and there are no others. */
async function assignIds(
  parts: BootstrapParts,
  plan: ClusterPlan,
  remote: RemoteCluster,
): Promise<Map<string, MemberRecord>> {
  const refused = (reason: string): OperatorError =>
    new OperatorError(
      `error validating peerURLs ${describeMembers(remote)}: ${reason}`,
      'Add this member first (etcdctl member add), then give --initial-cluster exactly what that printed.',
    );
  if (remote.members.length !== plan.members.size) throw refused('member count is unequal');
  const byName = new Map<string, MemberRecord>();
  for (const member of remote.members) {
    let lastDifference: string | null = null;
    for (const [name, urls] of plan.members) {
      lastDifference = await differenceOfUrls(parts, member.peerURLs, urls);
      if (lastDifference !== null) continue;
      byName.set(name, member);
      break;
    }
    if (lastDifference !== null) {
      const shown = `${u64ToHex(member.id)}, [${member.peerURLs.join(' ')}]`;
      throw refused(`PeerURLs: no match found for existing member (${shown}), last resolver error (${lastDifference})`);
    }
  }
  return byName;
}

/** Some member says which version the cluster has, and it is one this member can take part in. */
async function checkVersions(parts: BootstrapParts, remote: RemoteCluster, selfId: U64): Promise<void> {
  const { world, tls, logger } = parts;
  const others = remote.members.filter(({ id }) => id !== selfId);
  const versions = await Promise.all(
    others.map(async ({ id, peerURLs }) => {
      try {
        const answers = peerURLs.map((url) => askPeer(url, '/version', { world, tls, timeoutMs: ASK_MS }));
        return clusterVersionIn(await Promise.any(answers));
      } catch (error) {
        const text = errorFrom(error).message;
        logger.log('warn', 'failed to get version of the member', { 'remote-member-id': u64ToHex(id), error: text });
        return undefined;
      }
    }),
  );
  const known = versions.filter((version) => version !== undefined);
  const own = clusterVersionOf(parts.serverVersion ?? PROTOCOL_VERSION);
  const fits = known.every((version) => !isNewer(MIN_CLUSTER_VERSION, version) && !isNewer(version, own));
  if (known.length > 0 && fits) return;
  throw new OperatorError(
    'incompatible with current running cluster',
    known.length === 0
      ? 'None of its members tells the version of the cluster; wait until it has one.'
      : `The cluster runs at version ${known.join(', ')}, this member at ${own}.`,
  );
}

/** The version of a cluster that has only such members. */
function clusterVersionOf(serverVersion: string): string {
  const parsed = parseVersion(serverVersion);
  assert(parsed !== undefined, 'a member has a version');
  return minorOf(parsed);
}

function clusterVersionIn({ status, body }: PeerAnswer): string | undefined {
  if (status !== 200) throw new Error(`answer ${status} tells no version`);
  const { etcdcluster } = JSON.parse(body.toString('utf8')) as { etcdcluster?: unknown };
  return typeof etcdcluster === 'string' && parseVersion(etcdcluster) !== undefined ? etcdcluster : undefined;
}

function isNewer(left: string, right: string): boolean {
  const one = parseVersion(left);
  const other = parseVersion(right);
  if (one === undefined || other === undefined) return false;
  return one.major !== other.major ? one.major > other.major : one.minor > other.minor;
}
