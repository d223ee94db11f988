/**
 * The leader's duty towards leases: it alone knows the time, keeps a deadline for each lease, answers renewals and has
 * the log revoke what expired.
 *
 * ```
 *  became leader, first entry of its term applied ── promote ──► every lease gets deadline = now + time left + election,
 *                                                                a slice a turn, spread over the seconds
 *  tick (500 ms) ─► due? ─► still leader? (read barrier) ─► revoke through the log, so many a second, again if not done
 *  renewal ───────► still leader? (one barrier for all of a turn) ─► deadline = now + ttl
 *  lost leadership ── demote ──► nothing expires here any more
 * ```
 * The heap is ordered by deadlines as they were when a lease was put there; a renewal only moves `deadline`, and the
 * lease is put back when the old one is reached. A member that was paused must not act on what it believed before:
 * hence the barrier, and a clock that does not count pauses.
 */
import { Heap, type U64 } from '@etsd/base';
import {
  ErrNotPrimaryLessor,
  type EtcdError,
  LeaseCheckpoint,
  LeaseRevokeRequest,
  RaftRequestField,
  writeRaftRequest,
} from '@etsd/proto';
import type { Lease, LeaseListener, Lessor } from '@etsd/state';
import type { ApiReplication, ApiWaiter, ApiWorld, TimerHandle } from '../context.ts';
import { doubled, Histogram } from '../metrics.ts';
import type { Caller } from '../tokens.ts';
import { LeaseCheckpoints, proposeCheckpoints } from './lease-checkpoints.ts';
import { LeaseClock } from './lease-clock.ts';
import { Spread } from './lease-spread.ts';

const TICK_MS = 500;
/** A revoke that has not been applied after this long is asked for again. */
const RETRY_MS = 3000;
/** Leases given a deadline, or put back with a later one, in one go. */
const SLICE = 4000;
/** Checkpoints in one entry. */
const CHECKPOINT_BATCH = 1000;

export const REVOKES_PER_SECOND = 1000;
export const CHECKPOINT_INTERVAL_MS = 5 * 60 * 1000;

/** Who waits for a renewal. */
export interface RenewWaiter {
  /** The time to live from now on in seconds; 0 where there is no such lease (any more). */
  renewed(ttl: number): void;
  /** This member can not renew: it is not, or no longer, the leader, or can not find out. */
  failed(error: EtcdError): void;
}

export interface LeaseExpiryParts {
  readonly world: ApiWorld;
  readonly replication: ApiReplication;
  readonly lessor: Lessor;
  /** All leases live this much longer after a change of leader, in milliseconds. */
  readonly electionMs: number;
  readonly revokesPerSecond: number;
  readonly checkpointIntervalMs: number;
  /** In whose name leases are revoked. */
  readonly asRoot: () => Caller;
}

const nobody: ApiWaiter = { done: () => {}, fail: () => {} };

/** What happened to leases since the start, as this member saw it. */
class LeaseFigures {
  granted = 0;
  revoked = 0;
  /** By this member as leader. */
  renewed = 0;
  /** Times to live that were granted, in seconds. */
  readonly ttls = new Histogram(doubled(1, 24));
}

export class LeaseExpiry implements LeaseListener {
  /** This member keeps the deadlines. */
  isPrimary = false;
  /** Revokes asked for since the start. */
  revokesProposed = 0;
  readonly figures = new LeaseFigures();

  private readonly parts: LeaseExpiryParts;
  private readonly clock: LeaseClock;
  private readonly checkpoints: LeaseCheckpoints;
  private timer: TimerHandle | null = null;
  private deadlines = new Heap<Lease>();
  /** Changes with every promotion and demotion: what was begun in another epoch is void. */
  private epoch = 0;

  // Promotion.
  private unscheduled: Iterator<Lease> | null = null;
  private spread = new Spread(1);

  // Expiry.
  private confirming = false;
  private revokesLeft = 0;

  // Renewal.
  private gathered: Renewal[] = [];
  private renewalScheduled = false;
  private readonly afterRevoke = new Map<Lease, RenewWaiter[]>();

  constructor(parts: LeaseExpiryParts) {
    this.parts = parts;
    this.clock = new LeaseClock(parts.world.clock.nowMs(), 2 * TICK_MS);
    this.checkpoints = new LeaseCheckpoints({
      world: parts.world,
      replication: parts.replication,
      leases: parts.lessor.leases,
      secondsLeft: (lease) => (this.isScheduled(lease) ? this.secondsLeft(lease) : -1),
      intervalMs: parts.checkpointIntervalMs,
    });
    parts.lessor.listener = this;
  }

  start(): void {
    this.timer ??= this.parts.world.timers.every(TICK_MS, this.tick);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
    this.demote();
  }

  // -- the office -----------------------------------------------------------------------------------------------------

  /** This member leads and has applied the first entry of its term. */
  promote(): void {
    this.reset();
    this.isPrimary = true;
    this.spread = new Spread(Math.max(1, Math.floor((this.parts.revokesPerSecond * 3) / 4)));
    this.unscheduled = this.parts.lessor.leases.values();
    this.scheduleSome();
  }

  /** This member does not lead any more. */
  demote(): void {
    if (this.isPrimary) this.reset();
  }

  private reset(): void {
    this.isPrimary = false;
    this.epoch++;
    this.unscheduled = null;
    this.confirming = false;
    this.deadlines = new Heap<Lease>();
    const waiting = [...this.afterRevoke.values()];
    this.afterRevoke.clear();
    for (const waiters of waiting) for (const waiter of waiters) waiter.failed(ErrNotPrimaryLessor);
  }

  private readonly scheduleSome = (): void => {
    const cursor = this.unscheduled;
    if (cursor === null) return;
    const nowMs = this.nowMs();
    for (let count = 0; count < SLICE; count++) {
      const { value: lease, done } = cursor.next();
      if (done === true) {
        this.unscheduled = null;
        return;
      }
      if (!this.isScheduled(lease)) this.scheduleExtended(lease, nowMs);
    }
    this.parts.world.timers.endOfTurn(this.scheduleSome);
  };

  private scheduleExtended(lease: Lease, nowMs: number): void {
    const leftMs = (lease.remaining > 0 ? lease.remaining : lease.ttl) * 1000 + this.parts.electionMs;
    const delay = this.spread.delay(Math.floor((nowMs + leftMs) / 1000));
    this.schedule(lease, nowMs + leftMs + delay * 1000);
  }

  private schedule(lease: Lease, deadline: number): void {
    lease.epoch = this.epoch;
    lease.revoking = false;
    lease.deadline = deadline;
    lease.heapKey = deadline;
    this.deadlines.push(lease);
  }

  private isScheduled(lease: Lease): boolean {
    return this.isPrimary && lease.epoch === this.epoch;
  }

  private nowMs(): number {
    return this.clock.at(this.parts.world.clock.nowMs());
  }

  /** Whole seconds until the lease expires, as far as this member knows; below zero when that is overdue. */
  secondsLeft(lease: Lease): number {
    if (!this.isScheduled(lease)) return lease.remaining > 0 ? lease.remaining : lease.ttl;
    return Math.trunc((lease.deadline - this.nowMs()) / 1000);
  }

  /** Leases with a smaller number expire earlier. */
  readonly orderOf = (lease: Lease): number =>
    this.isScheduled(lease) ? lease.deadline : (lease.remaining > 0 ? lease.remaining : lease.ttl) * 1000;

  // -- what the log says ----------------------------------------------------------------------------------------------

  granted(lease: Lease): void {
    this.figures.granted++;
    this.figures.ttls.observe(lease.ttl);
    if (this.isPrimary) this.schedule(lease, this.nowMs() + lease.ttl * 1000);
  }

  revoked(lease: Lease): void {
    this.figures.revoked++;
    if (!this.isScheduled(lease)) return;
    this.deadlines.remove(lease);
    const waiters = this.afterRevoke.get(lease);
    if (waiters === undefined) return;
    this.afterRevoke.delete(lease);
    for (const waiter of waiters) waiter.renewed(0);
  }

  replaced(): void {
    if (this.isPrimary) this.promote();
  }

  // -- expiry ---------------------------------------------------------------------------------------------------------

  private readonly tick = (): void => {
    const nowMs = this.nowMs();
    if (!this.isPrimary) return;
    this.revokesLeft = Math.ceil((this.parts.revokesPerSecond * TICK_MS) / 1000);
    this.expire(nowMs);
    this.checkpoints.tick(TICK_MS);
  };

  private expire(nowMs: number): void {
    const first = this.deadlines.peek();
    if (first === undefined || first.heapKey > nowMs || this.confirming) return;
    this.confirming = true;
    const epoch = this.epoch;
    this.parts.replication.readBarrier({
      done: () => {
        if (epoch !== this.epoch) return;
        this.confirming = false;
        this.revokeDue();
      },
      fail: () => {
        if (epoch === this.epoch) this.confirming = false;
      },
    });
  }

  private readonly revokeDue = (): void => {
    const nowMs = this.nowMs();
    const deadlines = this.deadlines;
    for (let count = 0; count < SLICE && this.revokesLeft > 0; count++) {
      const lease = deadlines.peek();
      if (lease === undefined || lease.heapKey > nowMs || deadlines !== this.deadlines) return;
      if (lease.deadline > nowMs) {
        lease.heapKey = lease.deadline;
      } else {
        lease.heapKey = nowMs + RETRY_MS;
        this.revokesLeft--;
        this.revoke(lease);
      }
      deadlines.update(lease);
    }
    // What is left was renewed and waits for its new place; revokes beyond the rate wait for the next tick.
    if (this.revokesLeft > 0) this.parts.world.timers.endOfTurn(this.revokeRest);
  };

  private readonly revokeRest = (): void => {
    if (this.isPrimary) this.expire(this.nowMs());
  };

  private revoke(lease: Lease): void {
    const body = LeaseRevokeRequest.encode(LeaseRevokeRequest.create({ ID: lease.id }));
    const { replication } = this.parts;
    const { high, low } = replication.nextRequestId();
    const { username, authRevision } = this.parts.asRoot();
    const { length } = body;
    const entry = writeRaftRequest(RaftRequestField.LeaseRevoke, body, 0, length, high, low, username, authRevision);
    // One that reached the next leader, which may have renewed the lease meanwhile, would end it early.
    if (!replication.proposeAsLeader(entry, nobody)) return;
    lease.revoking = true;
    this.revokesProposed++;
  }

  // -- renewal --------------------------------------------------------------------------------------------------------

  /** Renews a lease, once it is certain that this member still leads; one question settles that for a whole turn. */
  renew(id: U64, waiter: RenewWaiter): void {
    if (!this.isPrimary) {
      waiter.failed(ErrNotPrimaryLessor);
      return;
    }
    this.gathered.push(new Renewal(id, waiter));
    if (this.renewalScheduled) return;
    this.renewalScheduled = true;
    this.parts.world.timers.endOfTurn(this.renewGathered);
  }

  private readonly renewGathered = (): void => {
    this.renewalScheduled = false;
    const renewals = this.gathered;
    this.gathered = [];
    this.parts.replication.readBarrier({
      done: () => this.renewAll(renewals),
      fail: (error) => {
        for (const { waiter } of renewals) waiter.failed(error);
      },
    });
  };

  private renewAll(renewals: Renewal[]): void {
    let checkpointed: Renewal[] = [];
    for (const renewal of renewals) {
      const lease = this.parts.lessor.get(renewal.id);
      if (!this.isPrimary) {
        renewal.waiter.failed(ErrNotPrimaryLessor);
      } else if (lease === undefined || lease.remaining === 0) {
        this.renewNow(lease, renewal.waiter);
      } else {
        checkpointed.push(renewal);
        if (checkpointed.length < CHECKPOINT_BATCH) continue;
        this.clearCheckpoints(checkpointed);
        checkpointed = [];
      }
    }
    if (checkpointed.length > 0) this.clearCheckpoints(checkpointed);
  }

  private renewNow(lease: Lease | undefined, waiter: RenewWaiter): void {
    if (lease === undefined) {
      waiter.renewed(0);
      return;
    }
    if (!this.isScheduled(lease)) this.scheduleExtended(lease, this.nowMs());
    if (lease.revoking) {
      // It is too late; the answer is given when the revoke is applied.
      const waiters = this.afterRevoke.get(lease);
      if (waiters === undefined) this.afterRevoke.set(lease, [waiter]);
      else waiters.push(waiter);
      return;
    }
    lease.deadline = this.nowMs() + lease.ttl * 1000;
    this.figures.renewed++;
    waiter.renewed(lease.ttl);
  }

  /** The next leader must not go by a checkpoint from before the renewal, so that is taken back before the answer. */
  private clearCheckpoints(renewals: Renewal[]): void {
    const checkpoints = renewals.map(({ id }) => LeaseCheckpoint.create({ ID: id }));
    proposeCheckpoints(this.parts.replication, checkpoints, {
      done: () => {
        for (const { id, waiter } of renewals) {
          if (this.isPrimary) this.renewNow(this.parts.lessor.get(id), waiter);
          else waiter.failed(ErrNotPrimaryLessor);
        }
      },
      fail: (error) => {
        for (const { waiter } of renewals) waiter.failed(error);
      },
    });
  }

  // -- an orderly stop ------------------------------------------------------------------------------------------------

  /** Writes down how much time long leases have left. `done` is called at once where this member does not lead. */
  checkpointAll(done: () => void): void {
    if (this.isPrimary) this.checkpoints.final(done);
    else done();
  }
}

class Renewal {
  readonly id: U64;
  readonly waiter: RenewWaiter;

  constructor(id: U64, waiter: RenewWaiter) {
    this.id = id;
    this.waiter = waiter;
  }
}
