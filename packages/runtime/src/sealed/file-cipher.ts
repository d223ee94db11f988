import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { assert } from '@etsd/base';

const ALGORITHM = 'aes-256-gcm';
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
const STREAM_BYTES = 8;
/** Each gives a buffer of its own; for larger ones the system maps memory anew each time, which costs a fifth more. */
const SLICE_BYTES = 64 * 1024;
const COUNT_MAX = 0xffff_ffff;
const TAG_OPTIONS = { authTagLength: TAG_BYTES } as const;

/**
 * AES-256-GCM under the key of one file (NIST SP 800-38D). A nonce is 8 bytes drawn when the file is opened and a count of
 * what was sealed since: no two are equal, however often the file is opened, and also where a crash took back what was
 * sealed before.
 */
export class FileCipher {
  private readonly key: KeyObject;
  private readonly nonce = Buffer.alloc(NONCE_BYTES);
  private count = 0;

  constructor(key: Buffer, stream: Buffer) {
    assert(stream.length === STREAM_BYTES, 'a nonce begins with 8 random bytes');
    this.key = createSecretKey(key);
    stream.copy(this.nonce);
  }

  /**
   * Encrypts `source[0, length)`, bound to what only has to be the same when it is opened. Puts the nonce to `target[at…]`,
   * what comes out behind it, and the tag to `target[tagAt…]`.
   */
  seal(source: Buffer, length: number, bound: Buffer, target: Buffer, at: number, tagAt: number): void {
    assert(this.count < COUNT_MAX, 'a file is not sealed on for ever');
    this.nonce.writeUInt32LE(this.count++, STREAM_BYTES);
    this.nonce.copy(target, at);
    const cipher = createCipheriv(ALGORITHM, this.key, this.nonce, TAG_OPTIONS);
    cipher.setAAD(bound);
    const start = at + NONCE_BYTES;
    for (let from = 0; from < length; from += SLICE_BYTES) {
      cipher.update(source.subarray(from, Math.min(length, from + SLICE_BYTES))).copy(target, start + from);
    }
    assert(cipher.final().length === 0, 'GCM keeps the length');
    cipher.getAuthTag().copy(target, tagAt);
  }

  /** The `length` bytes that were sealed so, or `null` where what is there is not what was written. */
  open(source: Buffer, at: number, length: number, tagAt: number, bound: Buffer): Buffer | null {
    const start = at + NONCE_BYTES;
    const nonce = source.subarray(at, start);
    const decipher = createDecipheriv(ALGORITHM, this.key, nonce, TAG_OPTIONS);
    decipher.setAAD(bound);
    decipher.setAuthTag(source.subarray(tagAt, tagAt + TAG_BYTES));
    const plain = decipher.update(source.subarray(start, start + length));
    try {
      decipher.final();
    } catch {
      // The only failure there is here: the tag is not that of what was read.
      return null;
    }
    return plain;
  }
}
