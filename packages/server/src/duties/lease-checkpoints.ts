/**
 * Writes into the log how much time long leases have left, so that a new leader, or this member after a restart, goes
 * on from there and not from the full time to live. A pass over all leases takes half the interval, a little at each
 * tick; a lease is written down once it has lost an interval since it was last. So a crash gives a lease back at most
 * one and a half intervals, however long it is, and a million leases cost a few entries a second. On an orderly stop
 * the rest is written down too. Members that are real etcd apply these entries like their own.
 */
import { LeaseCheckpoint, LeaseCheckpointRequest, RaftRequestField, writeRaftRequest } from '@etsd/proto';
import type { Lease, LeaseTable } from '@etsd/state';
import type { ApiReplication, ApiWaiter, ApiWorld } from '../context.ts';

/** Checkpoints in one entry of the log, as etcd's. */
const BATCH = 1000;
/** Leases looked at in one go. */
const VISIT_MAX = 5000;
/** On an orderly stop: entries waited for at a time, and what a lease must have lost to be written down. */
const FINAL_IN_FLIGHT = 4;
const FINAL_TTL_MIN_SECONDS = 60;
const FINAL_LOSS_MIN_SECONDS = 10;

export interface LeaseCheckpointsParts {
  readonly world: ApiWorld;
  readonly replication: Pick<ApiReplication, 'propose' | 'nextRequestId'>;
  readonly leases: Pick<LeaseTable, 'size' | 'values'>;
  /** Whole seconds a lease has left; below zero where its deadline is not known (yet). */
  readonly secondsLeft: (lease: Lease) => number;
  readonly intervalMs: number;
}

/** Puts how much time leases have left into the log; both lists have the same length. */
export function proposeCheckpoints(
  replication: Pick<ApiReplication, 'propose' | 'nextRequestId'>,
  checkpoints: LeaseCheckpoint[],
  waiter: ApiWaiter,
): void {
  const body = LeaseCheckpointRequest.encode(LeaseCheckpointRequest.create({ checkpoints }));
  const { high, low } = replication.nextRequestId();
  replication.propose(
    writeRaftRequest(RaftRequestField.LeaseCheckpoint, body, 0, body.length, high, low, '', 0),
    waiter,
  );
}

/** A checkpoint that fails is made again a pass later. */
const nobody: ApiWaiter = { done: () => {}, fail: () => {} };

export class LeaseCheckpoints {
  private readonly parts: LeaseCheckpointsParts;
  private cursor: Iterator<Lease>;

  constructor(parts: LeaseCheckpointsParts) {
    this.parts = parts;
    this.cursor = parts.leases.values();
  }

  /** The next part of the pass; `elapsedMs` since the last one. */
  tick(elapsedMs: number): void {
    const { leases, intervalMs } = this.parts;
    const visits = Math.min(VISIT_MAX, Math.ceil((leases.size * elapsedMs * 2) / intervalMs));
    const seconds = intervalMs / 1000;
    let batch: LeaseCheckpoint[] = [];
    for (let count = 0; count < visits; count++) {
      const { value: lease, done } = this.cursor.next();
      if (done === true) {
        this.cursor = leases.values();
        break;
      }
      if (!this.isWorth(lease, seconds, seconds)) continue;
      batch.push(LeaseCheckpoint.create({ ID: lease.id, remainingTTL: this.parts.secondsLeft(lease) }));
      if (batch.length < BATCH) continue;
      proposeCheckpoints(this.parts.replication, batch, nobody);
      batch = [];
    }
    if (batch.length > 0) proposeCheckpoints(this.parts.replication, batch, nobody);
  }

  private isWorth(lease: Lease, ttlAbove: number, lossMin: number): boolean {
    if (lease.ttl <= ttlAbove) return false;
    const left = this.parts.secondsLeft(lease);
    const known = lease.remaining > 0 ? lease.remaining : lease.ttl;
    return left > 0 && known - left >= lossMin;
  }

  /** Before an orderly stop: writes down all that is worth it. `done` is called once that is in the log or has failed. */
  final(done: () => void): void {
    new FinalPass(this.parts, (lease) => this.isWorth(lease, FINAL_TTL_MIN_SECONDS, FINAL_LOSS_MIN_SECONDS), done).go();
  }
}

/** One pass over all leases, a slice a turn, some entries at a time. */
class FinalPass implements ApiWaiter {
  private readonly parts: LeaseCheckpointsParts;
  private readonly isWorth: (lease: Lease) => boolean;
  private readonly finished: () => void;
  private readonly cursor: Iterator<Lease>;
  private batch: LeaseCheckpoint[] = [];
  private inFlight = 0;
  private atEnd = false;
  private scheduled = false;
  private isFinished = false;

  constructor(parts: LeaseCheckpointsParts, isWorth: (lease: Lease) => boolean, finished: () => void) {
    this.parts = parts;
    this.isWorth = isWorth;
    this.finished = finished;
    this.cursor = parts.leases.values();
  }

  readonly go = (): void => {
    this.scheduled = false;
    for (let count = 0; count < VISIT_MAX && !this.atEnd && this.inFlight < FINAL_IN_FLIGHT; count++) this.visit();
    if (this.atEnd) {
      if (this.inFlight > 0 || this.isFinished) return;
      this.isFinished = true;
      this.finished();
    } else if (this.inFlight < FINAL_IN_FLIGHT) {
      this.later();
    }
  };

  private visit(): void {
    const { value: lease, done } = this.cursor.next();
    this.atEnd = done === true;
    if (done !== true && this.isWorth(lease)) {
      this.batch.push(LeaseCheckpoint.create({ ID: lease.id, remainingTTL: this.parts.secondsLeft(lease) }));
    }
    if (this.batch.length === BATCH || (this.atEnd && this.batch.length > 0)) {
      this.inFlight++;
      const batch = this.batch;
      this.batch = [];
      proposeCheckpoints(this.parts.replication, batch, this);
    }
  }

  private later(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.parts.world.timers.endOfTurn(this.go);
  }

  done(): void {
    this.inFlight--;
    this.later();
  }

  fail(): void {
    this.done();
  }
}
