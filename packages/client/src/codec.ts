/** How values of a program become the bytes that are stored, and back. */

/** What is put in is what comes out: `decode(encode(value))` is a value like `value`. Both may throw. */
export interface Codec<T> {
  encode(value: T): string | Uint8Array;
  decode(bytes: Buffer): T;
}

/** Bytes as they are. */
export const bytes: Codec<Buffer> = {
  encode: (value) => value,
  decode: (value) => value,
};

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text as UTF-8; bytes that are none are refused. */
export const text: Codec<string> = {
  encode: (value) => value,
  decode: (value) => UTF8.decode(value),
};

/**
 * JSON. What is stored may be anything: `check` is given what was parsed and returns it as the type it should have, or
 * throws (the `parse` of a schema library fits). Without it the type is believed.
 */
export function json<T>(check: (value: unknown) => T = (value) => value as T): Codec<T> {
  return {
    encode: (value) => {
      const encoded = JSON.stringify(value) as string | undefined;
      if (encoded === undefined) throw new TypeError('there is no JSON for this value');
      return encoded;
    },
    decode: (value) => check(JSON.parse(UTF8.decode(value))),
  };
}
