/** What the members that run already say of their cluster. */
import { errorFrom, type Logger, type U64, u64FromHex } from '@etsd/base';
import { type MemberRecord, membersFromJson, memberToJson } from '@etsd/state';
import { type AskOptions, askPeer } from './ask-peer.ts';

export interface RemoteCluster {
  readonly id: U64;
  readonly members: readonly MemberRecord[];
  /** The URL it was asked at. */
  readonly url: string;
}

export interface RemoteQuestion extends AskOptions {
  readonly logger: Logger;
  /** Whether a URL that does not answer is worth a warning. */
  readonly warns: boolean;
}

/** Asks all URLs at once who their members are: the first good answer, or null where none of them gives one. */
export async function askForCluster(urls: readonly string[], question: RemoteQuestion): Promise<RemoteCluster | null> {
  try {
    return await Promise.any(urls.map((url) => askOne(url, question)));
  } catch {
    return null;
  }
}

async function askOne(url: string, question: RemoteQuestion): Promise<RemoteCluster> {
  try {
    const { status, headers, body } = await askPeer(url, '/members', question);
    const id = u64FromHex(headers.get('x-etcd-cluster-id') ?? '');
    const members = membersFromJson(body.toString('utf8'));
    if (status !== 200 || id === undefined || members === undefined) {
      throw new Error(`answer ${status} tells no members of a cluster`);
    }
    if (members.length === 0) throw new Error('failed to get raft cluster member(s) from the given URLs');
    return { id, members, url };
  } catch (error) {
    if (question.warns) {
      const address = `${url}/members`;
      question.logger.log('warn', 'failed to get cluster response', { address, error: errorFrom(error).message });
    }
    throw error;
  }
}

/** As etcd's messages show members. */
export function describeMembers(cluster: RemoteCluster): string {
  return `{ClusterID:${cluster.id.replace(/^0+/, '')} Members:[${cluster.members.map(memberToJson).join(' ')}]}`;
}
