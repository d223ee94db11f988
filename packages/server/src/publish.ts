import { type Logger, u64FromHalves, u64ToHex } from '@etsd/base';
import { type EtcdError, V2Request } from '@etsd/proto';
import type { ReplicationNode } from '@etsd/replication';
import type { Members } from '@etsd/state';
import type { ApiReplication, ApiWaiter } from './context.ts';

/** How long to wait before an announcement that failed is made again, and between two looks whether it has arrived. */
const RETRY_MS = 500;

export interface PublishParts {
  readonly replication: ReplicationNode;
  readonly logger: Logger;
  readonly after: (ms: number, callback: () => void) => { cancel(): void };
  readonly isStopped: () => boolean;
  readonly members: Pick<Members, 'get'>;
}

/**
 * Proposes a write in the form that etcd up to 3.5 uses for what members say of themselves and of the cluster, so that
 * such a member can read our log.
 */
export function proposeV2(
  replication: Pick<ApiReplication, 'nextRequestId' | 'propose'>,
  path: string,
  value: string,
  waiter: ApiWaiter,
): void {
  const { high, low } = replication.nextRequestId();
  const request = new V2Request();
  request.ID = u64FromHalves(high, low);
  request.method = 'PUT';
  request.path = path;
  request.val = value;
  replication.propose(V2Request.encode(request), waiter);
}

/**
 * Proposes it until it is applied, or until the member stops; then resolves. `hasArrived`: the entry of a member that
 * joins may come back to it inside a snapshot, and then nobody is told.
 */
function proposeUntilApplied(
  parts: PublishParts,
  path: string,
  value: string,
  hasArrived: () => boolean,
): Promise<void> {
  return new Promise((settle) => {
    let isSettled = false;
    const resolve = (): void => {
      isSettled = true;
      looking.cancel();
      settle();
    };
    const look = (): void => {
      if (isSettled) return;
      if (hasArrived()) resolve();
      else looking = parts.after(RETRY_MS, look);
    };
    let looking = parts.after(RETRY_MS, look);
    const attempt = (): void => {
      if (isSettled) return;
      if (parts.isStopped()) return resolve();
      proposeV2(parts.replication, path, value, {
        done: () => resolve(),
        fail: (error: EtcdError) => {
          if (isSettled) return;
          parts.logger.log('warn', 'failed to publish to the cluster through raft', { path, error: error.message });
          parts.after(RETRY_MS, attempt);
        },
      });
    };
    attempt();
  });
}

/** Tells the cluster this member's name and client addresses. */
export async function publishMember(parts: PublishParts, name: string, clientUrls: readonly string[]): Promise<void> {
  const { memberId } = parts.replication;
  const id = u64ToHex(memberId);
  const path = `/0/members/${id}/attributes`;
  const isKnown = (): boolean => {
    const member = parts.members.get(memberId);
    return member?.name === name && member.clientURLs.join() === clientUrls.join();
  };
  // What was known before is announced anew all the same: it shows that the cluster takes what this member proposes.
  const hasArrived = isKnown() ? () => false : isKnown;
  await proposeUntilApplied(parts, path, JSON.stringify({ name, clientURLs: clientUrls }), hasArrived);
  parts.logger.log('info', 'published local member to cluster through raft', {
    'local-member-id': id,
    'local-member-attributes': `{Name:${name} ClientURLs:[${clientUrls.join(' ')}]}`,
    'request-path': path,
    'cluster-id': u64ToHex(parts.replication.clusterId),
  });
}
