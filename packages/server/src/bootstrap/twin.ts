/** Whether another process goes by the id of this member: its data directory is then a copy, or copied from this one. */
import { OperatorError, type U64, u64ToHex } from '@etsd/base';
import type { Members } from '@etsd/state';
import { askForCluster } from './remote-cluster.ts';
import type { BootstrapParts } from './surroundings.ts';

const ASK_MS = 1000;

/**
 * Two members of one id would vote twice, and the cluster could lose what it has promised. Where the cluster knows this
 * member by URLs other than the ones it is started with, somebody else may live there: it is asked for. Where it does not
 * answer, this member has moved, which etcd allows.
 */
export async function checkNoTwin(
  parts: BootstrapParts,
  memberId: U64,
  clusterId: U64,
  members: Pick<Members, 'get'>,
): Promise<void> {
  const { world, logger, tls, config } = parts;
  const own = new Set([...config.initialAdvertisePeerUrls, ...config.listenPeerUrls.map(({ url }) => url)]);
  const urls = (members.get(memberId)?.peerURLs ?? []).filter((url) => !own.has(url));
  if (urls.length === 0) return;
  const other = await askForCluster(urls, { world, logger, tls, timeoutMs: ASK_MS, warns: false });
  // An address may have gone to another member meanwhile; who answers there knows.
  const known = other?.members.find(({ id }) => id === memberId);
  if (other === null || other.id !== clusterId || known?.peerURLs.includes(other.url) !== true) return;
  throw new OperatorError(
    `member ${u64ToHex(memberId)} is running at ${other.url} already: ${config.dataDir} is a copy of its data directory`,
    'Two members must not share an id: remove this directory and add a new member, or stop the other first and move it here.',
  );
}
