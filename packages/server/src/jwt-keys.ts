/** Keys for tokens, and signatures with them (RFC 7515, RFC 7518). */
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

/** What a signature is made of, by the name in `alg`. */
export interface Algorithm {
  readonly kind: 'hmac' | 'rsa' | 'pss' | 'ec' | 'ed25519';
  /** Null where the kind has its own. */
  readonly hash: string | null;
  /** Of the curve, for `ec`. */
  readonly curve?: string;
}

export const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
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

/** Why the keys can not be used. */
export class JwtKeyError extends Error {
  override readonly name = 'JwtKeyError';
}

/** Keys that verify, at a time: a token that names none of them is tried with each. */
const VERIFYING_MAX = 16;

/** Contents of key files (PEM; the secret itself for HMAC); null where none was given. */
export interface KeyMaterial {
  readonly signMethod: string;
  readonly privateKey: Buffer | null;
  /** One public key, or several behind each other: each verifies. */
  readonly publicKey: Buffer | null;
  /** More of those, and former secrets. */
  readonly verifyKeys: readonly Buffer[];
}

/** Keys that were found good: one that signs, or none, and those that verify. */
export class JwtKeys {
  readonly signMethod: string;
  readonly canSign: boolean;
  private readonly algorithm: Algorithm;
  private readonly signing: Buffer | KeyObject | null;
  private readonly verifying: readonly (Buffer | KeyObject)[];

  constructor(material: KeyMaterial) {
    const algorithm = ALGORITHMS[material.signMethod];
    if (algorithm === undefined) throw new JwtKeyError('auth: invalid auth signature method');
    this.algorithm = algorithm;
    this.signMethod = material.signMethod;
    const { signing, verifying } = algorithm.kind === 'hmac' ? secrets(material) : keyPairs(material, algorithm);
    if (verifying.length > VERIFYING_MAX) {
      throw new JwtKeyError(`more than ${VERIFYING_MAX} keys to verify tokens with`);
    }
    this.signing = signing;
    this.verifying = verifying;
    this.canSign = signing !== null;
  }

  sign(data: Buffer): Buffer {
    const { kind, hash } = this.algorithm;
    if (Buffer.isBuffer(this.signing)) return hmac(hash, this.signing, data);
    return sign(hash, data, { key: this.signing as KeyObject, ...signatureOptions(kind, false) });
  }

  /** Whether one of the keys made the signature. */
  isSigned(data: Buffer, signature: Buffer): boolean {
    const { algorithm } = this;
    return this.verifying.some((key) => {
      if (!Buffer.isBuffer(key)) return isSignedBy(key, algorithm, data, signature);
      const expected = hmac(algorithm.hash, key, data);
      return expected.length === signature.length && timingSafeEqual(expected, signature);
    });
  }
}

function hmac(hash: string | null, secret: Buffer, data: Buffer): Buffer {
  return createHmac(hash as string, secret)
    .update(data)
    .digest();
}

interface KeySet {
  readonly signing: Buffer | KeyObject | null;
  readonly verifying: readonly (Buffer | KeyObject)[];
}

function secrets({ privateKey, verifyKeys }: KeyMaterial): KeySet {
  if (privateKey === null || privateKey.length === 0) throw new JwtKeyError('auth: missing key data');
  if (verifyKeys.some((key) => key.length === 0)) throw new JwtKeyError('auth: missing key data');
  return { signing: privateKey, verifying: [privateKey, ...verifyKeys] };
}

function keyPairs({ privateKey, publicKey, verifyKeys }: KeyMaterial, algorithm: Algorithm): KeySet {
  if (privateKey === null && publicKey === null && verifyKeys.length === 0) {
    throw new JwtKeyError('auth: missing key data');
  }
  const read = (pem: Buffer): KeyObject[] =>
    blocksOf(pem).map((block) => checked(createKey(createPublicKey, block), algorithm));
  const more = verifyKeys.flatMap(read);
  const verifying = publicKey === null ? [] : read(publicKey);
  if (privateKey === null) return { signing: null, verifying: [...verifying, ...more] };
  const signing = checked(createKey(createPrivateKey, privateKey), algorithm);
  const own = createPublicKey(signing);
  if (verifying.length > 0 && !verifying.some((key) => key.equals(own))) {
    throw new JwtKeyError("public and private keys don't match");
  }
  return { signing, verifying: [own, ...verifying.filter((key) => !key.equals(own)), ...more] };
}

/** The keys of a PEM file one by one. */
function blocksOf(pem: Buffer): Buffer[] {
  const blocks = pem.toString('latin1').match(/-----BEGIN [A-Z ]+-----[^-]*-----END [A-Z ]+-----/g);
  return blocks === null ? [pem] : blocks.map((block) => Buffer.from(block, 'latin1'));
}

/** Whether this key made the signature. */
export function isSignedBy(key: KeyObject, { kind, hash }: Algorithm, data: Buffer, signature: Buffer): boolean {
  return verify(hash, data, { key, ...signatureOptions(kind, true) }, signature);
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
export function checked(key: KeyObject, { kind, curve }: Algorithm): KeyObject {
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
