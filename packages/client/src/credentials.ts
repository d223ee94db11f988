import {
  AuthenticateRequest,
  AuthenticateResponse,
  ErrAuthNotEnabled,
  ErrAuthOldRevision,
  ErrInvalidAuthToken,
} from '@etsd/proto';
import { type GrpcChannel, Metadata } from '@etsd/rpc';
import { clientError, isError } from './errors.ts';
import type { ClientOptions } from './options.ts';

/** The API version a client says it speaks; servers count requests by it. */
const API_VERSION = '3.5.0';

/** Logs in, keeps the token, and makes the metadata of calls: the same object again and again, as it is encoded once. */
export class Credentials {
  private readonly user: ClientOptions['user'];
  /** Null: none yet, or no longer valid. Empty: the server wants none. */
  private token: string | null = null;
  private loggingIn: Promise<void> | null = null;
  private plain: Metadata = metadataOf('', false);
  private withLeader: Metadata = metadataOf('', true);

  constructor(user: ClientOptions['user'], token = '') {
    this.user = user;
    if (token === '') return;
    this.plain = metadataOf(token, false);
    this.withLeader = metadataOf(token, true);
  }

  /** Metadata at hand, or null where `login` has to come first. */
  metadata(requireLeader: boolean): Metadata | null {
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
  login(channel: GrpcChannel, timeoutMs: number): Promise<void> {
    this.loggingIn ??= this.authenticate(channel, timeoutMs).finally(() => {
      this.loggingIn = null;
    });
    return this.loggingIn;
  }

  private async authenticate(channel: GrpcChannel, timeoutMs: number): Promise<void> {
    const request = AuthenticateRequest.encode(AuthenticateRequest.create(this.user ?? {}));
    let token = '';
    try {
      const options = timeoutMs > 0 ? { timeoutMs } : {};
      token = AuthenticateResponse.decode(
        await channel.unary('/etcdserverpb.Auth/Authenticate', request, options),
      ).token;
    } catch (error) {
      const known = clientError(error);
      if (!isError(known, ErrAuthNotEnabled)) throw known;
    }
    this.token = token;
    this.plain = metadataOf(token, false);
    this.withLeader = metadataOf(token, true);
  }
}

function metadataOf(token: string, requireLeader: boolean): Metadata {
  const metadata = Metadata.of({ 'client-api-version': API_VERSION });
  if (token !== '') metadata.add('token', token);
  if (requireLeader) metadata.add('hasleader', 'true');
  return metadata;
}
