/**
 * Keys of encryption at rest, as the operator gives them: a text of one key per line, the newest last.
 *
 * ```
 *   # made with: openssl rand -hex 32
 *   2025 6f0c…64 hexadecimal digits
 *   2026 base64 of 32 bytes
 * ```
 * The last key writes; all of them read. No message about a key ring contains anything of a key but its name.
 */
import { hkdfSync } from 'node:crypto';
import { OperatorError } from '@etsd/base';

export const KEY_BYTES = 32;
/** Longest name of a key. */
export const KEY_ID_MAX = 32;
/** A key ring is no longer than this, in bytes and in keys: whatever is larger is some other file. */
export const RING_BYTES_MAX = 65_536;
export const RING_KEYS_MAX = 256;
export const FINGERPRINT_BYTES = 8;

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const HEX = /^[0-9a-fA-F]{64}$/;
const BASE64 = /^[A-Za-z0-9+/]{43}=$/;

const ADVICE =
  'Write one key per line, the newest last: its name, a space, and 32 random bytes as 64 hexadecimal digits or base64, as from `openssl rand -hex 32`.';

export interface RingKey {
  readonly id: string;
  readonly bytes: Buffer;
  /** Tells two keys of one name apart, and nothing about either. */
  readonly fingerprint: Buffer;
}

export class KeyRing {
  /** Without any key: nothing that is encrypted can be read. */
  static readonly empty: KeyRing = new KeyRing([]);
  /** In the order given. */
  readonly keys: readonly RingKey[];
  private readonly byId = new Map<string, RingKey>();

  private constructor(keys: readonly RingKey[]) {
    this.keys = keys;
    for (const key of keys) this.byId.set(key.id, key);
  }

  /** Reads a key ring; `source` says in errors where it is from. Throws an `OperatorError` where it is malformed. */
  static parse(text: Buffer, source: string): KeyRing {
    const refuse = (problem: string): OperatorError => new OperatorError(`${source}: ${problem}`, ADVICE);
    if (text.length > RING_BYTES_MAX) throw refuse(`${text.length} bytes are no key ring`);
    const keys: RingKey[] = [];
    for (const [at, line] of text.toString('latin1').split('\n').entries()) {
      const content = line.replace(/#.*$/, '').trim();
      if (content === '') continue;
      const [id = '', secret = '', ...rest] = content.split(/[ \t]+/);
      const where = `line ${at + 1}`;
      if (id.length > KEY_ID_MAX || !ID.test(id)) {
        throw refuse(
          `${where} does not begin with the name of a key: up to ${KEY_ID_MAX} letters, digits, ".", "_", "-"`,
        );
      }
      const bytes = rest.length > 0 ? null : keyBytes(secret);
      if (bytes === null) throw refuse(`${where}: behind the name of key "${id}" there are no 32 bytes`);
      if (bytes.every((byte) => byte === bytes[0])) throw refuse(`${where}: key "${id}" is not random`);
      for (const other of keys) {
        if (other.id === id) throw refuse(`${where}: there is a key "${id}" above`);
        if (other.bytes.equals(bytes)) throw refuse(`${where}: key "${id}" is the same as "${other.id}"`);
      }
      keys.push({ id, bytes, fingerprint: fingerprintOf(bytes) });
      if (keys.length > RING_KEYS_MAX) throw refuse(`there are more than ${RING_KEYS_MAX} keys`);
    }
    if (keys.length === 0) throw refuse('there is no key in it');
    return new KeyRing(keys);
  }

  /** The one that writes; `null` without any. */
  get newest(): RingKey | null {
    return this.keys.at(-1) ?? null;
  }

  find(id: string): RingKey | null {
    return this.byId.get(id) ?? null;
  }

  /** The names, for messages. */
  describe(): string {
    return this.keys.length === 0 ? 'no key is given' : `given: ${this.keys.map(({ id }) => id).join(', ')}`;
  }
}

function keyBytes(secret: string): Buffer | null {
  if (HEX.test(secret)) return Buffer.from(secret, 'hex');
  const bytes = BASE64.test(secret) ? Buffer.from(secret, 'base64') : null;
  return bytes?.length === KEY_BYTES ? bytes : null;
}

function fingerprintOf(key: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), 'etsd key fingerprint', FINGERPRINT_BYTES));
}
