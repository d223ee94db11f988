import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * PEM files in this folder: an authority `ca`, certificates of it for a `server` and a `client` (both good for either
 * side, at 127.0.0.1 and localhost), and a `stranger` of another authority. Returns the folder.
 */
export function makeCertificates(folder: string): string {
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'ignore' });
  writeFileSync(
    join(folder, 'san'),
    'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  for (const [authority, names] of [
    ['ca', ['server', 'client']],
    ['other-ca', ['stranger']],
  ] as const) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl(
      'req',
      '-x509',
      ...key,
      '-subj',
      `/CN=${authority}`,
      '-days',
      '2',
      '-keyout',
      `${authority}.key`,
      '-out',
      `${authority}.pem`,
    );
    for (const name of names) {
      openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
      const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial'];
      openssl('x509', '-req', '-in', `${name}.csr`, ...signer, '-days', '2', '-extfile', 'san', '-out', `${name}.pem`);
    }
  }
  return folder;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export interface IssueOptions {
  /** As openssl writes them; default 127.0.0.1 and localhost. */
  names?: string;
  commonName?: string;
  /** Default 2; 0 has ended when it begins. */
  days?: number;
}

/** Authorities and certificates of a test in one folder, as PEM files `NAME.pem` and `NAME.key`. */
export class TestAuthorities {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  at(file: string): string {
    return join(this.folder, file);
  }

  private openssl(...words: string[]): void {
    execFileSync('openssl', words, { cwd: this.folder, stdio: 'pipe' });
  }

  authority(name: string): void {
    const rest = ['-days', '2', '-keyout', `${name}.key`, '-out', `${name}.pem`];
    this.openssl('req', '-x509', ...KEY, '-subj', `/CN=${name}`, ...rest);
    writeFileSync(this.at(`${name}.index`), '');
    const settings = `database=${name}.index\ndefault_md=sha256\ndefault_crl_days=5\nnew_certs_dir=.\n`;
    writeFileSync(this.at(`${name}.cnf`), `[ca]\ndefault_ca=d\n[d]\n${settings}`);
  }

  /** A certificate for servers and clients. */
  issue(authority: string, name: string, options: IssueOptions = {}): void {
    const names = options.names ?? 'IP:127.0.0.1,DNS:localhost';
    writeFileSync(this.at('san'), `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    const subject = ['-subj', `/CN=${options.commonName ?? name}`];
    this.openssl('req', ...KEY, ...subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial'];
    const rest = ['-days', String(options.days ?? 2), '-extfile', 'san', '-out', `${name}.pem`];
    this.openssl('x509', '-req', '-in', `${name}.csr`, ...signer, ...rest);
  }

  /** Writes the list of what this authority has revoked, `names` with the rest, in DER. */
  revoke(authority: string, file: string, names: readonly string[] = []): void {
    const as = ['ca', '-config', `${authority}.cnf`, '-keyfile', `${authority}.key`, '-cert', `${authority}.pem`];
    for (const name of names) this.openssl(...as, '-revoke', `${name}.pem`);
    this.openssl(...as, '-gencrl', '-out', 'list.pem');
    this.openssl('crl', '-in', 'list.pem', '-outform', 'DER', '-out', 'list.der');
    renameSync(this.at('list.der'), this.at(file));
  }

  /** Puts the contents of these files, one behind the other, in the place of `to`, at once. */
  put(to: string, ...from: readonly string[]): void {
    writeFileSync(this.at(`${to}.new`), Buffer.concat(from.map((file) => readFileSync(this.at(file)))));
    renameSync(this.at(`${to}.new`), this.at(to));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
