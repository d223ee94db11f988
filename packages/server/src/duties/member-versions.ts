import { type Logger, type U64, u64ToHex } from '@etsd/base';
import type { MemberRecord } from '@etsd/state';
import type { MemberVersions } from './version-rules.ts';

/** Asks another member over its peer address; `HttpTransport` of replication does. */
export interface PeerRequests {
  request(
    member: U64,
    method: string,
    path: string,
    body: Buffer | null,
    contentType: string,
    timeoutMs: number,
    done: (error: Error | null, status: number, body: Buffer) => void,
  ): void;
}

/** How long a member may take to tell its version. */
const ANSWER_TIMEOUT_MS = 3000;

export interface MemberVersionsParts {
  readonly memberId: U64;
  readonly peers: PeerRequests;
  readonly members: () => readonly Pick<MemberRecord, 'id' | 'peerURLs'>[];
  /** What this member itself would answer. */
  readonly own: () => MemberVersions;
  readonly logger: Logger;
}

/** Asks all members for their versions, as they stand at `/version` of the peer address. */
export class MemberVersionsSource {
  private readonly parts: MemberVersionsParts;

  constructor(parts: MemberVersionsParts) {
    this.parts = parts;
  }

  /** `done` gets one answer for each member, null for those that did not say; at once where this member is alone. */
  ask(done: (answers: ReadonlyMap<U64, MemberVersions | null>) => void): void {
    const { memberId, peers, members, own } = this.parts;
    const answers = new Map<U64, MemberVersions | null>([[memberId, own()]]);
    const others = members().filter(({ id }) => id !== memberId);
    if (others.length === 0) {
      done(answers);
      return;
    }
    let missing = others.length;
    for (const { id, peerURLs } of others) {
      peers.request(id, 'GET', '/version', null, '', ANSWER_TIMEOUT_MS, (error, status, body) => {
        answers.set(id, this.read(id, peerURLs, error, status, body));
        if (--missing === 0) done(answers);
      });
    }
  }

  private read(
    id: U64,
    peerURLs: readonly string[],
    error: Error | null,
    status: number,
    body: Buffer,
  ): MemberVersions | null {
    const versions = error === null && status === 200 ? parseVersions(body) : null;
    if (versions === null) {
      this.parts.logger.log('warn', 'failed to get version', {
        'remote-member-id': u64ToHex(id),
        address: peerURLs.map((url) => `${url}/version`).join(','),
        error: error?.message ?? `the answer (status ${status}) is not understood`,
      });
    }
    return versions;
  }
}

function parseVersions(body: Buffer): MemberVersions | null {
  try {
    const { etcdserver, etcdcluster } = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
    if (typeof etcdserver !== 'string' || typeof etcdcluster !== 'string') return null;
    return { server: etcdserver, cluster: etcdcluster };
  } catch {
    return null;
  }
}
