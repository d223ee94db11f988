/** Requests a second of one user and of one address, where the operator sets a bound: `--request-rate`. */
import { OperatorError } from '@etsd/base';
import { EtcdError, GrpcCode } from '@etsd/proto';
import { hostOf } from '@etsd/rpc';
import type { Access } from '../access.ts';
import type { ApiCall, ApiHandler } from '../context.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { Abuse } from './abuse.ts';
import { laneOf } from './method-lanes.ts';

/** What `--request-rate` says: requests a second, and how many may come at once; 0: no bound. */
export interface RateChoice {
  readonly perUser: number;
  readonly perAddress: number;
  readonly burst: number;
}

const ErrUserRate = new EtcdError(
  GrpcCode.ResourceExhausted,
  'etsd: too many requests of this user, see --request-rate',
);
const ErrAddressRate = new EtcdError(
  GrpcCode.ResourceExhausted,
  'etsd: too many requests from this address, see --request-rate',
);

/** Users or addresses remembered at a time; beyond it the one that was seen first is forgotten, with what it spent. */
const REMEMBERED_MAX = 100_000;

/** Reads `user=500,address=2000,burst=1000`; null where the flag is empty. */
export function parseRates(text: string): RateChoice | null {
  if (text === '') return null;
  const values = new Map<string, number>();
  for (const pair of text.split(',')) {
    const [name, value, ...more] = pair.split('=') as [string, string?, ...string[]];
    if (
      value === undefined ||
      more.length > 0 ||
      !/^\d{1,9}$/.test(value) ||
      !['user', 'address', 'burst'].includes(name)
    ) {
      throw new OperatorError(
        `--request-rate can not be read at "${pair}"`,
        'Write for example user=500,address=2000,burst=1000: requests a second, and how many may come at once.',
      );
    }
    values.set(name, Number(value));
  }
  const perUser = values.get('user') ?? 0;
  const perAddress = values.get('address') ?? 0;
  return { perUser, perAddress, burst: values.get('burst') ?? Math.max(perUser, perAddress) };
}

class Bucket {
  tokens: number;
  atMs: number;

  constructor(tokens: number, atMs: number) {
    this.tokens = tokens;
    this.atMs = atMs;
  }
}

/** Token buckets by name. */
export class RateBuckets {
  private readonly perSecond: number;
  private readonly burst: number;
  private readonly buckets = new Map<string, Bucket>();

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond;
    this.burst = Math.max(1, burst);
  }

  /** Whether one more is within the rate at this time. */
  take(name: string, nowMs: number): boolean {
    if (this.perSecond === 0) return true;
    let bucket = this.buckets.get(name);
    if (bucket === undefined) {
      if (this.buckets.size >= REMEMBERED_MAX) this.forgetOne();
      bucket = new Bucket(this.burst, nowMs);
      this.buckets.set(name, bucket);
    }
    bucket.tokens = Math.min(this.burst, bucket.tokens + ((nowMs - bucket.atMs) * this.perSecond) / 1000);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  private forgetOne(): void {
    for (const name of this.buckets.keys()) {
      this.buckets.delete(name);
      return;
    }
  }
}

export interface RateParts {
  readonly clock: { nowMs(): number };
  readonly access: Pick<Access, 'callerOf'>;
  readonly abuse: Abuse;
}

export class RateLimits {
  private readonly parts: RateParts;
  private readonly users: RateBuckets;
  private readonly addresses: RateBuckets;

  constructor(choice: RateChoice, parts: RateParts) {
    this.parts = parts;
    this.users = new RateBuckets(choice.perUser, choice.burst);
    this.addresses = new RateBuckets(choice.perAddress, choice.burst);
  }

  guard(path: string, handler: ApiHandler): ApiHandler {
    return laneOf(path) === 'first' ? handler : new RatedHandler(this, handler);
  }

  /** Why the call comes too soon, or null. */
  refusal(call: ApiCall): EtcdError | null {
    const { clock, access, abuse } = this.parts;
    const nowMs = clock.nowMs();
    if (!this.addresses.take(hostOf(call.peer), nowMs)) {
      abuse.note('request_rate_address', call.peer);
      return ErrAddressRate;
    }
    const caller = access.callerOf(call);
    // Nobody is limited by address alone: else anybody could spend what is due to those without a name.
    const username = caller instanceof EtcdError ? '' : caller.username;
    if (username === '' || this.users.take(username, nowMs)) return null;
    abuse.note('request_rate_user', call.peer, { user: username });
    return ErrUserRate;
  }
}

class RatedHandler extends PassingHandler {
  private readonly rates: RateLimits;

  constructor(rates: RateLimits, inner: ApiHandler) {
    super(inner);
    this.rates = rates;
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const refused = this.rates.refusal(call);
    if (refused === null) this.inner.message(call, bytes, start, end);
    else if (call.isOpen) call.fail(refused.code, refused.message);
  }
}
