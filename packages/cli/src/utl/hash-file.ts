/** HashKV of a file's keys, from the file as it lies there: what a member that has them would answer. */
import { META_FINISHED_COMPACT_REV, META_SCHEDULED_COMPACT_REV } from '@etsd/backend';
import { crc32c, crc32cJoined, type Key, keyFromBytes } from '@etsd/base';
import type { BoltBucket, BoltFile, LeafDigest, RecordFilter, Subtree } from '@etsd/boltfile';
import type { KvHashResult } from '@etsd/mvcc';
import { ErrCompacted, ErrFutureRev, type EtcdError, KeyValueView } from '@etsd/proto';
import { digestBucket, scannedFile } from './bucket-digest.ts';
import { revisionAt, withScan } from './part-digests.ts';

/** Bytes of a revision's key; that of a deletion has one more. */
const REVISION_BYTES = 17;

/**
 * HashKV at a revision, 0 for the last one (`KvHash`), without a store being made of the file. Null where that takes one:
 * while a compaction is not finished, what it will remove does not count, and only an index of all keys knows that.
 */
export async function hashFile(file: BoltFile, revision: number): Promise<KvHashResult | EtcdError | null> {
  const [meta, keys] = [await file.bucket('meta'), await file.bucket('key')];
  if (meta === null || keys === null || revision < 0) return null;
  const finished = await revisionIn(file, meta, META_FINISHED_COMPACT_REV);
  const scheduled = await revisionIn(file, meta, META_SCHEDULED_COMPACT_REV);
  if (scheduled > Math.max(0, finished)) return null;
  if (revision > 0 && revision < finished) return ErrCompacted;
  const whole = await digestBucket(file, keys, revision === 0 ? Number.MAX_SAFE_INTEGER : revision);
  const last = whole.lastKey === null ? 1 : revisionAt(Buffer.from(whole.lastKey), 0);
  const now = Math.max(1, finished, scheduled, last);
  if (revision > now) return ErrFutureRev;
  const hashRevision = revision === 0 ? now : revision;
  const counted = finished < 1 ? whole : new CompactedHash(file, keys, finished, hashRevision).digest();
  const hash = crc32cJoined(crc32c(keys.name), counted.crc, counted.bytes);
  return { hash, hashRevision, compactRevision: finished };
}

/** −1 where there is none. */
async function revisionIn(file: BoltFile, meta: BoltBucket, name: Buffer): Promise<number> {
  const cursor = file.leaves(meta);
  for (let leaf = await cursor.next(); leaf !== null; leaf = await cursor.next()) {
    for (let index = 0; index < leaf.count; index++) {
      if (leaf.key(index).equals(name)) return revisionAt(leaf.value(index), 0);
    }
  }
  return -1;
}

/**
 * Where a compaction is finished, each key has at most one record at or below its revision, which counts as long as
 * nothing newer is seen; the deletions that it left do not count.
 */
class CompactedHash {
  private readonly file: BoltFile;
  private readonly keys: BoltBucket;
  private readonly compacted: number;
  private readonly revision: number;
  private readonly view = new KeyValueView();
  /** The keys that were changed behind the compaction, and whether they are there at the revision. */
  private readonly changed = new Map<Key, boolean>();

  constructor(file: BoltFile, keys: BoltBucket, compacted: number, revision: number) {
    this.file = file;
    this.keys = keys;
    this.compacted = compacted;
    this.revision = revision;
  }

  digest(): Pick<LeafDigest, 'crc' | 'bytes'> {
    const newer = this.scan((bytes, keyStart, valueStart, end) => {
      const main = revisionAt(bytes, keyStart);
      if (main <= this.compacted || main > this.revision) return false;
      this.changed.set(this.nameIn(bytes, valueStart, end), valueStart - keyStart === REVISION_BYTES);
      return true;
    });
    let older = this.scan((bytes, keyStart, valueStart, end) => {
      if (!this.isOld(bytes, keyStart, valueStart)) return false;
      return this.changed.size === 0 || !this.changed.has(this.nameIn(bytes, valueStart, end));
    });
    const isEmpty = older.records === 0 && ![...this.changed.values()].includes(true);
    // As in etcd, everything counts where no key exists at the revision at all.
    if (isEmpty) older = this.scan((bytes, keyStart, valueStart) => this.isOld(bytes, keyStart, valueStart));
    return { crc: crc32cJoined(older.crc, newer.crc, newer.bytes), bytes: older.bytes + newer.bytes };
  }

  private isOld(bytes: Buffer, keyStart: number, valueStart: number): boolean {
    return valueStart - keyStart === REVISION_BYTES && revisionAt(bytes, keyStart) <= this.compacted;
  }

  private nameIn(bytes: Buffer, start: number, end: number): Key {
    this.view.parse(bytes, start, end);
    return keyFromBytes(bytes, this.view.keyStart, this.view.keyEnd);
  }

  private scan(filter: RecordFilter): LeafDigest {
    const { inline, rootPage } = this.keys;
    const whole: Subtree = { page: rootPage, low: null, high: null };
    return withScan(scannedFile(this.file), filter, (scan) =>
      inline === null ? scan.digest(whole) : scan.digestInline(inline),
    );
  }
}
