/**
 * Hashing and checking passwords with bcrypt. A hash costs tens of milliseconds by design, so it is made on the threads
 * that the platform keeps for such work, only a few at a time (the log's writes use the same threads), and whoever comes
 * while too many wait is refused.
 *
 * What was verified once is known for a while: ten thousand clients that come back after an election log in at the price
 * of as many lookups. Remembered is a hash, with a key, of name, password and stored hash under a key that only this process
 * knows; a changed password has another stored hash, so what was remembered of the old one is of no use.
 */
import { hash as digestOf } from 'node:crypto';
import { RingQueue } from '@etsd/base';
import { ErrRequestTooManyRequests, type EtcdError, unknownError } from '@etsd/proto';
import { hash, verify } from '@node-rs/bcrypt';

/** Cost where the operator gives none, or one that bcrypt does not know. */
export const BCRYPT_COST_DEFAULT = 10;
export const BCRYPT_COST_MIN = 4;
export const BCRYPT_COST_MAX = 31;

/** bcrypt looks at no more; Go's refuses to hash more, and so does etcd. */
const PASSWORD_BYTES_MAX = 72;
const ErrPasswordTooLong = unknownError('bcrypt: password length exceeds 72 bytes');

/** How long a verified password is known, in milliseconds. */
const VERIFIED_MS = 300_000;
/** Verified passwords known at a time; beyond it the oldest is forgotten. */
const VERIFIED_MAX = 10_000;
/** Different passwords that wait to be hashed or checked; beyond it callers are refused. */
const WAITING_MAX = 1000;
/** Of those, from one address: nobody takes all places by asking with names and passwords made up. */
const WAITING_OF_ORIGIN_MAX = 250;
/** Passwords of one user that are looked at together: only one can be right. */
const WAITING_OF_USER_MAX = 8;
/** Hashes made at the same time: half of the threads that the platform has for files and such. */
const AT_ONCE = 2;

/** Makes and checks hashes, away from the event loop. */
export interface BcryptEngine {
  hash(password: string, cost: number): Promise<string>;
  verify(password: string, stored: string): Promise<boolean>;
}

const nativeEngine: BcryptEngine = { hash: (password, cost) => hash(password, cost), verify };

export interface PasswordsParts {
  readonly random: { bytes(count: number): Buffer };
  readonly clock: { nowMs(): number };
  readonly cost: number;
  readonly engine?: BcryptEngine;
  readonly atOnce?: number;
}

/** A password to be checked. */
export interface PasswordQuestion {
  readonly user: string;
  readonly password: string;
  /** What is stored of the user's password; null where there is no such user: then it is wrong, but no sooner. */
  readonly stored: string | null;
  /** Where the question comes from: an address. */
  readonly origin: string;
}

type Checked = (error: EtcdError | null, isRight: boolean) => void;

/** In the form of bcrypt, at this cost (two digits). */
function nobodysHash(cost: string): string {
  return `$2a$${cost}$${'e'.repeat(22)}${'.'.repeat(31)}`;
}

/** How many of each name there are. */
class Tally {
  private readonly counts = new Map<string, number>();

  of(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  enter(name: string): void {
    this.counts.set(name, this.of(name) + 1);
  }

  leave(name: string): void {
    const count = this.of(name) - 1;
    if (count > 0) this.counts.set(name, count);
    else this.counts.delete(name);
  }
}

export class Passwords {
  private readonly parts: PasswordsParts;
  private readonly engine: BcryptEngine;
  private readonly atOnce: number;
  private readonly key: string;
  /** Digest of what was verified, and until when that is known (monotonic milliseconds). Oldest first. */
  private readonly verified = new Map<string, number>();
  /** Who waits for a check that is under way or queued: the same question is answered once. */
  private readonly asked = new Map<string, Checked[]>();
  private readonly queue = new RingQueue<() => Promise<void>>();
  /** Questions that are not answered yet. */
  private readonly ofUser = new Tally();
  private readonly ofOrigin = new Tally();
  /** A hash of no password, at the cost of the last one that was looked at: others may be older than the flag. */
  private nobodys: string;
  private running = 0;

  constructor(parts: PasswordsParts) {
    this.parts = parts;
    this.engine = parts.engine ?? nativeEngine;
    this.atOnce = parts.atOnce ?? AT_ONCE;
    this.key = parts.random.bytes(32).toString('base64');
    this.nobodys = nobodysHash(String(parts.cost).padStart(2, '0'));
  }

  /** Hashes a new password in the form Go's bcrypt writes (`$2a$10$…`, 60 characters). */
  hash(password: string, done: (error: EtcdError | null, hashed: string) => void): void {
    if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) {
      done(ErrPasswordTooLong, '');
      return;
    }
    const job = () =>
      this.engine.hash(password, this.parts.cost).then(
        // The versions differ in nothing that a password of this length could meet.
        (hashed) => done(null, `$2a$${hashed.slice(4)}`),
        (error: Error) => done(unknownError(error.message), ''),
      );
    if (!this.enqueue(job)) done(ErrRequestTooManyRequests, '');
  }

  /** Whether this is the user's password. Answers at once where it was verified lately. */
  check({ user, password, stored, origin }: PasswordQuestion, done: Checked): void {
    if (stored !== null && /^\$2[aby]\$\d\d\$/.test(stored) && stored.slice(4, 6) !== this.nobodys.slice(4, 6)) {
      this.nobodys = nobodysHash(stored.slice(4, 6));
    }
    const hashed = stored ?? this.nobodys;
    const digest = this.digest(user, password, hashed);
    const knownUntil = this.verified.get(digest);
    if (knownUntil !== undefined) {
      if (this.parts.clock.nowMs() < knownUntil) {
        done(null, true);
        return;
      }
      this.verified.delete(digest);
    }
    const others = this.asked.get(digest);
    if (others !== undefined) {
      others.push(done);
      return;
    }
    if (!this.mayAsk(user, origin)) {
      done(ErrRequestTooManyRequests, false);
      return;
    }
    const settle = (isRight: boolean) => {
      this.ofUser.leave(user);
      this.ofOrigin.leave(origin);
      this.settle(digest, isRight && stored !== null);
    };
    // What is stored is not a hash: nobody's password.
    const job = () => this.engine.verify(password, hashed).then(settle, () => settle(false));
    this.ofUser.enter(user);
    this.ofOrigin.enter(origin);
    this.asked.set(digest, [done]);
    this.enqueue(job);
  }

  private mayAsk(user: string, origin: string): boolean {
    return (
      this.queue.length < WAITING_MAX &&
      this.ofUser.of(user) < WAITING_OF_USER_MAX &&
      this.ofOrigin.of(origin) < WAITING_OF_ORIGIN_MAX
    );
  }

  private digest(user: string, password: string, stored: string): string {
    // Lengths first, so that no two questions look the same. It is compared here and shown to nobody, so that the key in
    // front does what it does in HMAC, for a fifth of the time.
    const question = `${this.key}:${user.length}:${password.length}:${user}${password}${stored}`;
    return digestOf('sha256', question, 'base64');
  }

  private settle(digest: string, isRight: boolean): void {
    const waiting = this.asked.get(digest) ?? [];
    this.asked.delete(digest);
    if (isRight) {
      this.verified.set(digest, this.parts.clock.nowMs() + VERIFIED_MS);
      if (this.verified.size > VERIFIED_MAX) {
        for (const oldest of this.verified.keys()) {
          this.verified.delete(oldest);
          break;
        }
      }
    }
    for (const done of waiting) done(null, isRight);
  }

  private enqueue(job: () => Promise<void>): boolean {
    if (this.queue.length >= WAITING_MAX) return false;
    this.queue.push(job);
    this.pump();
    return true;
  }

  private pump(): void {
    while (this.running < this.atOnce) {
      const job = this.queue.take();
      if (job === undefined) return;
      this.running++;
      void job().finally(() => {
        this.running--;
        this.pump();
      });
    }
  }
}
