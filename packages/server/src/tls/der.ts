/** As much of DER (ITU-T X.690) as a certificate to be made and a list of revocations to be read need. */

export const DerTag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  PRINTABLE_STRING: 0x13,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** One element: its tag, and where its content lies in the bytes it was read from. */
export interface DerElement {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

export class DerError extends Error {}

/** The elements that lie one behind the other in `bytes[start, end)`. Throws `DerError` where they do not fill it. */
export function readElements(bytes: Buffer, start: number, end: number): DerElement[] {
  const elements: DerElement[] = [];
  let at = start;
  while (at < end) {
    const element = readElement(bytes, at, end);
    elements.push(element);
    at = element.end;
  }
  return elements;
}

function readElement(bytes: Buffer, at: number, end: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || at + 2 > end) throw new DerError('it breaks off');
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag of several bytes');
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4 || start + count > end) throw new DerError('a length that cannot be');
    length = bytes.readUIntBE(start, count);
    start += count;
  }
  if (start + length > end) throw new DerError('it breaks off');
  return { tag, start, end: start + length };
}

/** An element of these contents. */
export function derElement(tag: number, ...contents: readonly Buffer[]): Buffer {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  return Buffer.concat([Buffer.from([tag]), derLength(length), ...contents]);
}

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const significant = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.from([0x80 | significant.length]), significant]);
}

/** A number above zero, of any length, from its bytes. */
export function derInteger(bytes: Buffer): Buffer {
  const leading = bytes.findIndex((byte) => byte !== 0);
  const digits = leading < 0 ? Buffer.alloc(1) : bytes.subarray(leading);
  const sign = (digits[0] as number) >= 0x80 ? Buffer.alloc(1) : Buffer.alloc(0);
  return derElement(DerTag.INTEGER, sign, digits);
}

/** An object identifier from its dotted form. */
export function derOid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number) as [number, number, ...number[]];
  const bytes: number[] = [];
  for (const part of [first * 40 + second, ...rest]) {
    const groups = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128)) groups.push(0x80 | (left & 0x7f));
    bytes.push(...groups.reverse());
  }
  return derElement(DerTag.OBJECT_IDENTIFIER, Buffer.from(bytes));
}

/** A time as certificates have it (RFC 5280 §4.1.2.5): with two digits of the year before 2050. */
export function derTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  const year = Number(digits.slice(0, 4));
  return year < 2050
    ? derElement(DerTag.UTC_TIME, Buffer.from(digits.slice(2), 'latin1'))
    : derElement(DerTag.GENERALIZED_TIME, Buffer.from(digits, 'latin1'));
}

/** The time in an element of either form; NaN where there is none. */
export function readTime(bytes: Buffer, element: DerElement): number {
  const text = bytes.toString('latin1', element.start, element.end);
  const parts = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (parts === null) return Number.NaN;
  const [, year = '', month, day, hour, minute, second] = parts;
  const century = year.length === 4 ? '' : Number(year) < 50 ? '20' : '19';
  return Date.parse(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** PEM with lines of 64 characters. */
export function pemOf(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The blocks of this label in a PEM text. */
export function pemBlocks(text: string, label: string): Buffer[] {
  const blocks = text.matchAll(new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`, 'g'));
  return [...blocks].map(([, base64 = '']) => Buffer.from(base64, 'base64'));
}
