/** Lets learners vote by themselves once they have caught up, where the operator asked for it (`--auto-promote-learners`). */
import { type Logger, type U64, u64ToHex } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import type { Members } from '@etsd/state';
import type { Promotion } from '../api/promotion.ts';

/** Time between two looks. */
const CHECK_MS = 1000;
/** Looks at which a learner must have been found ready, one after the other: one that lags again is not to vote yet. */
const READY_CHECKS = 3;
/** The part of the log it must have: more than an operator's request asks for, who may know better. */
const READY_SHARE = 0.99;

export interface LearnerPromotionParts {
  readonly every: (ms: number, callback: () => void) => { cancel(): void };
  readonly replication: { readonly isLeader: boolean; matchShare(id: U64): number | null };
  readonly members: Pick<Members, 'list'>;
  readonly activeSince: (id: U64) => number | null;
  readonly promotion: Pick<Promotion, 'promoteHere'>;
  readonly logger: Logger;
}

/** A duty of the leader; other members only look whether they lead by now. */
export class LearnerPromotion {
  private readonly parts: LearnerPromotionParts;
  private readonly timer: { cancel(): void };
  /** Looks in a row at which each learner was ready. */
  private ready = new Map<U64, number>();
  /** The last refusal that was logged: the same one is not said every second. */
  private lastRefusal = '';

  constructor(parts: LearnerPromotionParts) {
    this.parts = parts;
    this.timer = parts.every(CHECK_MS, this.check);
  }

  stop(): void {
    this.timer.cancel();
  }

  private readonly check = (): void => {
    const { replication, members } = this.parts;
    const before = this.ready;
    this.ready = new Map();
    if (!replication.isLeader) return;
    for (const { id, isLearner, isStarted } of members.list()) {
      if (!isLearner || !isStarted || !this.hasCaughtUp(id)) continue;
      const checks = (before.get(id) ?? 0) + 1;
      if (checks < READY_CHECKS) this.ready.set(id, checks);
      else this.promote(id);
    }
  };

  private hasCaughtUp(id: U64): boolean {
    const { replication, activeSince } = this.parts;
    return activeSince(id) !== null && (replication.matchShare(id) ?? 0) >= READY_SHARE;
  }

  private promote(id: U64): void {
    const { promotion, logger } = this.parts;
    const learner = u64ToHex(id);
    promotion.promoteHere(id, {
      done: () => {
        this.lastRefusal = '';
        logger.log('info', 'promoted a learner that has caught up', { 'learner-id': learner });
      },
      fail: (error: EtcdError) => {
        if (error.message === this.lastRefusal) return;
        this.lastRefusal = error.message;
        logger.log('warn', 'could not promote a learner', { 'learner-id': learner, error: error.message });
      },
    });
  }
}
