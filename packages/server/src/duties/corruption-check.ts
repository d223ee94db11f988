/**
 * Looks for members whose keys differ, though they applied the same log: by a disk that lied, or by a mistake of ours.
 * Three ways, all etcd's, all comparing the hash of the keys at a revision:
 *
 * ```
 *  initial    before a member serves: its own hash at its own revision against that of the others ── differs ─► no start
 *  periodic   the leader: its hash now, those of the others at that revision, its own again ─┐
 *  compaction the leader: the hashes that each compaction has left, newest first, by ────────┴─ differs ─► CORRUPT alarm
 *             majority
 * ```
 * Hashes are comparable only where both sides had compacted the same; the rest is passed over and said.
 */
import { type Logger, OperatorError, type U64, U64_ZERO, u64ToHex } from '@etsd/base';
import type { KvHashResult } from '@etsd/mvcc';
import { ErrCompacted, ErrFutureRev, type EtcdError } from '@etsd/proto';
import type { ApiWaiter } from '../context.ts';
import type { KvHashes } from './kv-hashes.ts';
import { ErrClusterMismatch, type PeerHash, type PeerHashes } from './peer-hashes.ts';

type Fields = Record<string, unknown>;

export interface CorruptionCheckParts {
  readonly memberId: U64;
  readonly own: KvHashes;
  readonly peers: PeerHashes;
  /** What the last compactions left, oldest first. */
  readonly compactionHashes: () => readonly KvHashResult[];
  readonly readBarrier: (waiter: ApiWaiter) => void;
  /** Raises the CORRUPT alarm of a member, or with `U64_ZERO` that of the cluster. */
  readonly raise: (member: U64) => void;
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
}

export class CorruptionCheck {
  private readonly parts: CorruptionCheckParts;
  /** The newest compaction at which all members were seen to be equal. */
  private revisionChecked = 0;

  constructor(parts: CorruptionCheckParts) {
    this.parts = parts;
  }

  // -- before serving -------------------------------------------------------------------------------------------------

  /** Rejects if another member, at the same revision and having compacted the same, holds something else. */
  async initial(): Promise<void> {
    const { logger, memberId, requestTimeoutMs } = this.parts;
    const id = u64ToHex(memberId);
    logger.log('info', 'starting initial corruption check', {
      'local-member-id': id,
      timeout: `${requestTimeoutMs / 1000}s`,
    });
    const { result } = await this.ownHash();
    const answers = await new Promise<readonly PeerHash[]>((resolve) =>
      this.parts.peers.ask(result.hashRevision, resolve),
    );
    let mismatches = 0;
    for (const answer of answers) if (this.differsAtStart(result, answer)) mismatches++;
    if (mismatches > 0) {
      throw new OperatorError(
        `${id} found data inconsistency with peers`,
        'Its data differs from that of the members named in the log. Find out which are right (etcdctl endpoint hashkv), remove this member, delete its data directory and add it anew.',
      );
    }
    logger.log('info', 'initial corruption checking passed; no corruption', { 'local-member-id': id });
  }

  private differsAtStart(own: KvHashResult, { id, peerURLs, hash, error }: PeerHash): boolean {
    const { logger, memberId } = this.parts;
    const local = {
      'local-member-id': u64ToHex(memberId),
      'local-member-revision': own.hashRevision,
      'local-member-compact-revision': own.compactRevision,
      'local-member-hash': own.hash,
      'remote-peer-id': u64ToHex(id),
      'remote-peer-endpoints': peerURLs,
    };
    if (hash === null) {
      if (error === ErrFutureRev) logger.log('warn', 'cannot fetch hash from slow remote peer', local);
      else if (error === ErrCompacted) {
        logger.log('warn', 'cannot fetch hash from remote peer; local member is behind', local);
      } else if (error === ErrClusterMismatch) logger.log('warn', 'cluster ID mismatch', local);
      return false;
    }
    if (hash.hash === own.hash) return false;
    const both = {
      ...local,
      'remote-peer-revision': hash.currentRevision,
      'remote-peer-compact-revision': hash.compactRevision,
      'remote-peer-hash': hash.hash,
    };
    const isComparable = hash.compactRevision === own.compactRevision;
    const what = isComparable ? 'hash values' : 'compact revision values';
    logger.log('warn', `found different ${what} from remote peer`, both);
    return isComparable;
  }

  // -- now and then, on the leader ------------------------------------------------------------------------------------

  /** One comparison of everybody's keys as they are now. Rejects where it could not be made. At most one alarm. */
  async periodic(): Promise<void> {
    const { logger } = this.parts;
    const { result: first } = await this.ownHash();
    const answers = await new Promise<readonly PeerHash[]>((resolve) =>
      this.parts.peers.ask(first.hashRevision, resolve),
    );
    await new Promise<void>((resolve, reject) =>
      this.parts.readBarrier({ done: () => resolve(), fail: (error: EtcdError) => reject(error) }),
    );
    const { result: second, currentRevision } = await this.ownHash();
    const culprit =
      this.changedItself(first, second) ?? this.firstDiffering(first, second, currentRevision, answers) ?? null;
    if (culprit !== null) this.alarm(culprit);
    logger.log('info', 'finished peer corruption check', {
      'number-of-peers-checked': answers.filter(({ hash }) => hash !== null).length,
    });
  }

  /** This member, if the hash of the same revision is another one the second time. */
  private changedItself(first: KvHashResult, second: KvHashResult): U64 | null {
    const isSame = first.hashRevision === second.hashRevision && first.compactRevision === second.compactRevision;
    if (!isSame || first.hash === second.hash) return null;
    this.parts.logger.log('warn', 'found hash mismatch', {
      'revision-1': first.hashRevision,
      'compact-revision-1': first.compactRevision,
      'hash-1': first.hash,
      'revision-2': second.hashRevision,
      'compact-revision-2': second.compactRevision,
      'hash-2': second.hash,
    });
    return this.parts.memberId;
  }

  /** The first member that can not be right: ahead of the leader, or with other keys at the same revision. */
  private firstDiffering(
    first: KvHashResult,
    second: KvHashResult,
    currentRevision: number,
    answers: readonly PeerHash[],
  ): U64 | null {
    const { logger } = this.parts;
    for (const { id, hash } of answers) {
      if (hash === null) continue;
      const follower = { 'follower-peer-id': u64ToHex(id) };
      if (hash.currentRevision > currentRevision) {
        logger.log('warn', "revision from follower must be less than or equal to leader's", {
          'leader-revision': currentRevision,
          'follower-revision': hash.currentRevision,
          ...follower,
        });
        return id;
      }
      if (hash.compactRevision > second.compactRevision) {
        logger.log('warn', "compact revision from follower must be less than or equal to leader's", {
          'leader-compact-revision': second.compactRevision,
          'follower-compact-revision': hash.compactRevision,
          ...follower,
        });
        return id;
      }
      if (hash.compactRevision === first.compactRevision && hash.hash !== first.hash) {
        logger.log('warn', 'same compact revision then hashes must match', {
          'leader-compact-revision': second.compactRevision,
          'leader-hash': first.hash,
          'follower-compact-revision': hash.compactRevision,
          'follower-hash': hash.hash,
          ...follower,
        });
        return id;
      }
    }
    return null;
  }

  private ownHash(): Promise<{ result: KvHashResult; currentRevision: number }> {
    return new Promise((resolve, reject) => {
      this.parts.own.byRevision(0, (error, result, currentRevision) => {
        if (result === null) reject(error);
        else resolve({ result, currentRevision });
      });
    });
  }

  // -- after compactions, on the leader -------------------------------------------------------------------------------

  /** Compares the hashes of compactions, newest first, until one could be compared with every member, or differs. */
  async compactions(): Promise<void> {
    const { logger, memberId, requestTimeoutMs } = this.parts;
    logger.log('info', 'starting compact hash check', {
      'local-member-id': u64ToHex(memberId),
      timeout: `${requestTimeoutMs / 1000}s`,
    });
    const unchecked = this.parts
      .compactionHashes()
      .filter(({ hashRevision }) => hashRevision > this.revisionChecked)
      .sort((a, b) => b.hashRevision - a.hashRevision);
    let count = 0;
    for (const own of unchecked) {
      count++;
      const answers = await new Promise<readonly PeerHash[]>((resolve) =>
        this.parts.peers.ask(own.hashRevision, resolve),
      );
      if (answers.length > 0 && this.compare(own, answers)) break;
    }
    logger.log('info', 'finished compaction hash check', { 'number-of-hashes-checked': count });
  }

  /** True where older hashes need not be looked at: all members are equal here, or some differ. */
  private compare(own: KvHashResult, answers: readonly PeerHash[]): boolean {
    const { logger, memberId } = this.parts;
    const holders = new Map<number, U64[]>([[own.hash, [memberId]]]);
    let compared = 0;
    for (const answer of answers) {
      const reason = whyNotComparable(own, answer);
      if (reason !== null || answer.hash === null) {
        logger.log('warn', "Skipped peer's hash", {
          'number-of-peers': answers.length,
          'leader-id': u64ToHex(memberId),
          'peer-id': u64ToHex(answer.id),
          reason,
        });
        continue;
      }
      compared++;
      const same = holders.get(answer.hash.hash);
      if (same === undefined) holders.set(answer.hash.hash, [answer.id]);
      else same.push(answer.id);
    }
    if (holders.size > 1) {
      this.blame(own, holders, answers.length + 1);
      return true;
    }
    const fields: Fields = { 'number-of-peers-checked': compared };
    const where: Fields = { revision: own.hashRevision, compactRevision: own.compactRevision };
    if (compared === answers.length) {
      logger.log('info', 'successfully checked hash on whole cluster', { ...fields, ...where });
      this.revisionChecked = Math.max(this.revisionChecked, own.hashRevision);
      return true;
    }
    const message = 'skipped revision in compaction hash check; was not able to check all peers';
    logger.log('warn', message, { ...fields, 'number-of-peers': answers.length, ...where });
    return false;
  }

  /** The members that are not with the majority are at fault; where there is none, nobody knows who is. */
  private blame(own: KvHashResult, holders: Map<number, U64[]>, memberCount: number): void {
    const { logger, memberId } = this.parts;
    const leader = {
      'leader-id': u64ToHex(memberId),
      'leader-revision': own.hashRevision,
      'leader-compact-revision': own.compactRevision,
      'leader-hash': own.hash,
    };
    const quorum = Math.floor(memberCount / 2) + 1;
    const right = [...holders].find(([, ids]) => ids.length >= quorum)?.[0];
    if (right === undefined) {
      const message =
        'Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set the memberID as 0';
      logger.log('error', message, leader);
      this.alarm(U64_ZERO);
    }
    for (const [hash, ids] of holders) {
      if (hash === right) continue;
      if (right !== undefined) for (const id of ids) this.alarm(id);
      logger.log('error', 'Detected compaction hash mismatch', {
        ...leader,
        'peer-ids': ids.map(u64ToHex),
        'peer-hash': hash,
        'quorum-exist': right !== undefined,
      });
    }
  }

  private alarm(member: U64): void {
    this.parts.raise(member);
  }
}

function whyNotComparable(own: KvHashResult, { hash, error }: PeerHash): string | null {
  if (hash === null) return `no response: ${error?.message ?? ''}`;
  if (hash.compactRevision === own.compactRevision) return null;
  return `the peer's CompactRevision ${hash.compactRevision} doesn't match leader's CompactRevision ${own.compactRevision}`;
}
