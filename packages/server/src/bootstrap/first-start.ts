import { hasLog } from '@etsd/replication';
import { checkDuplicates, checkLocalMember } from './plan-checks.ts';
import type { BootstrapParts } from './surroundings.ts';

/**
 * What can be seen to be wrong with the flags of a first start before anything is made on disk. A member with a past is
 * not asked: its flags about the cluster count no more.
 */
export async function checkFirstStart(parts: Omit<BootstrapParts, 'tls'>): Promise<void> {
  const { world, config, logger } = parts;
  const directory = config.walDir === '' ? `${config.dataDir}/member/wal` : config.walDir;
  const isDiscovered = config.discoverySrv !== '' || config.discoveryEndpoints.length > 0;
  if (isDiscovered || (await hasLog({ world, directory, logger }))) return;
  const plan = { members: config.initialCluster, token: config.initialClusterToken };
  checkLocalMember(parts, plan);
  checkDuplicates(plan);
}
