import type { Field } from '../hpack/table.ts';

const KEY = /^[0-9a-z_.-]+$/;
/** Printable ASCII; what a metadata value of text may hold. */
const TEXT = /^[ -~]*$/;

/**
 * Metadata of a call: names in lower case, values as text, or as bytes where the name ends in `-bin`. Made once and used
 * for many calls, it is encoded once per connection.
 */
export class Metadata {
  /** Name and wire value in turn, ready for header fields. */
  readonly entries: string[] = [];

  /** Adds a value. Throws `TypeError` where gRPC allows no such name or value. */
  add(name: string, value: string | Buffer): this {
    const binary = name.endsWith('-bin');
    if (!KEY.test(name) || name.startsWith('grpc-')) throw new TypeError(`not a metadata name: ${name}`);
    if (binary !== (typeof value !== 'string'))
      throw new TypeError(`${name}: bytes go with -bin names, and only there`);
    if (typeof value === 'string' && !TEXT.test(value)) throw new TypeError(`${name}: only printable ASCII`);
    this.entries.push(name, typeof value === 'string' ? value.trim() : encodeBinary(value));
    return this;
  }

  /** A metadata object with these text values. */
  static of(values: Readonly<Record<string, string>>): Metadata {
    const metadata = new Metadata();
    for (const name of Object.keys(values)) metadata.add(name, values[name] as string);
    return metadata;
  }
}

/** Unpadded base64, as gRPC asks senders to write. */
export function encodeBinary(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}

/** All values of a name ending in `-bin`; several may be joined by commas. */
export function binaryValues(fields: readonly Field[], name: string): Buffer[] {
  const values: Buffer[] = [];
  for (const field of fields) {
    if (field.name !== name) continue;
    for (const part of field.value.split(',')) values.push(Buffer.from(part.trim(), 'base64'));
  }
  return values;
}
