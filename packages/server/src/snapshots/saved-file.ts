/** What `snapshot save` leaves on the operator's disk: a bbolt file, and behind it the SHA-256 of its bytes. */
import { createHash } from 'node:crypto';
import { crc32c, crc32cJoined, OperatorError } from '@etsd/base';
import type { BoltBucket, BoltFile, LeafDigest } from '@etsd/boltfile';
import type { Disk } from '@etsd/runtime';
import type { Pause } from './store-file.ts';

const CHECKSUM_BYTES = 32;
/** bbolt's pages are multiples of this. A file that is not one, by just the size of a checksum, has one. */
const SECTOR_BYTES = 512;
const PIECE_BYTES = 256 * 1024;

export interface SavedSnapshot {
  /** Bytes of the bbolt file. */
  readonly bytes: number;
  /** Whether there is a checksum behind it. A copy of a member's own file has none. */
  readonly hasChecksum: boolean;
}

/** What a saved file says of itself is not what it is, in etcd's words. */
export class ChecksumError extends OperatorError {
  override readonly name: string = 'ChecksumError';

  constructor(path: string, expected: Buffer, computed: Buffer) {
    super(
      `expected sha256 [${[...expected].join(' ')}], got [${[...computed].join(' ')}]`,
      `${path} was damaged: use another copy of it, or save a new one.`,
    );
  }
}

/** What a file says of itself by its size. */
export async function savedSize(disk: Disk, path: string): Promise<SavedSnapshot> {
  const file = await disk.open(path, 'read');
  const size = await file.size().finally(() => file.close());
  const hasChecksum = size % SECTOR_BYTES === CHECKSUM_BYTES;
  return { bytes: hasChecksum ? size - CHECKSUM_BYTES : size, hasChecksum };
}

/** SHA-256 of the first bytes of a file, taken elsewhere. */
export type DigestOf = (path: string, bytes: number) => Promise<Uint8Array>;

/** Reads a saved file to its end and throws a `ChecksumError` where its checksum is another. */
export async function checkSavedSnapshot(
  disk: Disk,
  path: string,
  pause: Pause,
  digestOf: DigestOf | null = null,
): Promise<SavedSnapshot> {
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    if (size % SECTOR_BYTES !== CHECKSUM_BYTES) return { bytes: size, hasChecksum: false };
    const bytes = size - CHECKSUM_BYTES;
    const read = (length: number, position: number): Promise<Buffer> => {
      const target = Buffer.allocUnsafe(length);
      return new Promise((resolve, reject) => {
        file.read(target, 0, length, position, (error, bytesRead) => {
          if (error !== null) reject(error);
          else resolve(target.subarray(0, bytesRead));
        });
      });
    };
    const digest = async (): Promise<Buffer> => {
      const hash = createHash('sha256');
      for (let at = 0; at < bytes; at += PIECE_BYTES) {
        hash.update(await read(Math.min(PIECE_BYTES, bytes - at), at));
        await pause();
      }
      return hash.digest();
    };
    const computed = digestOf === null ? await digest() : Buffer.from(await digestOf(path, bytes));
    const expected = await read(CHECKSUM_BYTES, bytes);
    if (!computed.equals(expected)) throw new ChecksumError(path, expected, computed);
    return { bytes, hasChecksum: true };
  } finally {
    await file.close();
  }
}

export interface SnapshotSummary {
  /** CRC-32C over the names, keys and values of all buckets, as `etcdutl snapshot status` prints it. */
  readonly hash: number;
  /** Of the last change. */
  readonly revision: number;
  /** Keys of all buckets. */
  readonly totalKeys: number;
  /** Bytes of the file's pages. */
  readonly totalSize: number;
}

const LEAVES_AT_ONCE = 16;
const TWO_32 = 0x1_0000_0000;

/** What a bucket holds, by whatever way it is read: here, or by threads (`LeafScan`). */
export type BucketDigestOf = (bucket: BoltBucket) => Promise<LeafDigest>;

/** What a snapshot holds, read whole and checked on the way. */
export async function summariseSnapshot(
  file: BoltFile,
  pause: Pause,
  digestOf: BucketDigestOf = (bucket) => digestBucket(file, bucket, pause),
): Promise<SnapshotSummary> {
  let hash = 0;
  let revision = 0;
  let totalKeys = 0;
  for (const bucket of await file.buckets()) {
    hash = crc32c(bucket.name, 0, bucket.name.length, hash);
    const { crc, bytes, records, lastKey } = await digestOf(bucket);
    hash = crc32cJoined(hash, crc, bytes);
    totalKeys += records;
    if (bucket.name.toString('latin1') === 'key' && lastKey !== null && lastKey.length >= 8) {
      const last = Buffer.from(lastKey);
      revision = last.readUInt32BE(0) * TWO_32 + last.readUInt32BE(4);
    }
  }
  return { hash, revision, totalKeys, totalSize: file.size };
}

async function digestBucket(file: BoltFile, bucket: BoltBucket, pause: Pause): Promise<LeafDigest> {
  let [crc, bytes, records, leaves] = [0, 0, 0, 0];
  let firstKey: Buffer | null = null;
  let lastKey: Buffer | null = null;
  const cursor = file.leaves(bucket);
  for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
    for (let index = 0; index < leaf.count; index++) {
      const [start, end] = [leaf.start(index), leaf.end(index)];
      crc = crc32c(leaf.bytes, start, end, crc);
      bytes += end - start;
    }
    records += leaf.count;
    firstKey ??= Buffer.from(leaf.key(0));
    lastKey = Buffer.from(leaf.key(leaf.count - 1));
    if (++leaves % LEAVES_AT_ONCE === 0) await pause();
  }
  return { crc, bytes, records, firstKey, lastKey };
}
