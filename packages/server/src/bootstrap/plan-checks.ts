/** What must hold of a cluster plan before this member acts on it; the words are etcd's. */
import { OperatorError } from '@etsd/base';
import { formatInitialCluster } from '../config/initial-cluster.ts';
import { differenceOfUrls } from './peer-urls.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

/** This member is among them. */
export function checkLocalMember({ config }: Pick<BootstrapParts, 'config'>, plan: ClusterPlan): void {
  if (plan.members.has(config.name)) return;
  throw new OperatorError(
    `couldn't find local name "${config.name}" in the initial cluster configuration`,
    'Name this member in --initial-cluster exactly as --name says.',
  );
}

/** No URL is given twice. */
export function checkDuplicates(plan: ClusterPlan, kind = 'initial'): void {
  const urls = [...plan.members.values()].flat();
  if (new Set(urls).size === urls.length) return;
  throw new OperatorError(
    `${kind} cluster ${formatInitialCluster(plan.members)} has duplicate url`,
    'Every member needs peer URLs of its own.',
  );
}

/** What this member says of itself is what the plan says of it, at least once names are resolved. */
export async function checkAdvertised(parts: BootstrapParts, plan: ClusterPlan): Promise<void> {
  const { name, initialAdvertisePeerUrls: advertised } = parts.config;
  const planned = plan.members.get(name) ?? [];
  const difference = await differenceOfUrls(parts, advertised, planned);
  if (difference === null) return;
  const shown = (urls: readonly string[]): string => urls.map((url) => `${name}=${url}`).join(',');
  const unadvertised = planned.filter((url) => !advertised.includes(url));
  const advice = 'The peer URLs of this member must be the same in both flags.';
  if (unadvertised.length > 0) {
    throw new OperatorError(
      `--initial-cluster has ${shown(unadvertised)} but missing from --initial-advertise-peer-urls=${advertised.join(',')} (${difference})`,
      advice,
    );
  }
  const unplanned = advertised.filter((url) => !planned.includes(url));
  if (unplanned.length > 0) {
    throw new OperatorError(
      `--initial-advertise-peer-urls has ${unplanned.join(',')} but missing from --initial-cluster=${shown(planned)}`,
      advice,
    );
  }
  throw new OperatorError(
    `failed to resolve ${advertised.join(',')} to match --initial-cluster=${shown(planned)} (${difference})`,
    advice,
  );
}

/** The peer URLs of everybody but this member, in order. */
export function otherUrls({ config }: BootstrapParts, plan: ClusterPlan): string[] {
  return [...plan.members].flatMap(([name, urls]) => (name === config.name ? [] : urls)).sort();
}
