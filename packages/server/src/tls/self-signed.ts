/** Certificates that vouch for themselves, as `--auto-tls` and `--peer-auto-tls` make them at the first start. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { DerTag, derElement, derInteger, derOid, derTime, pemOf } from './der.ts';

const DAY_MS = 86_400_000;
const SERIAL_BYTES = 16;

const ECDSA_WITH_SHA512 = '1.2.840.10045.4.3.4';
const ORGANIZATION = '2.5.4.10';
const KEY_USAGE = '2.5.29.15';
const SUBJECT_ALT_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

export interface SelfSignedOptions {
  /** Names and addresses the certificate is good for. */
  readonly hosts: readonly string[];
  readonly nowMs: number;
  readonly years: number;
  /** Bytes of chance for the serial number. */
  readonly serial: Buffer;
}

export interface SelfSigned {
  readonly certificate: string;
  readonly key: string;
  readonly notAfterMs: number;
}

/** What etcd makes: P-521, organisation `etcd`, good for servers, a year of 365 days for each year of validity. */
export function makeSelfSigned({ hosts, nowMs, years, serial }: SelfSignedOptions): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp521r1' });
  const notAfterMs = nowMs + years * 365 * DAY_MS;
  const algorithm = derElement(DerTag.SEQUENCE, derOid(ECDSA_WITH_SHA512));
  const name = derElement(
    DerTag.SEQUENCE,
    derElement(
      DerTag.SET,
      derElement(DerTag.SEQUENCE, derOid(ORGANIZATION), derElement(DerTag.PRINTABLE_STRING, Buffer.from('etcd'))),
    ),
  );
  const body = derElement(
    DerTag.SEQUENCE,
    derElement(0xa0, derInteger(Buffer.from([2]))), // version 3
    derInteger(serial.subarray(0, SERIAL_BYTES)),
    algorithm,
    name,
    derElement(DerTag.SEQUENCE, derTime(nowMs), derTime(notAfterMs)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    derElement(0xa3, derElement(DerTag.SEQUENCE, ...extensions(hosts))),
  );
  const signature = derElement(DerTag.BIT_STRING, Buffer.alloc(1), sign('sha512', body, privateKey));
  return {
    certificate: pemOf('CERTIFICATE', derElement(DerTag.SEQUENCE, body, algorithm, signature)),
    key: privateKey.export({ type: 'sec1', format: 'pem' }) as string,
    notAfterMs,
  };
}

function extensions(hosts: readonly string[]): Buffer[] {
  const names = hosts.map((host) => {
    const address = addressBytes(host);
    // GeneralName (RFC 5280 §4.2.1.6): [2] a name, [7] an address.
    return address === null ? derElement(0x82, Buffer.from(host, 'latin1')) : derElement(0x87, address);
  });
  return [
    extension(KEY_USAGE, true, derElement(DerTag.BIT_STRING, Buffer.from([5, 0xa0]))), // signatures, key encipherment
    extension(EXTENDED_KEY_USAGE, false, derElement(DerTag.SEQUENCE, derOid(SERVER_AUTH))),
    extension(BASIC_CONSTRAINTS, true, derElement(DerTag.SEQUENCE)),
    extension(SUBJECT_ALT_NAME, false, derElement(DerTag.SEQUENCE, ...names)),
  ];
}

function extension(oid: string, isCritical: boolean, value: Buffer): Buffer {
  const critical = isCritical ? [derElement(DerTag.BOOLEAN, Buffer.from([0xff]))] : [];
  return derElement(DerTag.SEQUENCE, derOid(oid), ...critical, derElement(DerTag.OCTET_STRING, value));
}

/** The bytes of an address of IPv4 or IPv6; null for a name. */
export function addressBytes(text: string): Buffer | null {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four !== null) return Buffer.from(four.slice(1).map(Number));
  if (!text.includes(':')) return null;
  const [head = '', tail] = text.replace(/%.*$/, '').split('::');
  const before = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - behind.length);
  const groups = [...before, ...new Array<string>(zeros).fill('0'), ...behind];
  if (groups.length !== 8) return null;
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
