/** The files of one side, read and checked together: either all of them can be used, or none is taken. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { errorFrom, OperatorError } from '@etsd/base';
import { pemBlocks, pemOf } from './der.ts';
import { type Revocations, readRevocations } from './revocations.ts';
import type { FlagFile, SideFlags } from './side-flags.ts';

/** The contents of the files that the flags name, by path. */
export type FileContents = ReadonlyMap<string, Buffer>;

/** One thing that ends by itself. */
export interface Expiry {
  readonly file: FlagFile;
  readonly kind: 'certificate' | 'authority' | 'revocations';
  readonly atMs: number;
}

export interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface Credentials {
  /** Shown where this side listens; null where it only dials. */
  readonly shown: Pair | null;
  /** Shown where it dials; null: nothing. */
  readonly dialled: Pair | null;
  readonly ca: Buffer | null;
  readonly revocations: Revocations | null;
  readonly expiries: readonly Expiry[];
}

/** The files of a side, each once. */
export function filesOf(flags: SideFlags): FlagFile[] {
  const { cert, key, ca, crl, dialCert, dialKey } = flags;
  const given = [cert, key, ca, crl, dialCert, dialKey].filter(({ path }) => path !== '');
  return given.filter((file, index) => given.findIndex(({ path }) => path === file.path) === index);
}

/** Checks the files against each other. Throws an `OperatorError` that names the flag and the file at fault. */
export function checkCredentials(flags: SideFlags, contents: FileContents): Credentials {
  const expiries: Expiry[] = [];
  const shown = pairOf(flags.cert, flags.key, contents, expiries);
  const dialled = flags.dialCert.path === '' ? shown : pairOf(flags.dialCert, flags.dialKey, contents, expiries);
  const ca = contents.get(flags.ca.path) ?? null;
  if (ca !== null) expiries.push({ file: flags.ca, kind: 'authority', atMs: authoritiesEndMs(flags.ca, ca) });
  const crl = contents.get(flags.crl.path);
  let revocations: Revocations | null = null;
  if (crl !== undefined) {
    revocations = attempt(flags.crl, 'is no list of revoked certificates', () => readRevocations(crl));
    expiries.push({ file: flags.crl, kind: 'revocations', atMs: revocations.nextUpdateMs });
  }
  return { shown, dialled, ca, revocations, expiries };
}

function pairOf(certFile: FlagFile, keyFile: FlagFile, contents: FileContents, expiries: Expiry[]): Pair | null {
  const cert = contents.get(certFile.path);
  const key = contents.get(keyFile.path);
  if (cert === undefined || key === undefined) return null;
  const certificate = attempt(certFile, 'is no certificate', () => new X509Certificate(cert));
  const secret = attempt(keyFile, 'is no private key', () => createPrivateKey(key));
  if (!isPair(certificate, secret)) {
    throw new OperatorError(
      `${certFile.flag} ${certFile.path} and ${keyFile.flag} ${keyFile.path} cannot be used together: tls: private key does not match public key`,
      'Give a certificate in PEM form and the private key that belongs to it.',
    );
  }
  expiries.push({ file: certFile, kind: 'certificate', atMs: Date.parse(certificate.validTo) });
  return { cert, key };
}

function isPair(certificate: X509Certificate, key: KeyObject): boolean {
  return certificate.checkPrivateKey(key);
}

/** When the last of the authorities ends; one that ends earlier takes only its own certificates along. */
function authoritiesEndMs(file: FlagFile, bundle: Buffer): number {
  const blocks = pemBlocks(bundle.toString('latin1'), 'CERTIFICATE');
  if (blocks.length === 0) throw refusal(file, 'holds no certificate in PEM form', null);
  let endMs = 0;
  for (const block of blocks) {
    const authority = attempt(file, 'holds something that is no certificate', () => {
      return new X509Certificate(pemOf('CERTIFICATE', block));
    });
    endMs = Math.max(endMs, Date.parse(authority.validTo));
  }
  return endMs;
}

function attempt<T>(file: FlagFile, wrong: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw refusal(file, wrong, error);
  }
}

function refusal(file: FlagFile, wrong: string, cause: unknown): OperatorError {
  const why = cause === null ? '' : `: ${errorFrom(cause).message}`;
  return new OperatorError(`${file.flag} ${file.path} ${wrong}${why}`, `Give ${file.flag} another file.`, { cause });
}

/** Refuses what has ended already. */
export function requireValid(credentials: Credentials, nowMs: number): void {
  for (const { file, kind, atMs } of credentials.expiries) {
    // A list that is out of date still tells of those who are revoked.
    if (kind === 'revocations' || atMs > nowMs) continue;
    throw new OperatorError(
      `${file.flag} ${file.path} has expired on ${new Date(atMs).toISOString()}`,
      'Have a new certificate issued.',
    );
  }
}
