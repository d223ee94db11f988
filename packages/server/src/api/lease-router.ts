/**
 * Renewals and questions about time to live are answered by the leader alone. Here they are answered when this member
 * leads, and otherwise sent to the member that does, again and again until the request has waited long enough: during a
 * change of leader there may be nobody for a while.
 */
import { keyToBytes, type U64, U64_ZERO } from '@etsd/base';
import {
  ErrNoLeader,
  ErrNotPrimaryLessor,
  ErrTimeout,
  type EtcdError,
  type LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from '@etsd/proto';
import type { Lessor } from '@etsd/state';
import type { ApiReplication, ApiWorld } from '../context.ts';
import type { LeaseExpiry, RenewWaiter } from '../duties/lease-expiry.ts';

/** Pause before the next attempt where nobody could answer. */
const RETRY_MS = 50;

/** Asks the leader, over the peers' connections. Errors of the connection are told too: they are tried again here. */
export interface LeaseForwarder {
  /** `ttl` is 0 where the leader knows no such lease. */
  renew(leader: U64, id: U64, done: (error: Error | null, ttl: number) => void): void;
  /** The answer is null where the leader knows no such lease. */
  timeToLive(
    leader: U64,
    request: LeaseTimeToLiveRequest,
    done: (error: Error | null, answer: LeaseTimeToLiveResponse | null) => void,
  ): void;
}

/** Who waits for an answer about a lease. */
export interface TimeToLiveWaiter {
  /** Null where there is no such lease. The header is not filled in. */
  known(answer: LeaseTimeToLiveResponse | null): void;
  failed(error: EtcdError): void;
}

export interface LeaseRouterParts {
  readonly world: ApiWorld;
  readonly replication: ApiReplication;
  readonly lessor: Lessor;
  readonly expiry: LeaseExpiry;
  readonly requestTimeoutMs: number;
  /** Null for a member that has no peers. */
  readonly forwarder: LeaseForwarder | null;
}

export class LeaseRouter {
  readonly parts: LeaseRouterParts;

  constructor(parts: LeaseRouterParts) {
    this.parts = parts;
  }

  renew(id: U64, waiter: RenewWaiter): void {
    if (this.parts.expiry.isPrimary) this.parts.expiry.renew(id, new LocalRenewal(this, id, waiter));
    else new RemoteRenewal(this, id, waiter).attempt();
  }

  timeToLive(request: LeaseTimeToLiveRequest, waiter: TimeToLiveWaiter): void {
    new TimeToLiveAttempts(this, request, waiter).attempt();
  }

  /** As `timeToLive`, for another member that takes this one for the leader: nobody else is asked. */
  localTimeToLive(request: LeaseTimeToLiveRequest, waiter: TimeToLiveWaiter): void {
    const { expiry, replication } = this.parts;
    if (!expiry.isPrimary) {
      waiter.failed(ErrNotPrimaryLessor);
      return;
    }
    replication.readBarrier({
      done: () => {
        if (expiry.isPrimary) waiter.known(this.describe(request));
        else waiter.failed(ErrNotPrimaryLessor);
      },
      fail: (error) => waiter.failed(error),
    });
  }

  /** What this member, which leads, knows of a lease. */
  private describe(request: LeaseTimeToLiveRequest): LeaseTimeToLiveResponse | null {
    const lease = this.parts.lessor.get(request.ID);
    if (lease === undefined) return null;
    return LeaseTimeToLiveResponse.create({
      ID: lease.id,
      TTL: this.parts.expiry.secondsLeft(lease),
      grantedTTL: lease.ttl,
      keys: request.keys ? lease.sortedKeys().map(keyToBytes) : [],
    });
  }
}

/** The usual case: this member leads. Should it turn out not to, the leader is asked. */
class LocalRenewal implements RenewWaiter {
  private readonly router: LeaseRouter;
  private readonly id: U64;
  private readonly waiter: RenewWaiter;

  constructor(router: LeaseRouter, id: U64, waiter: RenewWaiter) {
    this.router = router;
    this.id = id;
    this.waiter = waiter;
  }

  renewed(ttl: number): void {
    this.waiter.renewed(ttl);
  }

  failed(error: EtcdError): void {
    if (error === ErrNotPrimaryLessor) new RemoteRenewal(this.router, this.id, this.waiter).attempt();
    else this.waiter.failed(error);
  }
}

/** Attempts until a deadline. */
abstract class Attempts {
  protected readonly router: LeaseRouter;
  private readonly deadlineMs: number;

  constructor(router: LeaseRouter) {
    this.router = router;
    this.deadlineMs = router.parts.world.clock.nowMs() + router.parts.requestTimeoutMs;
  }

  abstract attempt(): void;
  protected abstract giveUp(error: EtcdError): void;

  protected again(): void {
    const { world, replication } = this.router.parts;
    if (world.clock.nowMs() >= this.deadlineMs) this.giveUp(replication.leader === U64_ZERO ? ErrNoLeader : ErrTimeout);
    else world.timers.after(RETRY_MS, () => this.attempt());
  }
}

class RemoteRenewal extends Attempts implements RenewWaiter {
  private readonly id: U64;
  private readonly waiter: RenewWaiter;

  constructor(router: LeaseRouter, id: U64, waiter: RenewWaiter) {
    super(router);
    this.id = id;
    this.waiter = waiter;
  }

  attempt(): void {
    const { expiry, forwarder, replication } = this.router.parts;
    if (expiry.isPrimary) {
      expiry.renew(this.id, this);
    } else if (forwarder === null || replication.leader === U64_ZERO || replication.isLeader) {
      this.again();
    } else {
      forwarder.renew(replication.leader, this.id, (error, ttl) => {
        if (error === null) this.renewed(ttl);
        else this.again();
      });
    }
  }

  renewed(ttl: number): void {
    this.waiter.renewed(ttl);
  }

  failed(error: EtcdError): void {
    if (error === ErrNotPrimaryLessor) this.again();
    else this.waiter.failed(error);
  }

  protected giveUp(error: EtcdError): void {
    this.waiter.failed(error);
  }
}

class TimeToLiveAttempts extends Attempts implements TimeToLiveWaiter {
  private readonly request: LeaseTimeToLiveRequest;
  private readonly waiter: TimeToLiveWaiter;

  constructor(router: LeaseRouter, request: LeaseTimeToLiveRequest, waiter: TimeToLiveWaiter) {
    super(router);
    this.request = request;
    this.waiter = waiter;
  }

  attempt(): void {
    const { expiry, forwarder, replication } = this.router.parts;
    if (expiry.isPrimary) {
      this.router.localTimeToLive(this.request, this);
    } else if (forwarder === null || replication.leader === U64_ZERO || replication.isLeader) {
      this.again();
    } else {
      forwarder.timeToLive(replication.leader, this.request, (error, answer) => {
        if (error === null) this.waiter.known(answer);
        else this.again();
      });
    }
  }

  known(answer: LeaseTimeToLiveResponse | null): void {
    this.waiter.known(answer);
  }

  failed(error: EtcdError): void {
    if (error === ErrNotPrimaryLessor) this.again();
    else this.waiter.failed(error);
  }

  protected giveUp(error: EtcdError): void {
    this.waiter.failed(error);
  }
}
