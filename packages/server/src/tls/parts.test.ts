/** Goal: what is written and read of ASN.1 is what OpenSSL reads and writes, and rubbish is refused without harm. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Prng } from '@etsd/base';
import type { Names, PeerCertificate } from '@etsd/runtime';
import { checkAddress, checkAllowed, checkRevoked } from './certificate-checks.ts';
import { cipherList } from './cipher-suites.ts';
import { readRevocations } from './revocations.ts';
import { addressBytes, makeSelfSigned } from './self-signed.ts';

const NOW = Date.parse('2026-11-21T17:00:00Z');
const serial = Buffer.from('be3210864ef50a0fb4f63b9e7e40d782', 'hex');

describe('certificates that vouch for themselves', () => {
  it('are as etcd makes them', () => {
    const hosts = ['localhost', '127.0.0.1', '::1', 'etsd.test'];
    const made = makeSelfSigned({ hosts, nowMs: NOW, years: 2, serial });
    const certificate = new X509Certificate(made.certificate);
    assert.equal(certificate.subject, 'O=etcd');
    assert.equal(certificate.issuer, 'O=etcd');
    assert.equal(certificate.serialNumber.toLowerCase(), serial.toString('hex'));
    assert.equal(
      certificate.subjectAltName,
      'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:etsd.test',
    );
    assert.equal(Date.parse(certificate.validFrom), NOW);
    assert.equal(Date.parse(certificate.validTo), NOW + 730 * 86_400_000);
    assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'secp521r1');
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.equal(certificate.ca, false);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.ok(certificate.checkPrivateKey(createPrivateKey(made.key)));
    assert.match(made.key, /^-----BEGIN EC PRIVATE KEY-----\n/);
  });

  it('carry times after 2049 in four digits', () => {
    const made = makeSelfSigned({ hosts: ['a'], nowMs: NOW, years: 30, serial });
    assert.equal(Date.parse(new X509Certificate(made.certificate).validTo), NOW + 30 * 365 * 86_400_000);
  });

  it('know addresses from names', () => {
    assert.deepEqual(addressBytes('10.0.0.1'), Buffer.from([10, 0, 0, 1]));
    assert.equal(addressBytes('::1')?.toString('hex'), `${'00'.repeat(15)}01`);
    assert.equal(addressBytes('2001:db8::a:1%eth0')?.toString('hex'), '20010db80000000000000000000a0001');
    assert.equal(addressBytes('example.org'), null);
    assert.equal(addressBytes('1:2:3'), null);
  });
});

describe('files made by openssl', () => {
  let folder: string;
  let shown: PeerCertificate;
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: 'ignore' });

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'etsd-crl-'));
    writeFileSync(join(folder, 'san'), 'subjectAltName=IP:127.0.0.1,DNS:m1.etsd.test,DNS:*.wild.test\n');
    writeFileSync(
      join(folder, 'ca.cnf'),
      '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\ndefault_md=sha256\ndefault_crl_days=5\nnew_certs_dir=.\n',
    );
    writeFileSync(join(folder, 'index.txt'), '');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl('req', '-x509', ...key, '-subj', '/CN=ca', '-days', '2', '-keyout', 'ca.key', '-out', 'ca.pem');
    openssl('req', ...key, '-subj', '/CN=member', '-keyout', 'm.key', '-out', 'm.csr');
    const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', '0xABCDEF0123'];
    openssl('x509', '-req', '-in', 'm.csr', ...signer, '-days', '2', '-extfile', 'san', '-out', 'm.pem');
    const certificate = new X509Certificate(readFileSync(join(folder, 'm.pem')));
    shown = {
      commonName: 'member',
      subjectAltNames: (certificate.subjectAltName as string).split(', '),
      raw: certificate.raw,
      issuers: [],
    };
    const as = ['-config', 'ca.cnf', '-keyfile', 'ca.key', '-cert', 'ca.pem'];
    openssl('ca', ...as, '-gencrl', '-out', 'empty.pem');
    openssl('ca', ...as, '-revoke', 'm.pem');
    openssl('ca', ...as, '-gencrl', '-out', 'one.pem');
    openssl('crl', '-in', 'one.pem', '-outform', 'DER', '-out', 'one.der');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const file = (name: string): Buffer => readFileSync(join(folder, name));

  it('lists of revocations are read in DER and PEM, alone and together', () => {
    for (const bytes of [file('one.der'), file('one.pem'), Buffer.concat([file('empty.pem'), file('one.pem')])]) {
      const { serials, nextUpdateMs } = readRevocations(bytes);
      assert.deepEqual([...serials], ['abcdef0123']);
      assert.ok(Math.abs(nextUpdateMs - Date.now() - 5 * 86_400_000) < 120_000);
      assert.equal(
        checkRevoked(shown, { serials, nextUpdateMs })?.message,
        'transport: certificate serial abcdef0123 revoked',
      );
    }
    assert.equal(checkRevoked(shown, readRevocations(file('empty.pem'))), null);
  });

  it('a revoked certificate takes those along that rest on it', () => {
    const leaf = { ...shown, raw: new X509Certificate(file('ca.pem')).raw, issuers: [shown.raw] };
    assert.match(checkRevoked(leaf, readRevocations(file('one.der')))?.message ?? '', /revoked/);
  });

  it('what is no list is refused, however it is damaged', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('x'), file('m.pem'), new X509Certificate(file('m.pem')).raw]) {
      assert.throws(() => readRevocations(bytes));
    }
    const seed = Number(process.env['SEED'] ?? 1);
    const prng = new Prng(seed);
    const whole = file('one.der');
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(whole.subarray(0, prng.between(0, whole.length)));
      for (let change = 0; change < 3 && bytes.length > 0; change++)
        bytes[prng.between(0, bytes.length - 1)] = prng.between(0, 255);
      try {
        readRevocations(bytes);
      } catch (error) {
        assert.equal((error as Error).constructor.name, 'DerError', `seed ${seed}, round ${round}: ${error}`);
      }
    }
  });

  it('names that are allowed', () => {
    assert.equal(checkAllowed(shown, [], []), null);
    assert.equal(checkAllowed(shown, ['other', 'member'], []), null);
    assert.equal(checkAllowed(shown, ['other'], [])?.message, 'client certificate authentication failed');
    assert.equal(checkAllowed(shown, [], ['m1.etsd.test']), null);
    assert.equal(checkAllowed(shown, [], ['x', 'a.wild.test']), null);
    assert.equal(checkAllowed(shown, [], ['127.0.0.1']), null);
    assert.equal(checkAllowed(shown, [], ['member'])?.message, 'client certificate authentication failed', 'no CN');
  });

  it('addresses that the names stand for', async () => {
    const known: Record<string, string[]> = { 'm1.etsd.test': ['10.0.0.1'] };
    const reverse: Record<string, string[]> = { '10.0.0.2': ['a.wild.test'] };
    const names: Names = {
      addresses: (host) => (known[host] ? Promise.resolve(known[host]) : Promise.reject(new Error('no such host'))),
      hostsOf: (address) => Promise.resolve(reverse[address] ?? []),
      services: () => Promise.reject(new Error('none')),
    };
    assert.equal(await checkAddress(shown, '127.0.0.1:5000', names), null);
    assert.equal(await checkAddress(shown, '[::ffff:127.0.0.1]:5000', names), null);
    assert.equal(await checkAddress(shown, '10.0.0.1:5000', names), null);
    assert.equal(await checkAddress(shown, '10.0.0.2:5000', names), null, 'by a wildcard');
    assert.equal(
      (await checkAddress(shown, '10.0.0.3:5000', names))?.message,
      'tls: "10.0.0.3" does not match any of DNSNames ["m1.etsd.test" "*.wild.test"]',
    );
    const byAddress = { ...shown, subjectAltNames: ['IP Address:127.0.0.1'] };
    assert.match(
      (await checkAddress(byAddress, '10.0.0.3:1', names))?.message ?? '',
      /valid for 127\.0\.0\.1, not 10\.0\.0\.3/,
    );
    assert.equal(await checkAddress({ ...shown, subjectAltNames: [] }, '10.0.0.3:1', names), null);
  });
});

describe('cipher suites', () => {
  it("are named as Go's and handed on as OpenSSL's", () => {
    assert.equal(cipherList([]), '');
    const list = cipherList(['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305']);
    assert.ok(list.endsWith(':ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305'), list);
    assert.throws(() => cipherList(['TLS_RSA_WITH_RC4_128_SHA']), /broken/);
  });
});
