/**
 * Tokens of an identity provider (OpenID Connect): who shows one that the provider has signed for us is the user whom one
 * of its claims names. Users and their roles are etcd's all the same; logins with a password go on beside.
 */
import { PROVIDER_ALGORITHMS, type ProviderKey } from './jwks.ts';
import { json, TOKEN_LENGTH_MAX } from './jwt.ts';
import { isSignedBy } from './jwt-keys.ts';
import { Caller, type Tokens } from './tokens.ts';

/** Verified tokens that are remembered; beyond it all are forgotten. */
const KNOWN_MAX = 10_000;
/** Keys without a name that are tried with a token. */
const TRIED_MAX = 8;
/** How far the provider's clock may be from ours, in seconds. */
const LEEWAY_SECONDS = 60;
const USERNAME_LENGTH_MAX = 256;

export interface OidcParts {
  readonly clock: { nowMs(): number; wallMs(): number };
  /** Must be the token's `iss`. */
  readonly issuer: string;
  /** Must be among the token's `aud`. */
  readonly audience: string;
  /** The claim that names the user. */
  readonly usernameClaim: string;
  /** Stands before the claim in the user's name, so that no claim can be the name of another user, or root's. */
  readonly usernamePrefix: string;
  /** Takes and gives all other tokens. */
  readonly inner: Tokens;
  /** A token names a key that is not known: there may be new ones. Called at most now and then. */
  readonly onUnknownKey: () => void;
}

interface Login {
  caller: Caller;
  readonly untilSeconds: number;
  readonly fromSeconds: number;
}

export class OidcTokens implements Tokens {
  private readonly parts: OidcParts;
  private keys: readonly ProviderKey[] = [];
  private readonly known = new Map<string, Login>();
  private document: { stop(): void } | null = null;

  constructor(parts: OidcParts) {
    this.parts = parts;
  }

  /** From now on these are the provider's keys. */
  replaceKeys(keys: readonly ProviderKey[]): void {
    this.keys = keys;
    this.known.clear();
  }

  /** Ends with these tokens. */
  follow(document: { stop(): void }): void {
    this.document = document;
  }

  get keyCount(): number {
    return this.keys.length;
  }

  prefix(): string {
    return this.parts.inner.prefix();
  }

  issue(user: string, authRevision: number, applied: string): string | null {
    return this.parts.inner.issue(user, authRevision, applied);
  }

  caller(token: string, authRevision: number): Caller | null {
    let login = this.known.get(token);
    if (login === undefined) {
      if (!isSigned(token)) return this.parts.inner.caller(token, authRevision);
      const read = this.read(token);
      if (read === null) return null;
      if (this.known.size >= KNOWN_MAX) this.known.clear();
      this.known.set(token, read);
      login = read;
    }
    const seconds = this.parts.clock.wallMs() / 1000;
    if (seconds >= login.untilSeconds) {
      this.known.delete(token);
      return null;
    }
    if (seconds < login.fromSeconds) return null;
    // The provider knows nothing of our revisions: what the user may do is judged by the present one.
    if (login.caller.authRevision !== authRevision) login.caller = new Caller(login.caller.username, authRevision);
    return login.caller;
  }

  bornAt(token: string): number {
    return isSigned(token) ? 0 : this.parts.inner.bornAt(token);
  }

  assigned(user: string, token: string): void {
    this.parts.inner.assigned(user, token);
  }

  dropUser(user: string): void {
    this.parts.inner.dropUser(user);
  }

  dropAll(): void {
    this.parts.inner.dropAll();
  }

  stop(): void {
    this.document?.stop();
    this.parts.inner.stop();
  }

  private read(token: string): Login | null {
    if (token.length > TOKEN_LENGTH_MAX) return null;
    const [head, body, signature] = token.split('.') as [string, string, string];
    const header = json(head);
    if (header === null || header['crit'] !== undefined) return null;
    const { alg, kid } = header;
    const algorithm = typeof alg === 'string' ? PROVIDER_ALGORITHMS.get(alg) : undefined;
    if (algorithm === undefined) return null;
    // The claims first: they cost nothing, and who is not meant for us is not worth a signature.
    const login = this.login(json(body));
    if (login === null) return null;
    const named = this.keys.filter((key) => kid === undefined || key.id === kid);
    if (named.length === 0) {
      this.parts.onUnknownKey();
      return null;
    }
    const data = Buffer.from(`${head}.${body}`);
    const bytes = Buffer.from(signature, 'base64url');
    const signers = named.filter((key) => key.algorithms.includes(alg as string)).slice(0, TRIED_MAX);
    return signers.some(({ key }) => isSignedBy(key, algorithm, data, bytes)) ? login : null;
  }

  private login(claims: Record<string, unknown> | null): Login | null {
    if (claims === null) return null;
    const { issuer, audience, usernameClaim, usernamePrefix } = this.parts;
    const { iss, aud, exp, nbf } = claims;
    const name = Object.hasOwn(claims, usernameClaim) ? claims[usernameClaim] : undefined;
    if (iss !== issuer || !(aud === audience || (Array.isArray(aud) && aud.includes(audience)))) return null;
    if (typeof exp !== 'number' || (nbf !== undefined && typeof nbf !== 'number')) return null;
    if (typeof name !== 'string' || name === '' || name.length > USERNAME_LENGTH_MAX) return null;
    // An address that nobody has confirmed is what anybody may have typed in.
    if (usernameClaim === 'email' && claims['email_verified'] === false) return null;
    const fromSeconds = nbf === undefined ? 0 : nbf - LEEWAY_SECONDS;
    return { caller: new Caller(usernamePrefix + name, 0), untilSeconds: exp + LEEWAY_SECONDS, fromSeconds };
  }
}

function isSigned(token: string): boolean {
  const first = token.indexOf('.');
  if (first < 0) return false;
  const second = token.indexOf('.', first + 1);
  return second > 0 && !token.includes('.', second + 1);
}
