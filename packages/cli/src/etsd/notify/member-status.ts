import { U64_ZERO, u64ToHex } from '@etsd/base';
import type { Member } from '@etsd/server';
import type { Wellbeing } from './service-manager.ts';

/**
 * How a member is, in one line. A member without a leader is well: it waits for others, and no new start would help. One
 * whose log has not become durable for an election time-out is not.
 */
export function memberStatus({ replication, clientUrls }: Pick<Member, 'replication' | 'clientUrls'>): Wellbeing {
  const serves = `Serving ${clientUrls.join(' ')}`;
  const isHealthy = !replication.isDiskStalled;
  return { status: `${serves}; ${isHealthy ? role(replication) : 'the disk of the log hangs'}`, isHealthy };
}

function role({ isLeader, isLearner, leader, term }: Member['replication']): string {
  if (isLeader) return `leader in term ${term}`;
  if (leader === U64_ZERO) return 'no leader';
  return `${isLearner ? 'learner' : 'follower'} of ${u64ToHex(leader)} in term ${term}`;
}
