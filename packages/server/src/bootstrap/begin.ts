/** How a member begins that has no past: from the flags, or from where they say the others are to be found. */
import type { U64 } from '@etsd/base';
import type { Founding } from '@etsd/replication';
import type { MemberRecord } from '@etsd/state';
import { joinDiscovery } from './discovery.ts';
import { checkNotFounded } from './found.ts';
import { findCluster } from './join.ts';
import { checkAdvertised, checkDuplicates, checkLocalMember } from './plan-checks.ts';
import { planFromRecords } from './service-records.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

/** With the others, as a new cluster; or in one that runs, which knows this member already. */
export type Beginning =
  | { readonly kind: 'found'; readonly founding: Founding }
  | {
      readonly kind: 'join';
      readonly memberId: U64;
      readonly clusterId: U64;
      /** All members, for connections to them before the log tells who they are. */
      readonly members: readonly MemberRecord[];
    };

/** Finds out; asks names, other members and the discovery service where it must. Rejects with an `OperatorError`. */
export async function findBeginning(parts: BootstrapParts): Promise<Beginning> {
  const { config } = parts;
  const plan = await planOf(parts);
  checkLocalMember(parts, plan);
  checkDuplicates(plan);
  if (config.initialClusterState === 'existing') return { kind: 'join', ...(await findCluster(parts, plan)) };
  await checkAdvertised(parts, plan);
  await checkNotFounded(parts, plan);
  if (config.discoveryEndpoints.length === 0) return { kind: 'found', founding: foundingOf(parts, plan) };
  const discovered = { members: await joinDiscovery(parts, plan), token: plan.token };
  checkDuplicates(discovered, 'discovery');
  checkLocalMember(parts, discovered);
  return { kind: 'found', founding: foundingOf(parts, discovered) };
}

/** What the flags say of the cluster; no question is asked but for SRV records. */
export async function planOf(parts: BootstrapParts): Promise<ClusterPlan> {
  const { config } = parts;
  if (config.discoverySrv !== '') return await planFromRecords(parts);
  if (config.discoveryEndpoints.length > 0) {
    // The others are not known yet; the id of this member follows from its URLs and the token alone.
    return { members: new Map([[config.name, config.initialAdvertisePeerUrls]]), token: config.discoveryToken };
  }
  return { members: config.initialCluster, token: config.initialClusterToken };
}

export function foundingOf({ config }: BootstrapParts, plan: ClusterPlan): Founding {
  const members = [...plan.members].map(([name, peerUrls]) => ({ name, peerUrls }));
  return { members, name: config.name, token: plan.token };
}
