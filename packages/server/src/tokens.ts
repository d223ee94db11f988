/**
 * Tokens that stand for a login. Simple ones are letters at random which every member learns through the log and keeps
 * in memory; they live as long as they are used. The others are signed (`jwt.ts`) and need no memory.
 */
import type { TimerHandle } from './context.ts';

/** Who calls, as far as the member knows. Never changed: a request keeps it until it is proposed. */
export class Caller {
  readonly username: string;
  /** Revision of the users and roles for which this was established; 0 for nobody. */
  readonly authRevision: number;

  constructor(username: string, authRevision: number) {
    this.username = username;
    this.authRevision = authRevision;
  }
}

/** A call without credentials. */
export const NOBODY = new Caller('', 0);

/** The kind of tokens that `--auth-token` chose. */
export interface Tokens {
  /**
   * What a login carries into the log, for the members to agree on a token; empty where the token is made by the member
   * that is asked.
   */
  prefix(): string;
  /** The token for a user whose login was applied; `applied` is what applying gave. */
  issue(user: string, authRevision: number, applied: string): string | null;
  /** Who presents the token, or null where it is not valid here and now. `authRevision` is the present one. */
  caller(token: string, authRevision: number): Caller | null;
  /** Index of the log at which the token came to be; 0 where that does not matter. */
  bornAt(token: string): number;
  /** A login was applied. */
  assigned(user: string, token: string): void;
  /** What the user may do, or its password, has changed, or it is gone. */
  dropUser(user: string): void;
  dropAll(): void;
  stop(): void;
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PREFIX_LETTERS = 16;
/** Tokens kept; beyond it the one that was made first goes. */
const TOKENS_MAX = 200_000;

class Session {
  caller: Caller;
  expiresMs: number;

  constructor(caller: Caller, expiresMs: number) {
    this.caller = caller;
    this.expiresMs = expiresMs;
  }
}

export interface SimpleTokensParts {
  readonly random: { bytes(count: number): Buffer };
  readonly clock: { nowMs(): number };
  readonly timers: { every(ms: number, fn: () => void): TimerHandle };
  readonly ttlMs: number;
}

/** `<16 letters>.<index in the log>`, valid for as long as nobody lets it lie. */
export class SimpleTokens implements Tokens {
  private readonly parts: SimpleTokensParts;
  private readonly sessions = new Map<string, Session>();
  private readonly ofUser = new Map<string, Set<string>>();
  private sweeper: TimerHandle | null = null;

  constructor(parts: SimpleTokensParts) {
    this.parts = parts;
  }

  get size(): number {
    return this.sessions.size;
  }

  prefix(): string {
    let prefix = '';
    while (prefix.length < PREFIX_LETTERS) {
      for (const byte of this.parts.random.bytes(PREFIX_LETTERS)) {
        // The bytes above the last multiple of the letters' number would favour the first letters.
        if (byte < 208 && prefix.length < PREFIX_LETTERS) prefix += LETTERS[byte % LETTERS.length];
      }
    }
    return prefix;
  }

  issue(_user: string, _authRevision: number, applied: string): string {
    return applied;
  }

  caller(token: string, authRevision: number): Caller | null {
    const session = this.sessions.get(token);
    if (session === undefined) return null;
    const now = this.parts.clock.nowMs();
    if (now >= session.expiresMs) {
      this.drop(token, session.caller.username);
      return null;
    }
    session.expiresMs = now + this.parts.ttlMs;
    if (session.caller.authRevision !== authRevision)
      session.caller = new Caller(session.caller.username, authRevision);
    return session.caller;
  }

  bornAt(token: string): number {
    const dot = token.indexOf('.');
    const index = dot < 0 ? '' : token.slice(dot + 1);
    return /^\d{1,15}$/.test(index) ? Number(index) : 0;
  }

  assigned(user: string, token: string): void {
    if (token === '' || this.sessions.has(token)) return;
    if (this.sessions.size >= TOKENS_MAX) {
      for (const [oldest, session] of this.sessions) {
        this.drop(oldest, session.caller.username);
        break;
      }
    }
    this.sessions.set(token, new Session(new Caller(user, 0), this.parts.clock.nowMs() + this.parts.ttlMs));
    const tokens = this.ofUser.get(user);
    if (tokens === undefined) this.ofUser.set(user, new Set([token]));
    else tokens.add(token);
    this.sweeper ??= this.parts.timers.every(Math.max(1000, this.parts.ttlMs), this.sweep);
  }

  dropUser(user: string): void {
    for (const token of this.ofUser.get(user) ?? []) this.sessions.delete(token);
    this.ofUser.delete(user);
  }

  dropAll(): void {
    this.sessions.clear();
    this.ofUser.clear();
    this.stop();
  }

  stop(): void {
    this.sweeper?.cancel();
    this.sweeper = null;
  }

  private readonly sweep = (): void => {
    const now = this.parts.clock.nowMs();
    for (const [token, session] of this.sessions) {
      if (now >= session.expiresMs) this.drop(token, session.caller.username);
    }
    if (this.sessions.size === 0) this.stop();
  };

  private drop(token: string, user: string): void {
    this.sessions.delete(token);
    const tokens = this.ofUser.get(user);
    tokens?.delete(token);
    if (tokens?.size === 0) this.ofUser.delete(user);
  }
}
