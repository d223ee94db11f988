/**
 * Slows down who guesses passwords. A few wrong ones are free; from then on each doubles the time in which no further
 * attempt is heard: by the address for this user, by the address for all users together, and by all addresses together
 * for this user. Who has logged in from an address before is not held up by what others do, there or elsewhere, so that
 * nobody is kept out by guesses at his name, or by a neighbour behind the same address whose password is out of date.
 * Names that do not exist are treated like those that do.
 */
import { EtcdError, GrpcCode } from '@etsd/proto';
import { hostOf } from '@etsd/rpc';
import type { Abuse } from './abuse.ts';

export interface LoginGuardLimits {
  /** Wrong passwords without consequence: of an address for one user, of an address, of a user. */
  readonly freeOfPair: number;
  readonly freeOfAddress: number;
  readonly freeOfUser: number;
  /** The first delay, which then doubles, and the longest, in milliseconds. */
  readonly delayMs: number;
  readonly delayMaxMs: number;
  /** After this long without a wrong password all is forgotten, in milliseconds. */
  readonly forgetMs: number;
}

export const LOGIN_GUARD_LIMITS: LoginGuardLimits = {
  freeOfPair: 5,
  freeOfAddress: 50,
  freeOfUser: 100,
  delayMs: 250,
  delayMaxMs: 60_000,
  forgetMs: 900_000,
};

/** Users, addresses and pairs remembered; beyond it those go that were noted first. */
const REMEMBERED_MAX = 50_000;

export const ErrTooManyLogins = new EtcdError(
  GrpcCode.ResourceExhausted,
  'etsd: too many failed logins, try again later',
);

class Failures {
  count = 0;
  lastMs = 0;
  /** No attempt is heard before. */
  untilMs = 0;
}

export class LoginGuard {
  /** Attempts that were not heard. */
  refused = 0;
  failed = 0;
  private readonly clock: { nowMs(): number };
  private readonly abuse: Abuse;
  private readonly limits: LoginGuardLimits;
  private readonly failures = new Map<string, Failures>();
  /** Pairs of user and address that have logged in. */
  private readonly known = new Set<string>();

  constructor(clock: { nowMs(): number }, abuse: Abuse, limits: LoginGuardLimits = LOGIN_GUARD_LIMITS) {
    this.clock = clock;
    this.abuse = abuse;
    this.limits = limits;
  }

  /** Why an attempt is not heard, or null. */
  refusal(user: string, peer: string): EtcdError | null {
    const nowMs = this.clock.nowMs();
    const { pair, address, name } = keysOf(user, peer);
    const isStranger = !this.known.has(pair);
    const isHeldUp =
      this.isHeldUp(pair, nowMs) || (isStranger && (this.isHeldUp(address, nowMs) || this.isHeldUp(name, nowMs)));
    if (!isHeldUp) return null;
    this.refused++;
    this.abuse.note('login_refused', peer, { user: shortName(user) });
    return ErrTooManyLogins;
  }

  /** The password, or the name, was wrong. */
  wrong(user: string, peer: string): void {
    this.failed++;
    this.abuse.note('login_failed', peer, { user: shortName(user) });
    const { pair, address, name } = keysOf(user, peer);
    this.count(pair, this.limits.freeOfPair);
    this.count(address, this.limits.freeOfAddress);
    this.count(name, this.limits.freeOfUser);
  }

  right(user: string, peer: string): void {
    const { pair } = keysOf(user, peer);
    this.failures.delete(pair);
    if (this.known.has(pair)) return;
    if (this.known.size >= REMEMBERED_MAX) forgetOldest(this.known);
    this.known.add(pair);
  }

  private isHeldUp(key: string, nowMs: number): boolean {
    return nowMs < (this.failures.get(key)?.untilMs ?? 0);
  }

  private count(key: string, free: number): void {
    const nowMs = this.clock.nowMs();
    const { delayMs, delayMaxMs, forgetMs } = this.limits;
    let entry = this.failures.get(key);
    if (entry === undefined) {
      if (this.failures.size >= REMEMBERED_MAX) forgetOldest(this.failures);
      entry = new Failures();
      this.failures.set(key, entry);
    } else if (nowMs - entry.lastMs > forgetMs) entry.count = 0;
    entry.count++;
    entry.lastMs = nowMs;
    if (entry.count <= free) return;
    // 2^30 is far beyond the longest delay.
    entry.untilMs = nowMs + Math.min(delayMaxMs, delayMs * 2 ** Math.min(30, entry.count - free - 1));
  }
}

/** Of a name that is longer than any sensible one only the beginning counts. */
const NAME_LENGTH_MAX = 128;

function keysOf(user: string, peer: string): { pair: string; address: string; name: string } {
  const host = hostOf(peer);
  const short = shortName(user);
  return { pair: `p${host}\0${short}`, address: `a${host}`, name: `u${short}` };
}

/** A name that somebody gave, for the log: what was given may be a megabyte long. */
export function shortName(user: string): string {
  return user.length > NAME_LENGTH_MAX ? user.slice(0, NAME_LENGTH_MAX) : user;
}

function forgetOldest(from: { keys(): Iterable<string>; delete(key: string): boolean }): void {
  for (const key of from.keys()) {
    from.delete(key);
    return;
  }
}
