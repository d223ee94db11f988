/** What is asked of a certificate beyond the authority that signed it, in etcd's order and words. */
import { X509Certificate } from 'node:crypto';
import type { CheckOutcome, Names, PeerCertificate } from '@etsd/runtime';
import { type Revocations, serialText } from './revocations.ts';
import { addressBytes } from './self-signed.ts';

const NOT_ALLOWED = new Error('client certificate authentication failed');

/** Whether one of the names is in the certificate; without names everybody is allowed. */
export function checkAllowed(
  certificate: PeerCertificate,
  commonNames: readonly string[],
  hostnames: readonly string[],
): CheckOutcome {
  if (commonNames.length > 0 && !commonNames.includes(certificate.commonName)) return NOT_ALLOWED;
  if (hostnames.length === 0) return null;
  const parsed = new X509Certificate(certificate.raw);
  return hostnames.some((host) => isFor(parsed, host)) ? null : NOT_ALLOWED;
}

/** Whether the certificate is good for this name or address, by its alternative names only. */
function isFor(certificate: X509Certificate, host: string): boolean {
  if (addressBytes(host) !== null) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host, { subject: 'never' }) !== undefined;
}

/** Whether the certificate, or one of those it rests on, is in the list. */
export function checkRevoked({ raw, issuers }: PeerCertificate, revocations: Revocations): CheckOutcome {
  if (revocations.serials.size === 0) return null;
  for (const each of [raw, ...issuers]) {
    const serial = serialText(new X509Certificate(each).serialNumber);
    if (revocations.serials.has(serial)) return new Error(`transport: certificate serial ${serial} revoked`);
  }
  return null;
}

/**
 * Whether who connects comes from an address that its certificate names: one of its addresses, or one that one of its
 * names resolves to. A certificate with neither is good for every address. `remote`: address and port.
 */
export function checkAddress(
  certificate: PeerCertificate,
  remote: string,
  names: Names,
): CheckOutcome | Promise<CheckOutcome> {
  const host = remote
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d+\.)/i, '');
  const addresses = alternativeNames(certificate, 'IP Address:');
  const dnsNames = alternativeNames(certificate, 'DNS:');
  if (addresses.length === 0 && dnsNames.length === 0) return null;
  if (addresses.length > 0) {
    if (new X509Certificate(certificate.raw).checkIP(host) !== undefined) return null;
    if (dnsNames.length === 0) {
      return new Error(`x509: certificate is valid for ${addresses.join(', ')}, not ${host}`);
    }
  }
  return resolvesTo(host, dnsNames, names);
}

function alternativeNames({ subjectAltNames }: PeerCertificate, prefix: string): string[] {
  return subjectAltNames.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

async function resolvesTo(host: string, dnsNames: readonly string[], names: Names): Promise<CheckOutcome> {
  const plain = dnsNames.filter((name) => !name.startsWith('*.'));
  const wild = dnsNames.filter((name) => name.startsWith('*.')).map((name) => name.slice(1));
  let reason = '';
  // What the address is called is asked first; a wildcard can be met in no other way.
  try {
    for (const found of await names.hostsOf(host)) {
      if (plain.includes(found) || wild.some((suffix) => found.endsWith(suffix))) return null;
    }
  } catch (error) {
    reason = (error as Error).message;
  }
  for (const name of plain) {
    try {
      if ((await names.addresses(name)).includes(host)) return null;
    } catch (error) {
      reason = (error as Error).message;
    }
  }
  const shown = dnsNames.map((name) => JSON.stringify(name)).join(' ');
  const why = reason === '' ? '' : ` (${reason})`;
  return new Error(`tls: "${host}" does not match any of DNSNames [${shown}]${why}`);
}
