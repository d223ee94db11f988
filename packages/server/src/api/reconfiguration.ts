/**
 * What `--strict-reconfig-check` asks before a change of membership is proposed: that the quorum of those who remain is
 * there, so that the change does not leave a cluster which can not decide anything any more. The rules, and the order in
 * which they speak, are etcd's.
 */
import type { U64 } from '@etsd/base';
import { ErrUnhealthy, type EtcdError, ErrMemberNotEnoughStarted as NotEnoughStarted, unknownError } from '@etsd/proto';
import type { MemberRecord, Members } from '@etsd/state';

/** A member counts as connected once its connection has stood this long. */
const HEALTHY_AFTER_MS = 5000;

/** etcd 3.5 sends this one without its code. */
export const ErrMemberNotEnoughStarted = unknownError(NotEnoughStarted.message);

export interface ReconfigurationParts {
  readonly members: Pick<Members, 'get' | 'voters'>;
  readonly memberId: U64;
  /** Time since when this member is connected to another, on the clock of `nowMs`, or null. */
  readonly activeSince: (id: U64) => number | null;
  readonly nowMs: () => number;
  /** `--strict-reconfig-check`. */
  readonly isStrict: boolean;
}

/** Each method gives the reason against a change, or null. */
export class Reconfiguration {
  private readonly parts: ReconfigurationParts;

  constructor(parts: ReconfigurationParts) {
    this.parts = parts;
  }

  /**
   * A majority of the voters, the new one counted, must have started, and be connected to this member; connections are
   * asked for a learner as well, as if it were to vote. Somebody who is alone has nobody to be connected to.
   */
  againstAdding(isLearner: boolean): EtcdError | null {
    if (!this.parts.isStrict) return null;
    const voters = this.parts.members.voters();
    const started = startedIn(voters);
    const count = voters.length + 1;
    // One of two: the way from one member to several must be open.
    if (!isLearner && !(started === 1 && count === 2) && started < quorumOf(count)) return ErrMemberNotEnoughStarted;
    return voters.length === 1 || this.connected(voters) >= quorumOf(count) ? null : ErrUnhealthy;
  }

  /** A majority of those who stay must have started, and be connected unless it is a dead one that goes. */
  againstRemoving(id: U64): EtcdError | null {
    const { members, memberId, isStrict, activeSince } = this.parts;
    if (!isStrict || members.get(id)?.isLearner === true) return null;
    const voters = members.voters();
    const staying = voters.filter((member) => member.id !== id);
    if (startedIn(staying) < quorumOf(staying.length)) return ErrMemberNotEnoughStarted;
    if (id !== memberId && activeSince(id) === null) return null;
    const needed = 1 + Math.floor((voters.length - 1) / 2);
    return this.connected(voters) - 1 < needed ? ErrUnhealthy : null;
  }

  /** A majority of the voters, the learner counted as one that has started, must have started. */
  againstPromoting(): EtcdError | null {
    if (!this.parts.isStrict) return null;
    const voters = this.parts.members.voters();
    return startedIn(voters) + 1 < quorumOf(voters.length + 1) ? ErrMemberNotEnoughStarted : null;
  }

  /** How many of these this member has been connected to for long enough; itself is one. */
  private connected(voters: readonly MemberRecord[]): number {
    const { memberId, activeSince, nowMs } = this.parts;
    const latest = nowMs() - HEALTHY_AFTER_MS;
    let count = 0;
    for (const { id } of voters) {
      const since = id === memberId ? Number.NEGATIVE_INFINITY : activeSince(id);
      if (since !== null && since <= latest) count++;
    }
    return count;
  }
}

function startedIn(members: readonly MemberRecord[]): number {
  return members.filter((member) => member.isStarted).length;
}

function quorumOf(count: number): number {
  return Math.floor(count / 2) + 1;
}
