import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
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
