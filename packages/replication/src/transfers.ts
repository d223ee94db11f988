import { type U64, U64_ZERO } from '@etsd/base';
import { ErrTimeoutLeaderTransfer, type EtcdError } from '@etsd/proto';
import type { RawNode } from '@etsd/raft';
import type { Waiter } from './applier.ts';
import type { Transport } from './peers/transport.ts';

class Transfer {
  readonly to: U64;
  readonly waiter: Waiter;
  /** The tick after which nobody waits any more. */
  readonly until: number;

  constructor(to: U64, until: number, waiter: Waiter) {
    this.to = to;
    this.until = until;
    this.waiter = waiter;
  }
}

/** Hand-overs of leadership that somebody waits for: until the member that was named leads. */
export class Transfers {
  private readonly raft: RawNode;
  private waiting: Transfer[] = [];

  constructor(raft: RawNode) {
    this.raft = raft;
  }

  /** Begins to hand over to a voter; this member leads. */
  start(to: U64, until: number, waiter: Waiter): void {
    this.waiting.push(new Transfer(to, until, waiter));
    this.raft.transferLeader(to);
  }

  /** Looks who leads now, and tries again where raft has given up. Cheap while nobody waits. */
  look(tick: number): void {
    if (this.waiting.length === 0) return;
    const { leader } = this.raft;
    const waiting = this.waiting;
    this.waiting = [];
    for (const transfer of waiting) {
      if (leader === transfer.to) transfer.waiter.done(null);
      else if (tick > transfer.until) transfer.waiter.fail(ErrTimeoutLeaderTransfer);
      else this.waiting.push(transfer);
    }
    const next = this.waiting[0];
    if (next !== undefined && this.raft.isLeader && this.raft.transferee === U64_ZERO)
      this.raft.transferLeader(next.to);
  }

  failAll(error: EtcdError): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const { waiter } of waiting) waiter.fail(error);
  }
}

/**
 * Who should lead when this leader goes: of the other voters that were heard of lately the one with the longest log, and
 * among equals the one that has been connected longest. Null where there is none.
 */
export function bestSuccessor(raft: RawNode, transport: Transport | null): U64 | null {
  let best: U64 | null = null;
  let bestMatch = -1;
  let bestSince = Number.POSITIVE_INFINITY;
  for (const { id, isLearner, recentActive, match } of raft.progress.values()) {
    if (id === raft.id || isLearner || !recentActive) continue;
    const since = transport?.activeSince?.(id) ?? Number.POSITIVE_INFINITY;
    if (match < bestMatch || (match === bestMatch && since >= bestSince)) continue;
    best = id;
    bestMatch = match;
    bestSince = since;
  }
  return best;
}
