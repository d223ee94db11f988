/** JSON Web Tokens (RFC 7519): who holds the public key can check them. */
import { JwtKeys, type KeyMaterial } from './jwt-keys.ts';
import { Caller, type Tokens } from './tokens.ts';

export { isSignMethod, JwtKeyError } from './jwt-keys.ts';

/** Verified tokens that are remembered, so that a call costs no signature check; beyond it all are forgotten. */
const KNOWN_MAX = 10_000;

/** Longest token that is looked at. */
export const TOKEN_LENGTH_MAX = 16_384;

export interface JwtParts extends Omit<KeyMaterial, 'verifyKeys'> {
  /** Wall clock in milliseconds: `exp` is in its seconds. */
  readonly clock: { wallMs(): number };
  readonly verifyKeys?: readonly Buffer[];
  readonly ttlMs: number;
}

interface Claims {
  readonly username: string;
  readonly revision: number;
  /** Seconds since 1970; null where the token never ends. */
  readonly exp: number | null;
  readonly nbf: number | null;
}

export class JwtTokens implements Tokens {
  private readonly parts: JwtParts;
  private keys: JwtKeys;
  private known = new Map<string, { readonly caller: Caller; readonly claims: Claims }>();

  constructor(parts: JwtParts) {
    this.parts = parts;
    this.keys = new JwtKeys({ ...parts, verifyKeys: parts.verifyKeys ?? [] });
  }

  /** From now on these keys sign and verify; what others have signed ends. */
  replaceKeys(keys: JwtKeys): void {
    this.keys = keys;
    this.known.clear();
  }

  /** Signed by whoever is asked; the log carries none. */
  prefix(): string {
    return '';
  }

  issue(user: string, authRevision: number): string | null {
    if (!this.keys.canSign) return null;
    const seconds = Math.floor((this.parts.clock.wallMs() + this.parts.ttlMs) / 1000);
    const head = part({ alg: this.parts.signMethod, typ: 'JWT' });
    const signed = `${head}.${part({ exp: seconds, revision: authRevision, username: user })}`;
    return `${signed}.${this.keys.sign(Buffer.from(signed)).toString('base64url')}`;
  }

  caller(token: string): Caller | null {
    let entry = this.known.get(token);
    if (entry === undefined) {
      const claims = this.read(token);
      if (claims === null) return null;
      entry = { caller: new Caller(claims.username, claims.revision), claims };
      if (this.known.size >= KNOWN_MAX) this.known.clear();
      this.known.set(token, entry);
    }
    const seconds = this.parts.clock.wallMs() / 1000;
    const { exp, nbf } = entry.claims;
    if (exp !== null && seconds >= exp) {
      this.known.delete(token);
      return null;
    }
    return nbf !== null && seconds < nbf ? null : entry.caller;
  }

  bornAt(): number {
    return 0;
  }

  assigned(): void {}
  dropUser(): void {}
  dropAll(): void {}
  stop(): void {}

  private read(token: string): Claims | null {
    const parts = token.length > TOKEN_LENGTH_MAX ? [] : token.split('.');
    if (parts.length !== 3) return null;
    const [head, body, signature] = parts as [string, string, string];
    const header = json(head);
    // The algorithm is ours to choose, never the token's.
    if (header === null || header['alg'] !== this.parts.signMethod || header['crit'] !== undefined) return null;
    if (!this.keys.isSigned(Buffer.from(`${head}.${body}`), Buffer.from(signature, 'base64url'))) return null;
    const claims = json(body);
    if (claims === null) return null;
    const { username, revision, exp, nbf } = claims;
    if (typeof username !== 'string' || typeof revision !== 'number') return null;
    if (exp !== undefined && typeof exp !== 'number') return null;
    if (nbf !== undefined && typeof nbf !== 'number') return null;
    if (!Number.isSafeInteger(revision) || revision < 0) return null;
    return { username, revision, exp: exp ?? null, nbf: nbf ?? null };
  }
}

function part(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString('base64url');
}

/** A part of a token, where it is an object of JSON. */
export function json(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
