/** Lists of revoked certificates (RFC 5280 §5), in DER or PEM, several in one PEM file if need be. */
import { DerError, DerTag, pemBlocks, readElements, readTime } from './der.ts';

export interface Revocations {
  /** Serial numbers in small hexadecimal digits, no zeros in front. */
  readonly serials: ReadonlySet<string>;
  /** When the first of the lists was to be followed by a newer one; Infinity where none says so. */
  readonly nextUpdateMs: number;
}

/** Reads a file of `--client-crl-file` or `--peer-crl-file`. Throws an error that says what is wrong with it. */
export function readRevocations(file: Buffer): Revocations {
  const lists = file[0] === DerTag.SEQUENCE ? [file] : pemBlocks(file.toString('latin1'), 'X509 CRL');
  if (lists.length === 0) throw new DerError('it holds no certificate revocation list, neither in DER nor in PEM');
  const serials = new Set<string>();
  let nextUpdateMs = Number.POSITIVE_INFINITY;
  for (const list of lists) nextUpdateMs = Math.min(nextUpdateMs, readList(list, serials));
  return { serials, nextUpdateMs };
}

/** Adds the serial numbers of one list; returns when the next was to come. */
function readList(bytes: Buffer, serials: Set<string>): number {
  const [outer, ...behind] = readElements(bytes, 0, bytes.length);
  if (outer?.tag !== DerTag.SEQUENCE || behind.length > 0) throw new DerError('it is not one list');
  const [body] = readElements(bytes, outer.start, outer.end);
  if (body?.tag !== DerTag.SEQUENCE) throw new DerError('it is not a certificate revocation list');
  const parts = readElements(bytes, body.start, body.end);
  // version?, signature, issuer, thisUpdate, nextUpdate?, revokedCertificates?, extensions?
  let at = parts[0]?.tag === DerTag.INTEGER ? 3 : 2;
  const isTime = (index: number): boolean => {
    const tag = parts[index]?.tag;
    return tag === DerTag.UTC_TIME || tag === DerTag.GENERALIZED_TIME;
  };
  if (!isTime(at)) throw new DerError('it is not a certificate revocation list');
  at++;
  const nextUpdate = isTime(at) ? readTime(bytes, parts[at++] as (typeof parts)[number]) : Number.POSITIVE_INFINITY;
  const revoked = parts[at];
  if (revoked?.tag !== DerTag.SEQUENCE) return nextUpdate;
  for (const entry of readElements(bytes, revoked.start, revoked.end)) {
    const [serial] = readElements(bytes, entry.start, entry.end);
    if (serial?.tag !== DerTag.INTEGER) throw new DerError('an entry without a serial number');
    serials.add(serialText(bytes.toString('hex', serial.start, serial.end)));
  }
  return nextUpdate;
}

/** A serial number as it is compared here. */
export function serialText(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '');
}
