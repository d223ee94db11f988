import type { X509Certificate } from 'node:crypto';
import type * as tls from 'node:tls';
import type { PeerCertificate, TlsAgreement, TlsOptions } from '../network.ts';

/** The part of the options that OpenSSL keeps for all connections. */
export function secureContextOptions(options: TlsOptions): tls.SecureContextOptions {
  const result: tls.SecureContextOptions = {};
  if (options.cert !== undefined) result.cert = options.cert;
  if (options.key !== undefined) result.key = options.key;
  if (options.ca !== undefined) result.ca = options.ca as tls.SecureContextOptions['ca'];
  if (options.crl !== undefined) result.crl = options.crl as tls.SecureContextOptions['crl'];
  if (options.ciphers !== undefined) result.ciphers = options.ciphers;
  if (options.minVersion !== undefined) result.minVersion = options.minVersion;
  if (options.maxVersion !== undefined) result.maxVersion = options.maxVersion;
  return result;
}

/** Longer chains than this are nobody's. */
const CHAIN_MAX = 16;

/** The certificate of the other side with those that vouch for it; null where it showed none. */
export function certificateOf(raw: tls.TLSSocket): PeerCertificate | null {
  const leaf = raw.getPeerX509Certificate();
  if (leaf === undefined) return null;
  const issuers: Buffer[] = [];
  let issuer: X509Certificate | undefined = leaf.issuerCertificate;
  while (issuer !== undefined && issuers.length < CHAIN_MAX) {
    if (issuer.raw.equals(issuers.at(-1) ?? leaf.raw)) break; // a root stands for itself
    issuers.push(issuer.raw);
    issuer = issuer.issuerCertificate;
  }
  const subject = raw.getPeerCertificate().subject as { readonly CN?: string | string[] } | undefined;
  const commonName = subject?.CN;
  return {
    commonName: (Array.isArray(commonName) ? commonName[0] : commonName) ?? '',
    subjectAltNames: leaf.subjectAltName?.split(', ') ?? [],
    raw: leaf.raw,
    issuers,
  };
}

/** What the handshake of this connection, which is done, has agreed on. */
export function agreementOf(raw: tls.TLSSocket): TlsAgreement {
  const session = raw.getSession();
  return {
    version: raw.getProtocol() ?? '',
    cipher: raw.getCipher().standardName,
    group: session === undefined ? '' : keyExchangeGroup(session),
    isResumed: raw.isSessionReused(),
  };
}

/** Names of groups (IANA, TLS Supported Groups). */
const GROUPS: Readonly<Record<number, string>> = {
  23: 'P-256',
  24: 'P-384',
  25: 'P-521',
  29: 'X25519',
  30: 'X448',
  4587: 'SecP256r1MLKEM768',
  4588: 'X25519MLKEM768',
  4589: 'SecP384r1MLKEM1024',
};

/** The element of OpenSSL's session that holds the group: `[19] EXPLICIT INTEGER`. */
const GROUP_TAG = 0xb3;

/**
 * The group of the key exchange in a session as OpenSSL writes it. Node tells clients of it (`getEphemeralKeyInfo`) but
 * not servers. '' where the session has none that is known.
 */
export function keyExchangeGroup(session: Buffer): string {
  let at = skipHeader(session, 0);
  while (at >= 0 && at < session.length) {
    const content = skipHeader(session, at);
    if (content < 0) return '';
    if (session[at] === GROUP_TAG) {
      const length = session[content + 1] as number;
      if (session[content] !== 0x02 || !(length >= 1 && length <= 4) || content + 2 + length > session.length)
        return '';
      const group = session.readUIntBE(content + 2, length);
      return GROUPS[group] ?? `0x${group.toString(16)}`;
    }
    at = content + contentLength(session, at);
  }
  return '';
}

/** Where the content of the DER element at `at` begins; −1 where there is none. */
function skipHeader(bytes: Buffer, at: number): number {
  const first = bytes[at + 1];
  if (first === undefined) return -1;
  const begin = at + 2 + (first < 0x80 ? 0 : first & 0x7f);
  return begin <= bytes.length && (first < 0x80 || (first & 0x7f) <= 4) ? begin : -1;
}

/** Bytes of content of the DER element at `at`, whose header is whole. */
function contentLength(bytes: Buffer, at: number): number {
  const first = bytes[at + 1] as number;
  return first < 0x80 ? first : first === 0x80 ? 0 : bytes.readUIntBE(at + 2, first & 0x7f);
}
