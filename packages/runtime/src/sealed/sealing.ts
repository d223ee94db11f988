/**
 * What every encrypted file begins with, and the key that follows from it:
 *
 * ```
 *   0   "ETSDSEAL"              44  fingerprint of the key, 8      108  CRC-32C of what is before
 *   8   version, kind, id size  52  salt, 32 random bytes          112  proof, 16
 *   12  name of the key, 32     84  bytes of a chunk, 24 zeros…    128  content
 * ```
 * HKDF-SHA256 of the ring's key with the salt, over the 112 bytes and what the file is, gives the file's own key and the
 * proof. So each file has a key that no other has, and a head that was changed, or is another file's, gives another proof.
 * The checksum is there to tell a head that rotted from one that is meant for a key we do not have.
 */
import { hkdfSync } from 'node:crypto';
import { assert, CorruptionError, crc32c, OperatorError } from '@etsd/base';
import type { Random } from '../random.ts';
import { FileCipher } from './file-cipher.ts';
import { FINGERPRINT_BYTES, KEY_BYTES, KEY_ID_MAX, type KeyRing, type RingKey } from './key-ring.ts';

export const SEAL_HEAD_BYTES = 128;
export const SEAL_MAGIC_BYTES = 8;
const MAGIC = Buffer.from('ETSDSEAL', 'latin1');
const VERSION = 1;
const SALT_BYTES = 32;
const PROOF_BYTES = 16;
const CHECKED_BYTES = 108;
const PROVEN_BYTES = 112;

/** What stands behind the head. */
export const SealKind = { segment: 1, file: 2 } as const;

export const ADVICE_DAMAGED_FILE =
  'Use another copy of this file; what was encrypted and then changed cannot be read in part.';
const ADVICE_KEY =
  'Give --encryption-key-file a file, or --encryption-key-command a command, that has this key among its keys.';

/** A file is encrypted with a key that is not at hand. */
export class MissingKeyError extends OperatorError {
  override readonly name: string = 'MissingKeyError';
  readonly keyId: string;

  constructor(message: string, keyId: string) {
    super(message, ADVICE_KEY);
    this.keyId = keyId;
  }
}

/** What a head says, whether or not its key is at hand. */
export interface SealHead {
  readonly kind: number;
  readonly keyId: string;
  readonly fingerprint: Buffer;
  /** Bytes of plain content in a chunk; 0 in segments of a log. */
  readonly chunkBytes: number;
}

/** A file's head and its cipher. */
export interface SealedHead {
  readonly bytes: Buffer;
  readonly keyId: string;
  readonly chunkBytes: number;
  readonly cipher: FileCipher;
}

/** Whether a file that begins with these bytes, 8 at least, is encrypted. */
export function isSealed(bytes: Buffer): boolean {
  return bytes.length >= SEAL_MAGIC_BYTES && bytes.compare(MAGIC, 0, SEAL_MAGIC_BYTES, 0, SEAL_MAGIC_BYTES) === 0;
}

/** Reads the head of an encrypted file. Throws a `CorruptionError` where it is damaged. */
export function readSealHead(bytes: Buffer, path: string): SealHead {
  const damaged = (problem: string): CorruptionError =>
    new CorruptionError(`the head of an encrypted file ${problem}`, `${path} at byte 0`, ADVICE_DAMAGED_FILE);
  if (bytes.length < SEAL_HEAD_BYTES) throw damaged('was cut');
  if (crc32c(bytes, 0, CHECKED_BYTES) !== bytes.readUInt32LE(CHECKED_BYTES)) throw damaged('does not check');
  if (bytes[8] !== VERSION) {
    throw new OperatorError(
      `${path} is encrypted in format ${bytes[8]}`,
      'Use the version of etsd that wrote it, or a later one.',
    );
  }
  const idBytes = bytes[10] as number;
  if (idBytes === 0 || idBytes > KEY_ID_MAX) throw damaged('names no key');
  return {
    kind: bytes[9] as number,
    keyId: bytes.toString('latin1', 12, 12 + idBytes),
    fingerprint: bytes.subarray(44, 44 + FINGERPRINT_BYTES),
    chunkBytes: bytes.readUInt32LE(84),
  };
}

/** Says which key is missing, for whoever has none at all. */
export function refuseSealed(bytes: Buffer, path: string): OperatorError {
  const { keyId } = readSealHead(bytes, path);
  return new MissingKeyError(`${path} is encrypted with key "${keyId}", and no key is given`, keyId);
}

/** The keys in use, and what is made with them. The ring may be exchanged at any time. */
export class Sealing {
  keys: KeyRing;
  readonly random: Random;
  private readonly writes: boolean;

  /** `writes`: whether what is written is to be encrypted, and not only read. */
  constructor(keys: KeyRing, random: Random, writes = true) {
    this.keys = keys;
    this.random = random;
    this.writes = writes;
  }

  /** Whether what is written now is to be encrypted. */
  get isOn(): boolean {
    return this.writes && this.keys.newest !== null;
  }

  /** The head of a new file, under the newest key. `what` binds the content to something outside of the file. */
  begin(kind: number, what: string, chunkBytes = 0): SealedHead {
    const key = this.keys.newest;
    assert(key !== null, 'there is a key to write with');
    const bytes = Buffer.alloc(SEAL_HEAD_BYTES);
    MAGIC.copy(bytes);
    bytes[8] = VERSION;
    bytes[9] = kind;
    bytes[10] = bytes.write(key.id, 12, 'latin1');
    key.fingerprint.copy(bytes, 44);
    this.random.bytes(SALT_BYTES).copy(bytes, 52);
    bytes.writeUInt32LE(chunkBytes, 84);
    bytes.writeUInt32LE(crc32c(bytes, 0, CHECKED_BYTES), CHECKED_BYTES);
    const { fileKey, proof } = derive(key, bytes, what);
    proof.copy(bytes, PROVEN_BYTES);
    return { bytes, keyId: key.id, chunkBytes, cipher: this.cipher(fileKey) };
  }

  /**
   * The cipher of a file with this head. Fails with `MissingKeyError` where its key is not in the ring, and with
   * `CorruptionError` where the head is damaged or not the one of this file.
   */
  open(bytes: Buffer, kind: number, what: string, path: string): SealedHead {
    const head = readSealHead(bytes, path);
    const key = this.keys.find(head.keyId);
    if (key === null) {
      throw new MissingKeyError(
        `${path} is encrypted with key "${head.keyId}", which is not at hand (${this.keys.describe()})`,
        head.keyId,
      );
    }
    if (!key.fingerprint.equals(head.fingerprint)) {
      const [found, wanted] = [key.fingerprint, head.fingerprint].map((each) => each.toString('hex'));
      throw new MissingKeyError(
        `${path} is encrypted with another key "${head.keyId}" than the one given: its fingerprint is ${wanted}, that of the one given ${found}`,
        head.keyId,
      );
    }
    const { fileKey, proof } = derive(key, bytes, what);
    const isProven = head.kind === kind && proof.equals(bytes.subarray(PROVEN_BYTES, SEAL_HEAD_BYTES));
    if (!isProven) {
      const problem = "the head of an encrypted file is not this file's: it was changed, or the file was renamed";
      throw new CorruptionError(problem, `${path} at byte 0`, ADVICE_DAMAGED_FILE);
    }
    return {
      bytes: bytes.subarray(0, SEAL_HEAD_BYTES),
      keyId: head.keyId,
      chunkBytes: head.chunkBytes,
      cipher: this.cipher(fileKey),
    };
  }

  private cipher(fileKey: Buffer): FileCipher {
    return new FileCipher(fileKey, this.random.bytes(8));
  }
}

function derive(key: RingKey, head: Buffer, what: string): { fileKey: Buffer; proof: Buffer } {
  const info = Buffer.concat([
    Buffer.from('etsd sealed file\0', 'latin1'),
    head.subarray(0, PROVEN_BYTES),
    Buffer.from(what, 'utf8'),
  ]);
  const salt = head.subarray(52, 52 + SALT_BYTES);
  const derived = Buffer.from(hkdfSync('sha256', key.bytes, salt, info, KEY_BYTES + PROOF_BYTES));
  return { fileKey: derived.subarray(0, KEY_BYTES), proof: derived.subarray(KEY_BYTES) };
}
