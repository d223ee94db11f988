import { AuthenticateRequest, ErrAuthNotEnabled, ErrAuthOldRevision, ErrInvalidAuthToken } from '@etsd/proto';
import { clientError, isError } from './errors.ts';
import { CallHeaders, type Link } from './link.ts';
import { Authenticate } from './methods.ts';
import type { ClientOptions } from './options.ts';

/** Logs in, keeps the token, and makes the headers of calls: the same object again and again, as it is encoded once. */
export class Credentials {
  private readonly user: ClientOptions['user'];
  /** Null: none yet, or no longer valid. Empty: the server wants none. */
  private token: string | null = null;
  private loggingIn: Promise<void> | null = null;
  private plain = new CallHeaders('', false);
  private withLeader = new CallHeaders('', true);

  constructor(user: ClientOptions['user'], token = '') {
    this.user = user;
    if (token === '') return;
    this.plain = new CallHeaders(token, false);
    this.withLeader = new CallHeaders(token, true);
  }

  /** Headers at hand, or null where `login` has to come first. */
  headers(requireLeader: boolean): CallHeaders | null {
    if (this.user !== undefined && this.token === null) return null;
    return requireLeader ? this.withLeader : this.plain;
  }

  /** Whether the error says that the token is no good; it is then forgotten, and the call may be repeated. */
  rejected(error: unknown): boolean {
    if (this.user === undefined) return false;
    if (!isError(error, ErrInvalidAuthToken) && !isError(error, ErrAuthOldRevision)) return false;
    this.token = null;
    return true;
  }

  /** Gets a token; calls at the same time share one login. */
  login(link: Link, timeoutMs: number): Promise<void> {
    this.loggingIn ??= this.authenticate(link, timeoutMs).finally(() => {
      this.loggingIn = null;
    });
    return this.loggingIn;
  }

  private async authenticate(link: Link, timeoutMs: number): Promise<void> {
    let token = '';
    try {
      const call = { headers: NO_HEADERS, timeoutMs, signal: undefined };
      token = (await link.unary(Authenticate, AuthenticateRequest.create(this.user ?? {}), call)).token;
    } catch (error) {
      const known = clientError(error);
      if (!isError(known, ErrAuthNotEnabled)) throw known;
    }
    this.token = token;
    this.plain = new CallHeaders(token, false);
    this.withLeader = new CallHeaders(token, true);
  }
}

const NO_HEADERS = new CallHeaders('', false);
