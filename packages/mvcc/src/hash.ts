import { type BackendReader, type BackendSnapshot, BUCKETS, META_CONSISTENT_INDEX, META_TERM } from '@etsd/backend';
import { crc32c, type Key, keyFromBytes } from '@etsd/base';
import { KeyValueView } from '@etsd/proto';
import type { KeyIndex } from './key-index.ts';
import { COMPACTION_HASHES_MAX } from './limits.ts';
import { isTombstoneKey, revisionMain, revisionSub } from './revision.ts';

/** What else costs time, in bytes that could be hashed meanwhile: a record, the search for its key, a slot looked at. */
const BYTES_PER_RECORD = 128;
const BYTES_PER_SEARCH = 1024;
const BYTES_PER_SLOT = 64;

/** The result of HashKV. */
export interface KvHashResult {
  readonly hash: number;
  readonly hashRevision: number;
  /** The compacted revision at the time; hashes of one revision can be compared only where this is equal too. */
  readonly compactRevision: number;
}

/** HashKV under way. */
export interface KvHashJob extends KvHashResult {
  /** Hashes about this many bytes more; true once `hash` is final. */
  slice(bytes: number): boolean;
  /** Gives up before the end. */
  cancel(): void;
}

/** HashKV that was computed before. */
export class KnownHash implements KvHashJob {
  readonly hash: number;
  readonly hashRevision: number;
  readonly compactRevision: number;

  constructor(hash: number, hashRevision: number, compactRevision: number) {
    this.hash = hash;
    this.hashRevision = hashRevision;
    this.compactRevision = compactRevision;
  }

  slice(): boolean {
    return true;
  }

  cancel(): void {}
}

/**
 * The hashes that compactions computed over what they were about to remove. Members compare those: they are the only
 * ones that every member makes for the same revisions. As in etcd, whoever asks for the hash of such a revision is
 * given that one.
 */
export class CompactionHashes {
  private readonly hashes: KnownHash[] = [];

  add(result: KnownHash): void {
    this.hashes.push(result);
    if (this.hashes.length > COMPACTION_HASHES_MAX) this.hashes.splice(0, 1);
  }

  clear(): void {
    this.hashes.length = 0;
  }

  find(revision: number): KnownHash | null {
    return this.hashes.find((result) => result.hashRevision === revision) ?? null;
  }

  /** Oldest first. */
  all(): readonly KvHashResult[] {
    return this.hashes;
  }
}

/**
 * HashKV: the CRC-32C of all records a reader at a revision depends on, in the order of revisions, seeded with the name
 * of the bucket. Two members that applied the same log have the same hash, whatever of the compacted past each of them
 * has already removed: of what is at or below the compacted revision only what the reader sees is counted, and never
 * the deletion that a compaction leaves at its very revision.
 */
export class KvHash implements KvHashJob {
  hash = crc32c(Buffer.from('key'));
  readonly hashRevision: number;
  readonly compactRevision: number;

  private readonly index: KeyIndex;
  private readonly reader: BackendReader;
  private readonly view = new KeyValueView();
  private readonly release: () => void;
  private readonly beforeCompaction: boolean;
  private next: Buffer | null = null;
  private left = 0;
  /** Whether any key exists at the revision; null while nobody had to know, or it is being looked for. */
  private keepsAny: boolean | null = null;
  /** The slot from which on a key is looked for; −1 where nobody has to know. */
  private slotAt = -1;
  /** A compaction asks that keeps a deletion made at the revision. */
  private keepsDeletion = false;
  /**
   * Such deletions are all that it keeps, and what is below the compacted revision was left out because of them: nobody
   * else's hash of this revision does, as to a reader no key exists.
   */
  keepsOnlyDeletions = false;

  /**
   * `release` is called once, at the end: until then the index must keep what a reader at `compactRevision` sees.
   * `beforeCompaction` says that a compaction at `revision` asks, which also keeps a deletion made there.
   */
  constructor(
    index: KeyIndex,
    reader: BackendReader,
    revision: number,
    compactRevision: number,
    beforeCompaction: boolean,
    release: () => void,
  ) {
    this.beforeCompaction = beforeCompaction;
    this.index = index;
    this.reader = reader;
    this.hashRevision = revision;
    this.compactRevision = compactRevision;
    this.release = release;
  }

  /** Hashes about this many bytes more; true once `hash` is final. */
  slice(bytes: number): boolean {
    if (this.slotAt >= 0 && !this.lookForKeys(Math.ceil(bytes / BYTES_PER_SLOT))) return false;
    this.left = bytes;
    const from = this.next;
    this.next = null;
    this.reader.scan('key', from, null, (key, value) => this.visit(key, value));
    if (this.next !== null) return false;
    this.release();
    return true;
  }

  /** Goes on looking whether any key exists at the revision; true once that is known. */
  private lookForKeys(slots: number): boolean {
    const { hashRevision, index, slotAt } = this;
    const end = slotAt + slots;
    const found = index.hasKeysAt(hashRevision, false, slotAt, end);
    if (!found && this.beforeCompaction) this.keepsDeletion ||= index.hasKeysAt(hashRevision, true, slotAt, end);
    if (!found && end < index.slotsEnd) {
      this.slotAt = end;
      return false;
    }
    this.keepsOnlyDeletions = !found && this.keepsDeletion;
    this.keepsAny = found || this.keepsDeletion;
    this.slotAt = -1;
    return true;
  }

  /** Gives up before the end. */
  cancel(): void {
    this.release();
  }

  private visit(key: Buffer, value: Buffer): boolean {
    const main = revisionMain(key);
    if (main > this.hashRevision) return false;
    if (this.left <= 0) {
      this.next = Buffer.from(key);
      return false;
    }
    this.left -= BYTES_PER_RECORD + key.length + value.length;
    const isTombstone = isTombstoneKey(key);
    if (main <= this.compactRevision) this.left -= BYTES_PER_SEARCH;
    if (main <= this.compactRevision && !this.isSeen(main, revisionSub(key), value, this.hashRevision)) {
      if (this.keepsAny === null) {
        // It depends on whether a reader sees anything; this record comes again when that is known.
        this.slotAt = 0;
        this.next = Buffer.from(key);
        return false;
      }
      // Where no key exists at all, everything that is there counts, once compaction is done with it. What it has yet to
      // remove does not: members that have come further with the same compaction would seem to differ.
      if (this.keepsAny || !this.isSeen(main, revisionSub(key), value, this.compactRevision)) return true;
    }
    if (main === this.compactRevision && isTombstone) return true;
    this.hash = crc32c(key, 0, key.length, this.hash);
    this.hash = crc32c(value, 0, value.length, this.hash);
    return true;
  }

  /** Whether a reader at this revision sees this record. */
  private isSeen(main: number, sub: number, record: Buffer, revision: number): boolean {
    this.view.parse(record, 0, record.length);
    const key: Key = keyFromBytes(record, this.view.keyStart, this.view.keyEnd);
    const index = this.index;
    const slot = index.find(key);
    return slot >= 0 && index.at(slot, revision) && index.foundMain === main && index.foundSub === sub;
  }
}

const IGNORED_META: readonly Buffer[] = [META_CONSISTENT_INDEX, META_TERM];

/**
 * Hash of the maintenance service: the CRC-32C of all buckets with their names, keys and values, but for how far the
 * log was applied, which differs from member to member. Over a frozen state, in slices.
 */
export class StoreHash {
  hash = 0;
  private readonly source: BackendSnapshot;
  private bucket = 0;
  private next: Buffer | null = null;
  private left = 0;

  constructor(source: BackendSnapshot) {
    this.source = source;
  }

  /** Hashes about this many bytes more; true once `hash` is final. */
  slice(bytes: number): boolean {
    this.left = bytes;
    while (this.bucket < BUCKETS.length) {
      const name = BUCKETS[this.bucket] as (typeof BUCKETS)[number];
      const from = this.next;
      if (from === null) this.hash = crc32c(Buffer.from(name), 0, name.length, this.hash);
      this.next = null;
      const isMeta = name === 'meta';
      this.source.scan(name, from, null, (key, value) => this.visit(key, value, isMeta));
      if (this.next !== null) return false;
      this.bucket++;
    }
    this.source.close();
    return true;
  }

  private visit(key: Buffer, value: Buffer, isMeta: boolean): boolean {
    if (this.left <= 0) {
      this.next = Buffer.from(key);
      return false;
    }
    this.left -= key.length + value.length;
    if (isMeta && IGNORED_META.some((ignored) => ignored.equals(key))) return true;
    this.hash = crc32c(key, 0, key.length, this.hash);
    this.hash = crc32c(value, 0, value.length, this.hash);
    return true;
  }
}
