import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key and authority, as texts and as files. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** Certificates made by openssl in a folder of their own. */
export class Certificates {
  private readonly folder = mkdtempSync(join(tmpdir(), 'etsd-peers-tls-'));

  /** Whether openssl is there. */
  static isPossible(): boolean {
    try {
      execFileSync('openssl', ['version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }

  private openssl(...words: string[]): void {
    execFileSync('openssl', words, { cwd: this.folder, stdio: 'ignore' });
  }

  authority(name: string): void {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
    this.openssl('req', '-x509', ...key, '-subj', `/CN=${name}`, '-days', '2', '-out', `${name}.pem`);
  }

  /** A certificate for servers and clients, valid for `names` as openssl writes them (`IP:127.0.0.1,DNS:a`). */
  issue(authority: string, name: string, names: string): Certificate {
    const at = (file: string): string => join(this.folder, file);
    writeFileSync(at('san'), `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
    this.openssl('req', ...key, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
    const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial'];
    const rest = ['-days', '2', '-extfile', 'san', '-out', `${name}.pem`];
    this.openssl('x509', '-req', '-in', `${name}.csr`, ...signer, ...rest);
    const read = (file: string): string => readFileSync(at(file), 'utf8');
    return {
      cert: read(`${name}.pem`),
      key: read(`${name}.key`),
      ca: read(`${authority}.pem`),
      certFile: at(`${name}.pem`),
      keyFile: at(`${name}.key`),
      caFile: at(`${authority}.pem`),
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
