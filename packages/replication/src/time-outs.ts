import { U64_ZERO } from '@etsd/base';
import { ErrTimeout, ErrTimeoutDueToConnectionLost, ErrTimeoutDueToLeaderFail, type EtcdError } from '@etsd/proto';
import type { RawNode } from '@etsd/raft';
import type { Clock } from '@etsd/runtime';
import type { Transport } from './peers/transport.ts';

export interface TimeOutParts {
  readonly raft: RawNode;
  readonly transport: Transport | null;
  readonly clock: Clock;
  /** Ticks of two election time-outs: how long before its successor's election a leader may have been lost. */
  readonly lossTicks: number;
  /** Length of a tick. */
  readonly tickMs: number;
}

/** Says why a request that was in the hands of a leader has no answer in time, as etcd does. */
export class TimeOuts {
  private readonly parts: TimeOutParts;
  /** When the present leader was first heard of, in ticks. */
  private leaderSince = 0;

  constructor(parts: TimeOutParts) {
    this.parts = parts;
  }

  /** There is another leader from this tick on. */
  leaderChanged(tick: number): void {
    this.leaderSince = tick;
  }

  /**
   * The reason for a request that came at `since`, now that it is `tick`:
   *
   *     it came in the two election time-outs before the present leader's election    its leader probably failed
   *     the leader, or a majority where this member leads, was not connected throughout    the connection was lost
   *     otherwise    no reason is known
   */
  reason(since: number, tick: number): EtcdError {
    const { lossTicks, tickMs, clock, raft } = this.parts;
    if (since > this.leaderSince - lossTicks && since < this.leaderSince) return ErrTimeoutDueToLeaderFail;
    if (raft.leader === U64_ZERO) return ErrTimeout;
    const sinceMs = clock.nowMs() - (tick - since) * tickMs;
    return this.wasConnected(sinceMs) ? ErrTimeout : ErrTimeoutDueToConnectionLost;
  }

  private wasConnected(sinceMs: number): boolean {
    const { raft, transport } = this.parts;
    if (transport?.activeSince === undefined) return true;
    if (!raft.isLeader) return isActiveSince(transport.activeSince(raft.leader), sinceMs);
    let voters = 0;
    let connected = 0;
    for (const { id, isLearner } of raft.progress.values()) {
      if (isLearner) continue;
      voters++;
      if (id === raft.id || isActiveSince(transport.activeSince(id), sinceMs)) connected++;
    }
    return connected > voters / 2;
  }
}

function isActiveSince(activeMs: number | null, sinceMs: number): boolean {
  return activeMs !== null && activeMs <= sinceMs;
}
