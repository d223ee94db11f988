/** Key sets (RFC 7517): the public keys with which an identity provider's tokens are checked. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { ALGORITHMS, type Algorithm, checked } from './jwt-keys.ts';

/** Bytes of a document; a larger one is refused. */
export const JWKS_BYTES_MAX = 256 * 1024;
/** Keys of a set; more are refused. */
const KEYS_MAX = 100;
const RSA_BITS_MIN = 2048;

export interface ProviderKey {
  /** Empty where the key has none. */
  readonly id: string;
  /** Names of `alg` that the key may verify. */
  readonly algorithms: readonly string[];
  readonly key: KeyObject;
}

/** Why a document is no set of keys that tokens could be checked with. */
export class JwksError extends Error {
  override readonly name = 'JwksError';
}

/** Algorithms that a token of a provider may name: none with a shared secret, and not `none`. */
export const PROVIDER_ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map(
  Object.entries(ALGORITHMS).filter(([, { kind }]) => kind !== 'hmac'),
);

/** The keys of a document that verify signatures; others in it are passed over. Throws where none is left. */
export function parseJwks(document: Buffer): ProviderKey[] {
  if (document.length > JWKS_BYTES_MAX) throw new JwksError(`larger than ${JWKS_BYTES_MAX} bytes`);
  let content: unknown;
  try {
    content = JSON.parse(document.toString('utf8'));
  } catch {
    throw new JwksError('not JSON');
  }
  const entries = isObject(content) ? content['keys'] : undefined;
  if (!Array.isArray(entries)) throw new JwksError('no member "keys"');
  if (entries.length > KEYS_MAX) throw new JwksError(`more than ${KEYS_MAX} keys`);
  const keys = entries.map(readKey).filter((key) => key !== null);
  if (keys.length === 0) throw new JwksError('no key that verifies signatures');
  return keys;
}

function readKey(entry: unknown): ProviderKey | null {
  if (!isObject(entry) || (entry['use'] !== undefined && entry['use'] !== 'sig')) return null;
  const { kid, alg, kty } = entry;
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return null;
  let key: KeyObject;
  try {
    // Only what makes the public key: a document that gives a private one away is not to be trusted with it.
    const { n, e, crv, x, y } = entry as Record<string, string>;
    const parts = Object.entries({ kty, n, e, crv, x, y }).filter(([, value]) => value !== undefined);
    key = createPublicKey({ key: Object.fromEntries(parts), format: 'jwk' });
  } catch {
    return null;
  }
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < RSA_BITS_MIN) return null;
  const names = [...PROVIDER_ALGORITHMS].flatMap(([name, algorithm]) => (fits(key, algorithm) ? [name] : []));
  const algorithms = alg === undefined ? names : names.filter((name) => name === alg);
  return algorithms.length === 0 ? null : { id: typeof kid === 'string' ? kid : '', algorithms, key };
}

function fits(key: KeyObject, algorithm: Algorithm): boolean {
  try {
    checked(key, algorithm);
    return true;
  } catch {
    return false;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
