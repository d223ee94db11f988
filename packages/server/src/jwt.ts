/** JSON Web Tokens (RFC 7519, signed as RFC 7515 and RFC 7518 say): who holds the public key can check them. */
import {
  constants,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { Caller, type Tokens } from './tokens.ts';

/** What a signature is made of, by the name in `alg`. */
interface Algorithm {
  readonly kind: 'hmac' | 'rsa' | 'pss' | 'ec' | 'ed25519';
  /** Null where the kind has its own. */
  readonly hash: string | null;
  /** Of the curve, for `ec`. */
  readonly curve?: string;
}

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  HS256: { kind: 'hmac', hash: 'sha256' },
  HS384: { kind: 'hmac', hash: 'sha384' },
  HS512: { kind: 'hmac', hash: 'sha512' },
  RS256: { kind: 'rsa', hash: 'sha256' },
  RS384: { kind: 'rsa', hash: 'sha384' },
  RS512: { kind: 'rsa', hash: 'sha512' },
  PS256: { kind: 'pss', hash: 'sha256' },
  PS384: { kind: 'pss', hash: 'sha384' },
  PS512: { kind: 'pss', hash: 'sha512' },
  ES256: { kind: 'ec', hash: 'sha256', curve: 'prime256v1' },
  ES384: { kind: 'ec', hash: 'sha384', curve: 'secp384r1' },
  ES512: { kind: 'ec', hash: 'sha512', curve: 'secp521r1' },
  EdDSA: { kind: 'ed25519', hash: null },
};

export function isSignMethod(name: string): boolean {
  return Object.hasOwn(ALGORITHMS, name);
}

/** Verified tokens that are remembered, so that a call costs no signature check; beyond it all are forgotten. */
const KNOWN_MAX = 10_000;

export interface JwtParts {
  /** Wall clock in milliseconds: `exp` is in its seconds. */
  readonly clock: { wallMs(): number };
  readonly signMethod: string;
  /** Contents of the key files (PEM; the secret itself for HMAC); null where none was given. */
  readonly privateKey: Buffer | null;
  readonly publicKey: Buffer | null;
  readonly ttlMs: number;
}

/** Why the keys can not be used. */
export class JwtKeyError extends Error {
  override readonly name = 'JwtKeyError';
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
  private readonly algorithm: Algorithm;
  private readonly secret: Buffer | null;
  /** Null where this member only verifies. */
  private readonly signingKey: KeyObject | null;
  private readonly verifyingKey: KeyObject | null;
  private known = new Map<string, { readonly caller: Caller; readonly claims: Claims }>();

  constructor(parts: JwtParts) {
    this.parts = parts;
    const algorithm = ALGORITHMS[parts.signMethod];
    if (algorithm === undefined) throw new JwtKeyError('auth: invalid auth signature method');
    this.algorithm = algorithm;
    if (algorithm.kind === 'hmac') {
      if (parts.privateKey === null || parts.privateKey.length === 0) throw new JwtKeyError('auth: missing key data');
      this.secret = parts.privateKey;
      this.signingKey = this.verifyingKey = null;
      return;
    }
    this.secret = null;
    const { privateKey, publicKey } = parts;
    if (privateKey === null && publicKey === null) throw new JwtKeyError('auth: missing key data');
    this.signingKey = privateKey === null ? null : checked(createKey(createPrivateKey, privateKey), algorithm);
    const verifyingKey = publicKey === null ? null : checked(createKey(createPublicKey, publicKey), algorithm);
    if (this.signingKey === null) {
      this.verifyingKey = verifyingKey;
      return;
    }
    this.verifyingKey = createPublicKey(this.signingKey);
    if (verifyingKey !== null && !verifyingKey.equals(this.verifyingKey)) {
      throw new JwtKeyError("public and private keys don't match");
    }
  }

  /** Signed by whoever is asked; the log carries none. */
  prefix(): string {
    return '';
  }

  issue(user: string, authRevision: number): string | null {
    if (this.secret === null && this.signingKey === null) return null;
    const seconds = Math.floor((this.parts.clock.wallMs() + this.parts.ttlMs) / 1000);
    const head = part({ alg: this.parts.signMethod, typ: 'JWT' });
    const signed = `${head}.${part({ exp: seconds, revision: authRevision, username: user })}`;
    return `${signed}.${this.signature(Buffer.from(signed)).toString('base64url')}`;
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
    const parts = token.split('.');
    if (parts.length !== 3) return null;
    const [head, body, signature] = parts as [string, string, string];
    const header = json(head);
    // The algorithm is ours to choose, never the token's.
    if (header === null || header['alg'] !== this.parts.signMethod || header['crit'] !== undefined) return null;
    if (!this.isSigned(Buffer.from(`${head}.${body}`), Buffer.from(signature, 'base64url'))) return null;
    const claims = json(body);
    if (claims === null) return null;
    const { username, revision, exp, nbf } = claims;
    if (typeof username !== 'string' || typeof revision !== 'number') return null;
    if (exp !== undefined && typeof exp !== 'number') return null;
    if (nbf !== undefined && typeof nbf !== 'number') return null;
    if (!Number.isSafeInteger(revision) || revision < 0) return null;
    return { username, revision, exp: exp ?? null, nbf: nbf ?? null };
  }

  private signature(data: Buffer): Buffer {
    const { kind, hash } = this.algorithm;
    if (kind === 'hmac')
      return createHmac(hash as string, this.secret as Buffer)
        .update(data)
        .digest();
    return sign(hash, data, { key: this.signingKey as KeyObject, ...signatureOptions(kind, false) });
  }

  private isSigned(data: Buffer, signature: Buffer): boolean {
    const { kind, hash } = this.algorithm;
    if (kind === 'hmac') {
      const expected = this.signature(data);
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    }
    return verify(hash, data, { key: this.verifyingKey as KeyObject, ...signatureOptions(kind, true) }, signature);
  }
}

function signatureOptions(kind: Algorithm['kind'], verifying: boolean): object {
  const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_AUTO, RSA_PSS_SALTLEN_DIGEST } = constants;
  if (kind === 'rsa') return { padding: RSA_PKCS1_PADDING };
  if (kind === 'ec') return { dsaEncoding: 'ieee-p1363' };
  if (kind === 'ed25519') return {};
  return { padding: RSA_PKCS1_PSS_PADDING, saltLength: verifying ? RSA_PSS_SALTLEN_AUTO : RSA_PSS_SALTLEN_DIGEST };
}

function createKey(create: (pem: Buffer) => KeyObject, pem: Buffer): KeyObject {
  try {
    return create(pem);
  } catch (error) {
    throw new JwtKeyError(`the key can not be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The key where it is one of the algorithm's kind. */
function checked(key: KeyObject, { kind, curve }: Algorithm): KeyObject {
  const type = key.asymmetricKeyType;
  const fits =
    kind === 'ec'
      ? type === 'ec' && key.asymmetricKeyDetails?.namedCurve === curve
      : kind === 'ed25519'
        ? type === 'ed25519'
        : type === 'rsa' || (kind === 'pss' && type === 'rsa-pss');
  if (!fits) throw new JwtKeyError(`a key of type ${type} does not sign as the method says`);
  return key;
}

function part(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString('base64url');
}

function json(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
