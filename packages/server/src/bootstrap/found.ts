/** Founding a cluster: what is asked of the others before this member takes part. */
import { OperatorError, u64ToHex } from '@etsd/base';
import { clusterIdOf, identify } from '@etsd/replication';
import { otherUrls } from './plan-checks.ts';
import { askForCluster } from './remote-cluster.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

/** As etcd: others that are not up yet are not waited for. */
const ASK_MS = 1000;

/**
 * Refuses a founding that would do harm: this member took part already and has lost its data, or the others have a cluster
 * that runs and is not this one, so that this one would wait for ever. Somebody who only tries to found another cluster
 * is told of and passed over: the rest do without.
 */
export async function checkNotFounded(parts: BootstrapParts, plan: ClusterPlan): Promise<void> {
  const { world, config, logger, tls } = parts;
  const planned = [...plan.members].map(([name, peerUrls]) => ({ name, peerUrls }));
  const members = identify(planned, plan.token);
  const ownId = members.find(({ name }) => name === config.name)?.id;
  const clusterId = clusterIdOf(members.map(({ id }) => id));
  let urls = otherUrls(parts, plan);
  while (urls.length > 0) {
    const remote = await askForCluster(urls, { world, logger, tls, timeoutMs: ASK_MS, warns: false });
    if (remote === null) return;
    const known = remote.members.find(({ id }) => id === ownId);
    if (known !== undefined && known.clientURLs.length > 0) {
      throw new OperatorError(
        `member ${u64ToHex(known.id)} has already been bootstrapped`,
        'It has lost its data directory: remove it from the cluster and add it anew, then start with --initial-cluster-state existing.',
      );
    }
    if (remote.id === clusterId) return;
    const mismatch = `cluster ID mismatch: ${remote.url} belongs to cluster ${u64ToHex(remote.id)}, the flags of this member make ${u64ToHex(clusterId)}`;
    // Members announce themselves through the log: without a majority none has.
    if (remote.members.some(({ clientURLs }) => clientURLs.length > 0)) {
      throw new OperatorError(
        mismatch,
        'Give all founding members the same --initial-cluster and --initial-cluster-token; to join a cluster that runs, --initial-cluster-state existing.',
      );
    }
    logger.log('warn', mismatch);
    urls = urls.filter((url) => url !== remote.url);
  }
}
