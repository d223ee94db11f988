/** Paths and queries as bytes: a key may be anything, also what is no UTF-8. */
import { badRequest } from './problem.ts';

/** The bytes that a percent-encoded text stands for. In a query a plus sign is a space. */
export function percentDecode(text: string, plusIsSpace = false): Buffer {
  const raw = Buffer.from(plusIsSpace ? text.replaceAll('+', ' ') : text, 'utf8');
  if (!raw.includes(0x25)) return raw;
  const out = Buffer.allocUnsafe(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; at++) {
    const byte = raw[at] as number;
    if (byte !== 0x25) {
      out[length++] = byte;
      continue;
    }
    const digits = raw.toString('latin1', at + 1, at + 3);
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw badRequest('a percent sign must stand before two hexadecimal digits');
    out[length++] = Number.parseInt(digits, 16);
    at += 2;
  }
  return out.subarray(0, length);
}

/** Parameters of a query. Asking for one that was given twice is refused. */
export class Query {
  private readonly values = new Map<string, Buffer>();

  constructor(text: string) {
    for (const pair of text.split('&')) {
      if (pair === '') continue;
      const equals = pair.indexOf('=');
      const name = percentDecode(equals < 0 ? pair : pair.slice(0, equals), true).toString('utf8');
      if (this.values.has(name)) throw badRequest(`parameter ${name} is given twice`);
      this.values.set(name, percentDecode(equals < 0 ? '' : pair.slice(equals + 1), true));
    }
  }

  /** Refuses parameters that mean nothing here: a name written wrong should not go unnoticed. */
  allow(...names: string[]): void {
    for (const name of this.values.keys()) {
      if (!names.includes(name))
        throw badRequest(`parameter ${name} means nothing here; known are ${names.join(', ')}`);
    }
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  bytes(name: string): Buffer | undefined {
    return this.values.get(name);
  }

  text(name: string): string | undefined {
    return this.values.get(name)?.toString('utf8');
  }

  /** Given without a value, or as `true` or `1`. */
  flag(name: string): boolean {
    const text = this.text(name);
    if (text === undefined || text === 'false' || text === '0') return false;
    if (text === '' || text === 'true' || text === '1') return true;
    throw badRequest(`${name} is true or false, not ${text}`);
  }

  /** A whole number within the bounds. */
  number(name: string, fallback: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) return fallback;
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= min && number <= max))
      throw badRequest(`${name} is a whole number from ${min} to ${max}, not ${text}`);
    return number;
  }
}
