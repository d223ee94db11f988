/** Names and passwords of Basic authentication, turned into tokens: not every request shall cost a hash. */
import { createHmac, randomBytes } from 'node:crypto';
import { AuthenticateRequest } from '@etsd/proto';
import { type Caller, call } from './local-call.ts';
import { AUTHENTICATE } from './methods.ts';
import { Problem } from './problem.ts';

/** Logins remembered at a time; the oldest is forgotten first. */
const SESSIONS_MAX = 1000;
/** How long a login is used. */
const SESSION_MS = 60_000;

interface Session {
  readonly token: string;
  readonly untilMs: number;
}

export class Sessions {
  /** By a keyed digest of the credentials: they are not kept themselves. */
  private readonly sessions = new Map<string, Session>();
  private readonly secret = randomBytes(32);
  private readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** The token for the credentials of a `Basic` header. Rejects with what the login was refused with. */
  async tokenFor(header: string, caller: Caller): Promise<string> {
    const text = Buffer.from(header.slice('Basic '.length).trim(), 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 0) throw new Problem(401, 'unauthenticated', 'Basic credentials are NAME:PASSWORD in base64');
    const digest = createHmac('sha256', this.secret).update(text).digest('base64');
    const known = this.sessions.get(digest);
    if (known !== undefined && known.untilMs > this.nowMs()) return known.token;
    this.sessions.delete(digest);
    const request = AuthenticateRequest.create({ name: text.slice(0, colon), password: text.slice(colon + 1) });
    const { token } = await call(caller, AUTHENTICATE, request);
    this.sessions.set(digest, { token, untilMs: this.nowMs() + SESSION_MS });
    if (this.sessions.size > SESSIONS_MAX) this.sessions.delete(this.sessions.keys().next().value as string);
    return token;
  }

  /** A token is not valid any more. */
  forget(token: string): void {
    for (const [digest, session] of this.sessions) if (session.token === token) this.sessions.delete(digest);
  }
}
