/**
 * How members compare what they hold: one asks another for the hash of its keys at a revision, at `/members/hashkv` of
 * the peer address. Both ends are here.
 */
import { type Logger, type U64, u64ToHex } from '@etsd/base';
import { ErrCompacted, ErrFutureRev, EtcdError, GrpcCode } from '@etsd/proto';
import type { MemberRecord } from '@etsd/state';
import type { KvHashes } from './kv-hashes.ts';
import type { PeerRequests } from './member-versions.ts';

export const HASH_PATH = '/members/hashkv';

const CLUSTER_MISMATCH_TEXT = 'cluster ID mismatch';
export const ErrClusterMismatch = new EtcdError(GrpcCode.Unknown, CLUSTER_MISMATCH_TEXT);

/** What the texts of an answer with status 400 mean. */
const FUTURE_TEXT = 'mvcc: required revision is a future revision';
const COMPACTED_TEXT = 'mvcc: required revision has been compacted';

// -- the end that answers ---------------------------------------------------------------------------------------------

export interface HashAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface HashAnswererParts {
  readonly hashes: KvHashes;
  readonly clusterId: U64;
  readonly logger: Logger;
}

/** Answers a request that came to `HASH_PATH`; once, now or later. `clusterHeader` is its X-Etcd-Cluster-Id, if any. */
export function answerHash(
  parts: HashAnswererParts,
  clusterHeader: string,
  body: Buffer,
  reply: (answer: HashAnswer) => void,
): void {
  const { clusterId, hashes, logger } = parts;
  if (clusterHeader !== '' && clusterHeader !== u64ToHex(clusterId)) {
    reply(text(412, CLUSTER_MISMATCH_TEXT));
    return;
  }
  const revision = revisionIn(body);
  if (revision === null) {
    logger.log('warn', 'failed to unmarshal request', { error: `not a question for a hash: ${shown(body)}` });
    reply(text(400, 'error unmarshalling request'));
    return;
  }
  hashes.byRevision(revision, (error, result, currentRevision) => {
    if (result === null) {
      const reason = (error as EtcdError).message.replace(/^etcdserver: /, '');
      logger.log('warn', 'failed to get hashKV', { 'requested-revision': revision, error: reason });
      reply(text(400, reason));
      return;
    }
    const answer: Record<string, unknown> = { header: { revision: currentRevision } };
    // As everything in this JSON, a zero is left out.
    if (result.hash !== 0) answer['hash'] = result.hash;
    if (result.compactRevision !== 0) answer['compact_revision'] = result.compactRevision;
    reply({ status: 200, contentType: 'application/json', body: JSON.stringify(answer) });
  });
}

/** The revision asked for, 0 where none is; null where the body is not understood. */
function revisionIn(body: Buffer): number | null {
  let question: unknown;
  try {
    question = JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
  if (question === null) return 0;
  if (typeof question !== 'object' || Array.isArray(question)) return null;
  const entry = Object.entries(question).find(([name]) => name.toLowerCase() === 'revision');
  const revision: unknown = entry?.[1] ?? 0;
  return Number.isSafeInteger(revision) ? (revision as number) : null;
}

function text(status: number, message: string): HashAnswer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${message}\n` };
}

function shown(body: Buffer): string {
  return JSON.stringify(body.toString('utf8', 0, 100));
}

// -- the end that asks ------------------------------------------------------------------------------------------------

/** What another member said. Exactly one of `hash` and `error` is null. */
export interface PeerHash {
  readonly id: U64;
  readonly peerURLs: readonly string[];
  readonly hash: { readonly hash: number; readonly compactRevision: number; readonly currentRevision: number } | null;
  /** `ErrFutureRev`, `ErrCompacted`, `ErrClusterMismatch` or what kept the member from answering. */
  readonly error: Error | null;
}

export interface PeerHashesParts {
  readonly memberId: U64;
  readonly peers: PeerRequests;
  readonly members: () => readonly Pick<MemberRecord, 'id' | 'peerURLs'>[];
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** Asks all other members for the hash at a revision. */
export class PeerHashes {
  private readonly parts: PeerHashesParts;

  constructor(parts: PeerHashesParts) {
    this.parts = parts;
  }

  /** `done` hears of every other member, in the order of their ids; at once where there is none. */
  ask(revision: number, done: (answers: readonly PeerHash[]) => void): void {
    const { logger, memberId, members, peers, timeoutMs } = this.parts;
    const others = members().filter(({ id }) => id !== memberId);
    const answers = new Map<U64, PeerHash>();
    if (others.length === 0) {
      done([]);
      return;
    }
    const body = Buffer.from(JSON.stringify({ revision }));
    for (const { id, peerURLs } of others) {
      peers.request(id, 'GET', HASH_PATH, body, 'application/json', timeoutMs, (failure, status, answer) => {
        const hash = failure === null && status === 200 ? readHash(answer) : null;
        const error = hash === null ? (failure ?? refusalOf(status, answer.toString('utf8', 0, 1000).trim())) : null;
        if (error !== null) {
          logger.log('warn', 'failed hash kv request', {
            'local-member-id': u64ToHex(memberId),
            'requested-revision': revision,
            'remote-peer-id': u64ToHex(id),
            'remote-peer-endpoint': peerURLs.join(','),
            error: error.message,
          });
        }
        answers.set(id, { id, peerURLs, hash, error });
        if (answers.size === others.length) done(others.map((other) => answers.get(other.id) as PeerHash));
      });
    }
  }
}

function readHash(body: Buffer): PeerHash['hash'] {
  try {
    const answer = JSON.parse(body.toString('utf8')) as Record<string, unknown> & { header?: Record<string, unknown> };
    const { hash = 0, compact_revision: compactRevision = 0 } = answer;
    const currentRevision = answer.header?.['revision'] ?? 0;
    if (![hash, compactRevision, currentRevision].every(Number.isSafeInteger)) return null;
    return {
      hash: hash as number,
      compactRevision: compactRevision as number,
      currentRevision: currentRevision as number,
    };
  } catch {
    return null;
  }
}

function refusalOf(status: number, message: string): Error {
  if (status === 400 && message.includes(FUTURE_TEXT)) return ErrFutureRev;
  if (status === 400 && message.includes(COMPACTED_TEXT)) return ErrCompacted;
  if (status === 412 && message.includes(CLUSTER_MISMATCH_TEXT)) return ErrClusterMismatch;
  return new Error(`unknown error (status ${status}): ${message}`);
}
