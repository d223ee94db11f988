/**
 * Making a learner vote. Only the leader knows how far a learner has come, so that any other member sends the request
 * on to it, over the peers' HTTP, as etcd does.
 */
import { type U64, U64_ZERO, u64FromHalves, u64ToDecimal } from '@etsd/base';
import {
  ErrLearnerNotReady,
  ErrMemberNotFound,
  ErrMemberNotLearner,
  ErrNoLeader,
  ErrNotLeader,
  ErrTimeout,
  EtcdError,
  GrpcCode,
} from '@etsd/proto';
import { type MemberRecord, type MembersResult, membersFromJson, promoteMemberChange } from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { ErrMemberNotEnoughStarted, type Reconfiguration } from './reconfiguration.ts';

export const PROMOTE_PATH = '/members/promote/';

/** The part of the leader's log that a learner must have. */
const READY_SHARE = 0.9;
/** Time given to a request, beside two elections. */
const REQUEST_MS = 5000;
/** Pause before the leader, perhaps another one by then, is asked again. */
const RETRY_MS = 100;

/** Asks a member over the peers' HTTP (`HttpTransport.request`). */
export type PeerRequest = (
  member: U64,
  method: string,
  path: string,
  body: Buffer | null,
  contentType: string,
  timeoutMs: number,
  done: (error: Error | null, status: number, body: Buffer) => void,
) => void;

export interface PromotionParts {
  readonly context: MemberContext;
  readonly rules: Reconfiguration;
  readonly request: PeerRequest;
  readonly figures: PromotionFigures;
}

/** Promotions that this member decided on as leader. */
export class PromotionFigures {
  successes = 0;
  /** By reason, in etcd's words for its logs. */
  readonly failures = new Map<string, number>();

  failed(error: EtcdError): void {
    const reason = REASONS.get(error) ?? error.message;
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1);
  }
}

const REASONS: ReadonlyMap<EtcdError, string> = new Map([
  [ErrMemberNotFound, 'membership: ID not found'],
  [ErrMemberNotLearner, 'membership: can only promote a learner member'],
]);

/** Who waits for a learner to vote: hears the members as they are then. */
export interface PromotionWaiter {
  done(members: readonly MemberRecord[]): void;
  fail(error: EtcdError): void;
}

export class Promotion {
  private readonly parts: PromotionParts;

  constructor(parts: PromotionParts) {
    this.parts = parts;
  }

  /** Promotes here or through the leader, whoever that is within the time of a request. */
  promote(id: U64, waiter: PromotionWaiter): void {
    const { clock } = this.parts.context.world;
    const deadlineMs = clock.nowMs() + REQUEST_MS + 2 * this.parts.context.config.electionTimeoutMs;
    this.attempt(id, deadlineMs, waiter);
  }

  /** Promotes as leader; fails with `ErrNotLeader` elsewhere. */
  promoteHere(id: U64, waiter: PromotionWaiter): void {
    const { context } = this.parts;
    const { figures } = this.parts;
    const refused = this.reasonAgainst(id);
    if (refused !== null) {
      if (refused !== ErrNotLeader) figures.failed(refused);
      waiter.fail(refused);
      return;
    }
    const change = promoteMemberChange(context.state.members.get(id) as MemberRecord);
    const requestId = context.replication.nextRequestId();
    change.id = u64FromHalves(requestId.high, requestId.low);
    context.replication.proposeConfChange(change, {
      done: (result) => {
        figures.successes++;
        waiter.done((result as MembersResult).members);
      },
      fail: (error) => {
        figures.failed(error);
        waiter.fail(error);
      },
    });
  }

  private reasonAgainst(id: U64): EtcdError | null {
    const { context, rules } = this.parts;
    const { replication, state } = context;
    if (!replication.isLeader) return ErrNotLeader;
    const member = state.members.get(id);
    if (member === undefined) return ErrMemberNotFound;
    if (!member.isLearner) return ErrMemberNotLearner;
    if ((replication.matchShare(id) ?? 0) < READY_SHARE) return ErrLearnerNotReady;
    return rules.againstPromoting();
  }

  private attempt(id: U64, deadlineMs: number, waiter: PromotionWaiter): void {
    const { context, request } = this.parts;
    const { replication, world } = context;
    const leftMs = deadlineMs - world.clock.nowMs();
    const again = (): void => {
      if (leftMs <= RETRY_MS) waiter.fail(replication.leader === U64_ZERO ? ErrNoLeader : ErrTimeout);
      else world.timers.after(RETRY_MS, () => this.attempt(id, deadlineMs, waiter));
    };
    if (replication.isLeader) {
      this.promoteHere(id, {
        done: (members) => waiter.done(members),
        fail: (error) => (error === ErrNotLeader ? again() : waiter.fail(error)),
      });
      return;
    }
    if (replication.leader === U64_ZERO) {
      again();
      return;
    }
    const path = `${PROMOTE_PATH}${u64ToDecimal(id)}`;
    request(replication.leader, 'POST', path, null, '', Math.max(1, leftMs), (error, status, body) => {
      const answer = error === null ? readAnswer(status, body.toString('utf8')) : null;
      if (answer === null) again();
      else if (answer instanceof EtcdError) waiter.fail(answer);
      else waiter.done(answer);
    });
  }
}

/** What the leader's answer means; null: nothing final, ask again. */
function readAnswer(status: number, body: string): MemberRecord[] | EtcdError | null {
  if (status === 200) return membersFromJson(body) ?? unreadable(body);
  if (status === 404) return ErrMemberNotFound;
  if (status === 408) return ErrTimeout;
  if (status === 412) {
    if (body.includes(ErrLearnerNotReady.message)) return ErrLearnerNotReady;
    return body.includes(MEMBER_NOT_LEARNER_TEXT) ? ErrMemberNotLearner : unreadable(body);
  }
  // Members of etcd say no more than that something went wrong.
  return body.includes(ErrMemberNotEnoughStarted.message) ? ErrMemberNotEnoughStarted : null;
}

function unreadable(body: string): EtcdError {
  return new EtcdError(GrpcCode.Unknown, `member promote: unknown error(${body})`);
}

/** How etcd says between members that the id is none, or none of a learner. */
const ID_NOT_FOUND_TEXT = 'membership: ID not found';
const MEMBER_NOT_LEARNER_TEXT = 'membership: can only promote a learner member';

/** Status and text of a failure, for the member that asked. */
export function promotionFailure(error: EtcdError): { readonly status: number; readonly text: string } {
  if (error === ErrMemberNotFound) return { status: 404, text: ID_NOT_FOUND_TEXT };
  if (error === ErrMemberNotLearner) return { status: 412, text: MEMBER_NOT_LEARNER_TEXT };
  if (error === ErrLearnerNotReady) return { status: 412, text: error.message };
  return { status: 500, text: JSON.stringify({ message: error.message }) };
}
