import { type U64, U64_ZERO } from '@etsd/base';
import {
  ErrLeaseNotFound,
  LeaseGrantRequest,
  type LeaseGrantResponse,
  LeaseKeepAliveRequest,
  type LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  type LeaseLeasesResponse,
  LeaseRevokeRequest,
  type LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  type LeaseTimeToLiveResponse,
} from '@etsd/proto';
import { type Caller, sleep } from './caller.ts';
import { toId, toWhole } from './checks.ts';
import { clientError, isError, isRetryable, LeaseLostError } from './errors.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import * as methods from './methods.ts';
import { type CallOptions, RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS } from './options.ts';

/** Leases: keys attached to one go when it ends, unless it is kept alive. */
export class Leases {
  private readonly caller: Caller;
  private readonly keeper: LeaseKeeper;

  constructor(caller: Caller) {
    this.caller = caller;
    this.keeper = new LeaseKeeper(caller, {});
  }

  /** A new lease of so many seconds. Nobody keeps it alive: see `hold`. */
  grant(ttlSeconds: number, options: CallOptions & { id?: U64 } = {}): Promise<LeaseGrantResponse> {
    const request = LeaseGrantRequest.create({
      TTL: toWhole("a lease's seconds", ttlSeconds),
      ID: toId(options.id ?? U64_ZERO),
    });
    return this.caller.unary(methods.LeaseGrant, request, options);
  }

  /** A new lease that is kept alive until it is released or lost. */
  async hold(ttlSeconds: number, options: CallOptions & { id?: U64 } = {}): Promise<HeldLease> {
    const { clock } = this.caller.world;
    const askedMs = clock.nowMs();
    const granted = await this.grant(ttlSeconds, options);
    return new HeldLease(this, this.caller, granted.ID, granted.TTL, askedMs);
  }

  /** Ends a lease, and its keys with it. */
  revoke(id: U64, options?: CallOptions): Promise<LeaseRevokeResponse> {
    return this.caller.unary(methods.LeaseRevoke, LeaseRevokeRequest.create({ ID: toId(id) }), options);
  }

  /** What is left of a lease; a `TTL` of −1 where there is none. */
  timeToLive(id: U64, options: CallOptions & { keys?: boolean } = {}): Promise<LeaseTimeToLiveResponse> {
    const request = LeaseTimeToLiveRequest.create({ ID: toId(id), keys: options.keys ?? false });
    return this.caller.unary(methods.LeaseTimeToLive, request, options);
  }

  list(options?: CallOptions): Promise<LeaseLeasesResponse> {
    return this.caller.unary(methods.LeaseLeases, LeaseLeasesRequest.create(), options);
  }

  /** Renews a lease once. Throws `ErrLeaseNotFound` where there is none. */
  async keepAliveOnce(id: U64, options: CallOptions = {}): Promise<LeaseKeepAliveResponse> {
    const request = LeaseKeepAliveRequest.create({ ID: toId(id) });
    await using stream = await this.caller.stream(methods.LeaseKeepAlive, { requireLeader: true, ...options });
    if (this.caller.transport.sendsMany) stream.send(request);
    else stream.sendLast(request);
    const response = await stream.next();
    if (response === null || response.TTL <= 0) throw ErrLeaseNotFound;
    return response;
  }

  /**
   * Renews a lease every third of its time for as long as it is read from, over as many connections as it takes; ends
   * when the server says that there is no such lease, or when it must have ended since nobody could be reached.
   */
  async *keepAlive(id: U64, options: CallOptions = {}): AsyncGenerator<LeaseKeepAliveResponse, void, undefined> {
    for await (const renewal of this.renewals(toId(id), Number.POSITIVE_INFINITY, options)) yield renewal.response;
  }

  /**
   * As `keepAlive`, with the time of our own clock until which the lease certainly stands; `asking` is called before each
   * attempt.
   */
  async *renewals(
    id: U64,
    lastsMs: number,
    options: CallOptions,
    asking: () => void = () => {},
  ): AsyncGenerator<Renewal, void, undefined> {
    const { caller } = this;
    const { clock } = caller.world;
    const isShared = options.endpoint === undefined && options.requireLeader === undefined;
    const keeper = isShared ? this.keeper : new LeaseKeeper(caller, withoutSignal(options));
    let endsMs = lastsMs;
    let patienceMs = FIRST_ANSWER_MS;
    let failures = 0;
    keeper.hold();
    try {
      while (clock.nowMs() < endsMs && !isAborted(options)) {
        try {
          asking();
          // A member that does not answer is left for another while there still is time.
          const { response, askedMs } = await keeper.renew(id, patienceMs, options.signal);
          if (response.TTL <= 0) return;
          failures = 0;
          patienceMs = (response.TTL * 1000) / 3;
          endsMs = askedMs + response.TTL * 1000;
          yield { response, endsMs };
          await sleep(caller.world, Math.max(0, askedMs + patienceMs - clock.nowMs()), options.signal);
        } catch (thrown) {
          const error = clientError(thrown);
          if (caller.isClosed || isAborted(options)) return;
          if (!caller.tokenRejected(error) && !isRetryable(error)) throw error;
          const pauseMs = Math.min(RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS * 2 ** Math.min(failures++, 10));
          await sleep(caller.world, pauseMs, options.signal).catch(() => {});
        }
      }
    } finally {
      keeper.release();
    }
  }
}

function withoutSignal({ signal: _signal, ...rest }: CallOptions): CallOptions {
  return rest;
}

function isAborted(options: CallOptions): boolean {
  return options.signal?.aborted === true;
}

interface Renewal {
  readonly response: LeaseKeepAliveResponse;
  readonly endsMs: number;
}

/** Longest wait for the first answer, when the lease's time is not known yet. */
const FIRST_ANSWER_MS = 5000;

/** A lease that is kept alive. `await using lease = await client.leases.hold(10)` gives it up at the end of the block. */
export class HeldLease implements AsyncDisposable {
  readonly id: U64;
  /** Seconds, as granted. */
  readonly ttlSeconds: number;
  private readonly leases: Leases;
  private readonly caller: Caller;
  private readonly stop = new AbortController();
  private readonly over = new AbortController();
  /** By our clock: from then on it has to be taken for gone. */
  private endsMs: number;
  /** When a renewal was last asked for, and when it was first due. */
  private askedMs = 0;
  private dueMs = 0;
  private readonly renewing: Promise<void>;

  constructor(leases: Leases, caller: Caller, id: U64, ttlSeconds: number, grantedMs: number) {
    this.leases = leases;
    this.caller = caller;
    this.id = id;
    this.ttlSeconds = ttlSeconds;
    this.endsMs = grantedMs + ttlSeconds * 1000;
    this.dueMs = grantedMs;
    this.renewing = this.renew();
  }

  /**
   * Aborted as soon as the lease is gone or has to be taken for gone: stop what relies on it. Its reason is a
   * `LeaseLostError` that says why.
   */
  get signal(): AbortSignal {
    return this.over.signal;
  }

  /**
   * Whether the lease still stands by our own clock. It looks at the time, so it says no at once after the process stood
   * still for too long, before any timer had a chance to notice.
   */
  get isAlive(): boolean {
    if (!this.over.signal.aborted && this.caller.world.clock.nowMs() >= this.endsMs) this.lose(this.overdue());
    return !this.over.signal.aborted;
  }

  /** Milliseconds for which the lease stands even if it is not renewed any more; 0 once it is gone. */
  get remainingMs(): number {
    return this.isAlive ? this.endsMs - this.caller.world.clock.nowMs() : 0;
  }

  /** Ends the lease now, and its keys with it. */
  async release(options?: CallOptions): Promise<void> {
    this.stop.abort();
    await this.renewing;
    if (this.over.signal.aborted) return;
    this.lose(new LeaseLostError('ended', 'the lease was released'));
    try {
      // May be repeated: a second revocation finds nothing.
      await this.caller.unary(methods.OwnLeaseRevoke, LeaseRevokeRequest.create({ ID: this.id }), options);
    } catch (error) {
      if (!isError(error, ErrLeaseNotFound)) throw error;
    }
  }

  /** Stops renewing; the lease ends by itself when its time is over. */
  async abandon(): Promise<void> {
    this.stop.abort();
    await this.renewing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  private async renew(): Promise<void> {
    const { clock, timers } = this.caller.world;
    const options = { signal: this.stop.signal };
    const asking = (): void => {
      this.askedMs = clock.nowMs();
    };
    let watchdog = timers.after(this.endsMs - clock.nowMs(), () => this.expire());
    let loss = new LeaseLostError('revoked', 'the server does not know the lease any more');
    try {
      for await (const { endsMs, response } of this.leases.renewals(this.id, this.endsMs, options, asking)) {
        watchdog.cancel();
        this.endsMs = endsMs;
        this.dueMs = endsMs - (response.TTL * 2000) / 3;
        watchdog = timers.after(endsMs - clock.nowMs(), () => this.expire());
      }
      if (clock.nowMs() >= this.endsMs) loss = this.overdue();
      else if (this.caller.isClosed) loss = new LeaseLostError('ended', 'the client was closed');
    } catch (error) {
      loss = new LeaseLostError('failed', `the lease cannot be renewed: ${(error as Error).message}`, error);
    } finally {
      watchdog.cancel();
      if (!this.stop.signal.aborted) this.lose(loss);
    }
  }

  private expire(): void {
    if (!this.isAlive) this.stop.abort();
  }

  private lose(reason: LeaseLostError): void {
    if (!this.over.signal.aborted) this.over.abort(reason);
  }

  /** Why the time has run out: nobody answered, or we did not ask in time since nothing of this process ran. */
  private overdue(): LeaseLostError {
    const lateMs = this.caller.world.clock.nowMs() - this.endsMs;
    const hasAsked = this.askedMs >= this.dueMs && this.askedMs < this.endsMs;
    if (hasAsked && lateMs < STALL_MS) {
      return new LeaseLostError('expired', 'no member renewed the lease in time');
    }
    const text = `this process stood still for longer than the lease lasts, which ended ${lateMs.toFixed(0)} ms ago`;
    return new LeaseLostError('stalled', text);
  }
}

/** A timer that is later than this was kept from running. */
const STALL_MS = 100;
