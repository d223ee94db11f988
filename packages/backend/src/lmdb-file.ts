import { chmodSync, closeSync, existsSync, fstatSync, ftruncate, openSync, readSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cutGradually, errorFrom, type Key, keyFromBytes, OperatorError } from '@etsd/base';
import type { Database, RootDatabase } from 'lmdb';
import { type Batch, KEY_BUCKET } from './batch.ts';
import { FORMAT_VERSION, STORED_BUCKETS } from './buckets.ts';
import type { BaseScan, Layer } from './layer.ts';
import { recordChecksum, StoreDigest } from './lmdb-digest.ts';
import { DIGEST_KEY, FORMAT_KEY, SYSTEM_TABLE } from './lmdb-layout.ts';
import { loadEngine } from './lmdb-module.ts';
import { RevisionKey } from './records.ts';
import type { Slab } from './slab.ts';

type Table = Database<Buffer, string>;
type Transaction = ReturnType<Table['useReadTransaction']>;
type RangeOptions = NonNullable<Parameters<Table['getRange']>[0]>;

/** What lmdb's databases can do beyond their type declarations. */
interface Syncable {
  sync(callback: (error: Error | null | undefined) => void): void;
}
interface Counted {
  readonly db: { stat(): Record<string, number> };
}
interface RecordWrites {
  put(key: RevisionKey, value: Slab): Promise<boolean>;
}
interface AppendWrites {
  put(key: Key, value: Buffer, options: { append: true }): Promise<boolean>;
}
interface RecordReads {
  getBinaryFast(key: RevisionKey): Buffer | undefined;
}
interface OptionedReads {
  getBinaryFast(key: string, options: { transaction: Transaction }): Buffer | undefined;
}

/** Address space reserved for the file. Not a limit: LMDB maps anew when the file outgrows it. */
const MAP_BYTES = 64 * 1024 * 1024 * 1024;
/** What opening a file may add to the disk: the lock file, and in a new one the first page of each bucket. */
const OPEN_BYTES = 1024 * 1024;
/** Of a file that is discarded: its meta pages and some more. */
const FIRST_PAGES_BYTES = 64 * 1024;
/** LMDB's limit on keys with pages of 4096 bytes. */
export const KEY_BYTES_MAX = 1978;
/** The number near the start of the first page of each file of LMDB. */
const LMDB_MAGIC = 0xbeefc0de;
const LMDB_MAGIC_OFFSET = 24;

/** What `Buffer.write` calls for latin1, without its checks; the type declarations of Node leave it out. */
interface Latin1Target {
  latin1Write(text: string, offset: number): number;
}

/** The last view of a key that was handed out, and where in the engine's buffer it begins. */
let keyView: Buffer = Buffer.alloc(0);
let keyStart = -1;

/** Keys are latin1 strings on the way in and views of LMDB's buffer on the way out. */
const KEY_ENCODER = {
  writeKey(key: string | RevisionKey, target: Buffer & Latin1Target, start: number): number {
    if (typeof key !== 'string') return key.writeTo(target, start);
    return start + target.latin1Write(key, start);
  },
  readKey(target: Buffer, start: number, end: number): Buffer {
    // All keys come in one place, mostly with one length, and are valid for one visit only: the view can be used again.
    if (keyView.buffer !== target.buffer || keyView.length !== end - start || keyStart !== start) {
      keyView = target.subarray(start, end);
      keyStart = start;
    }
    return keyView;
  },
};
/** Values go in and come out as they are; what comes out is a view of a shared buffer. */
const VALUE_ENCODER = { encode: (value: Buffer): Buffer => value, decode: (value: Buffer): Buffer => value };

const TABLE_OPTIONS = { compression: false, encoder: VALUE_ENCODER, keyEncoder: KEY_ENCODER } as const;
/** The revision being read or written; keys are encoded at once. */
const REVISION = new RevisionKey();
const FIRST_KEY = '\0';
/** Where keys are written for their checksum. */
const keyBytes = Buffer.alloc(KEY_BYTES_MAX);

const APPEND = { append: true } as const;
/**
 * Bytes of the disk that the engine leaves free, beside twice what it is to write: more than others can write between the
 * look at the disk and the end of a transaction.
 */
export const ROOM_BYTES: number = 16 * 1024 * 1024;
/** What is copied at once: a few milliseconds of the event loop, and this many bytes of memory at most. */
const COPY_RECORDS = 2000;
const COPY_BYTES = 2 * 1024 * 1024;

/** Records read from one file on their way into another. */
class CopySlice {
  readonly keys: Key[] = [];
  readonly values: Buffer[] = [];
  isFull = false;
  private readonly after: Key;
  private bytes = 0;

  /** `after` is the last key of the slice before this one, '' for none. */
  constructor(after: Key) {
    this.after = after;
  }

  readonly take = (bytes: Buffer, value: Buffer): boolean => {
    const key = keyFromBytes(bytes);
    if (key === this.after) return true;
    this.keys.push(key);
    this.values.push(Buffer.from(value));
    this.bytes += key.length + value.length;
    this.isFull = this.keys.length >= COPY_RECORDS || this.bytes >= COPY_BYTES;
    return !this.isFull;
  };
}

/** One open file. `defragment` replaces it by another. */
export class LmdbFile {
  path: string;
  /** It has another name still: its content stays when it is discarded. */
  isKept = false;
  readonly root: RootDatabase<Buffer, string>;
  readonly tables: Table[];
  /** The file, whatever its name is by then. */
  readonly fd: number;
  /** The engine's own table. */
  private system!: Table;
  /** Of all records in the file; null in one that was made without. */
  private digest: StoreDigest | null = null;
  /** No record of the bucket `key` lies behind this one. Null where that is not known. */
  private lastRecord: Key | null = null;

  constructor(path: string) {
    this.path = path;
    // LMDB would create the file readable for everybody.
    this.fd = openSync(path, 'a+', 0o600);
    this.root = loadEngine().open<Buffer, string>({
      path,
      noSubdir: true,
      maxDbs: STORED_BUCKETS.length + 2,
      mapSize: MAP_BYTES,
      // A commit is visible at once and synced behind it; a third meta page remembers the last synced state, and after a
      // crash of the machine (another boot id) LMDB goes back to that one instead of trusting unsynced pages.
      overlappingSync: true,
      usePreviousSnapshot: true,
      // Only what is put inside `batch` shares a transaction; nothing waits for the end of the turn.
      eventTurnBatching: false,
      ...TABLE_OPTIONS,
    } as never);
    chmodSync(`${path}-lock`, 0o600);
    try {
      this.tables = this.openTables();
    } catch (error) {
      void this.root.close();
      closeSync(this.fd);
      throw error;
    }
  }

  private openTables(): Table[] {
    const system = this.openTable(SYSTEM_TABLE);
    this.system = system;
    const found = system.getBinary(FORMAT_KEY);
    if (found !== undefined) this.checkFormat(found.toString('latin1'));
    else this.checkNew();
    const open = (): Table[] => STORED_BUCKETS.map((name) => this.openTable(name));
    if (found !== undefined) {
      const kept = system.getBinary(DIGEST_KEY);
      if (kept !== undefined) this.digest = StoreDigest.decode(Buffer.from(kept));
      return open();
    }
    // A new file is ours with all of its tables, or not yet at all. Each in a transaction of its own takes longer, too.
    return this.root.transactionSync(() => {
      system.putSync(FORMAT_KEY, Buffer.from(FORMAT_VERSION));
      this.digest = new StoreDigest();
      this.lastRecord = '';
      system.putSync(DIGEST_KEY, this.digest.encode());
      return open();
    });
  }

  private openTable(name: string): Table {
    return this.root.openDB(name, { ...TABLE_OPTIONS } as never);
  }

  private checkNew(): void {
    let records = 0;
    for (const _ of this.root.getKeys({ start: FIRST_KEY })) records++;
    if (records > 1)
      throw new OperatorError(`${this.path} is an LMDB file, but not one of etsd`, 'Use another directory.');
  }

  private checkFormat(version: string): void {
    if (version === FORMAT_VERSION) return;
    throw new OperatorError(
      `${this.path} has storage format ${version}; this program reads format ${FORMAT_VERSION}`,
      'Start the version of etsd that wrote it, or restore a snapshot.',
    );
  }

  /**
   * Queues batches as one transaction; the promise settles when the file holds all of them, or none. One at a time: what
   * the checksum counts as overwritten is read from the file. `isRepeated` says that records may be there already.
   */
  async write(batches: readonly Batch[], isRepeated = false): Promise<void> {
    const change = this.digest === null ? null : new DigestChange(this, this.digest, this.lastRecord);
    // What was just added may be removed again in the same transaction: then it must be known one by one.
    const isOneByOne = isRepeated || batches.some(({ layers }) => layers[KEY_BUCKET] !== null);
    for (const batch of batches) change?.count(batch, isOneByOne);
    await this.root.batch(() => {
      for (const batch of batches) {
        this.writeRecords(batch);
        for (let bucket = 0; bucket < STORED_BUCKETS.length; bucket++) this.writeLayer(batch, bucket);
      }
      if (change !== null) void this.system.put(DIGEST_KEY, change.digest.encode());
    });
    if (change === null) return;
    this.digest = change.digest;
    this.lastRecord = change.lastRecord;
  }

  private writeLayer(batch: Batch, bucket: number): void {
    const layer = batch.layers[bucket] as Layer | null;
    if (layer === null) return;
    const table = this.tables[bucket] as Table;
    for (const [key, value] of layer.entries) {
      // Inside a batch the promises of the single operations say nothing that the batch's own does not.
      if (value === null) void table.remove(key);
      else void table.put(key, value);
    }
  }

  /**
   * Copies everything into `target`, a new file, as of now, a slice at a time. LMDB's own compacting copy is not used:
   * the one in lmdb 3.5.6 writes files with overflow pages (values from about 2 KB) that fail or crash on later writes.
   */
  async copyTo(target: LmdbFile): Promise<void> {
    const transaction = this.root.useReadTransaction();
    try {
      for (let bucket = 0; bucket < STORED_BUCKETS.length; bucket++) {
        const scan = this.base(bucket, transaction);
        let from: Key | null = '';
        while (from !== null) {
          const slice: CopySlice = new CopySlice(from);
          scan(from, null, slice.take);
          from = slice.isFull ? (slice.keys.at(-1) as Key) : null;
          if (slice.keys.length === 0) continue;
          checkRoom(dirname(target.path), ROOM_BYTES, 'copying the store');
          await target.append(bucket, slice);
        }
      }
    } finally {
      transaction.done();
    }
  }

  /** Adds records behind all there are; pages are filled to the brim, as nothing comes between. One at a time. */
  async append(bucket: number, { keys, values }: Pick<CopySlice, 'keys' | 'values'>): Promise<void> {
    const table = this.tables[bucket] as unknown as AppendWrites;
    const digest = this.digest?.copy() ?? null;
    await this.root.batch(() => {
      for (let i = 0; i < keys.length; i++) {
        const value = values[i] as Buffer;
        void table.put(keys[i] as Key, value, APPEND);
        digest?.add(checksumOf(bucket, keys[i] as Key, value));
      }
      if (digest !== null) void this.system.put(DIGEST_KEY, digest.encode());
    });
    this.digest = digest;
    if (bucket === KEY_BUCKET) this.lastRecord = keys.at(-1) ?? this.lastRecord;
  }

  private writeRecords(batch: Batch): void {
    const { mains, subs, slabs, starts, ends, tombstones, length } = batch.records;
    const table = this.tables[KEY_BUCKET] as unknown as RecordWrites;
    for (let i = 0; i < length; i++) {
      const slab = slabs[i] as Slab;
      slab.start = starts[i] as number;
      slab.end = ends[i] as number;
      REVISION.main = mains[i] as number;
      REVISION.sub = subs[i] as number;
      REVISION.isTombstone = tombstones[i] as boolean;
      void table.put(REVISION, slab);
    }
  }

  readRecord(main: number, sub: number): Buffer | null {
    REVISION.main = main;
    REVISION.sub = sub;
    REVISION.isTombstone = false;
    const value = (this.tables[KEY_BUCKET] as unknown as RecordReads).getBinaryFast(REVISION);
    return value === undefined ? null : stableView(value);
  }

  read(bucket: number, key: Key, transaction: Transaction | undefined): Buffer | null {
    const table = this.tables[bucket] as Table;
    const value =
      transaction === undefined
        ? table.getBinaryFast(key)
        : (table as unknown as OptionedReads).getBinaryFast(key, { transaction });
    return value === undefined ? null : stableView(value);
  }

  base(bucket: number, transaction: Transaction | undefined): BaseScan {
    const table = this.tables[bucket] as Table;
    return (from, to, visit) => {
      if (to === '') return;
      const options: RangeOptions = { start: from === '' ? FIRST_KEY : from };
      if (to !== null) options.end = to;
      if (transaction !== undefined) options.transaction = transaction;
      for (const entry of table.getRange(options)) {
        if (!visit(entry.key as unknown as Buffer, passingView(entry.value))) return;
      }
    };
  }

  async close(): Promise<void> {
    await this.root.close();
    closeSync(this.fd);
  }

  /**
   * Closes a file that has no name any more. Its content goes first, in a thread and step by step: unmapping and freeing
   * a gigabyte would hold the event loop for 50 ms, and longer those who sync to the same disk. Nothing may read it any
   * more; what LMDB itself may look at, the first pages, stays.
   */
  async discard(): Promise<void> {
    if (this.isKept) {
      await this.close();
      return;
    }
    const cut = (length: number): Promise<void> => promisify(ftruncate)(this.fd, length);
    // What cannot be cut goes when the file is closed.
    await cutGradually(fstatSync(this.fd).size, FIRST_PAGES_BYTES, cut, rest).catch(() => {});
    await this.close();
  }

  /**
   * Closes the file at once, though a transaction was refused: lmdb's own `close` would wait forever for its end. Nothing
   * may be under way.
   */
  abandon(): void {
    (this.root as unknown as { env: { close(): void } }).env.close();
    closeSync(this.fd);
  }

  /** Resolves when all that was committed is on disk. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      (this.root as unknown as Syncable).sync((error) => {
        if (error === null || error === undefined) resolve();
        else
          reject(
            new OperatorError(`syncing ${this.path} failed: ${error.message}`, 'Check the disk.', { cause: error }),
          );
      });
    });
  }

  measure(): Sizes {
    let pages = 0;
    let pageSize = 0;
    for (const [bucket, table] of this.tables.entries()) {
      // The first brings the view of the file up to date for all. It also tells of the whole file each time it is asked, for
      // which nobody asks here, and which is three quarters of the work.
      const stats =
        bucket === 0 ? (table.getStats() as Record<string, number>) : (table as unknown as Counted).db.stat();
      pages += stats['treeBranchPageCount']! + stats['treeLeafPageCount']! + stats['overflowPages']!;
      pageSize = stats['pageSize']!;
    }
    const total = fstatSync(this.fd).size;
    return { total, inUse: Math.min(total, pages * pageSize) };
  }
}

/** What some batches make of the checksum over a file. */
class DigestChange {
  readonly digest: StoreDigest;
  lastRecord: Key | null;
  private readonly file: LmdbFile;
  /** Of what these batches wrote so far over what is in the file, by bucket and key; null for removed. */
  private readonly written = new Map<string, number | null>();

  constructor(file: LmdbFile, digest: StoreDigest, lastRecord: Key | null) {
    this.file = file;
    this.digest = digest.copy();
    this.lastRecord = lastRecord;
  }

  count(batch: Batch, isOneByOne: boolean): void {
    this.countRecords(batch, isOneByOne);
    for (let bucket = 0; bucket < STORED_BUCKETS.length; bucket++) {
      const layer = batch.layers[bucket] as Layer | null;
      if (layer === null) continue;
      for (const [key, value] of layer.entries) this.replace(bucket, key, value);
    }
  }

  private countRecords({ records }: Batch, isOneByOne: boolean): void {
    const { mains, subs, slabs, starts, ends, tombstones, length } = records;
    for (let i = 0; i < length; i++) {
      REVISION.main = mains[i] as number;
      REVISION.sub = subs[i] as number;
      REVISION.isTombstone = tombstones[i] as boolean;
      const keyEnd = REVISION.writeTo(keyBytes, 0);
      const { bytes } = slabs[i] as Slab;
      const checksum = recordChecksum(KEY_BUCKET, keyBytes, keyEnd, bytes, starts[i] as number, ends[i] as number);
      if (isOneByOne) this.put(KEY_BUCKET, keyFromBytes(keyBytes, 0, keyEnd), checksum);
      else this.digest.add(checksum);
    }
    if (length === 0 || this.lastRecord === null) return;
    // Revisions ascend, so the last one of the batch is the newest.
    const newest = keyFromBytes(keyBytes, 0, REVISION.writeTo(keyBytes, 0));
    if (newest > this.lastRecord) this.lastRecord = newest;
  }

  private replace(bucket: number, key: Key, value: Buffer | null): void {
    this.put(bucket, key, value === null ? null : checksumOf(bucket, key, value));
  }

  private put(bucket: number, key: Key, checksum: number | null): void {
    const before = this.present(bucket, key);
    if (before !== null) this.digest.remove(before);
    if (checksum !== null) this.digest.add(checksum);
    this.written.set(`${bucket} ${key}`, checksum);
  }

  /** Of what is there now, or null. */
  private present(bucket: number, key: Key): number | null {
    const written = this.written.get(`${bucket} ${key}`);
    if (written !== undefined) return written;
    if (bucket === KEY_BUCKET && this.lastRecord !== null) {
      // Filling a file record by record, nothing has to be looked up.
      if (key > this.lastRecord) {
        this.lastRecord = key;
        return null;
      }
    }
    const value = this.file.read(bucket, key, undefined);
    return value === null ? null : checksumOf(bucket, key, value);
  }
}

function checksumOf(bucket: number, key: Key, value: Buffer): number {
  const keyEnd = (keyBytes as Buffer & Latin1Target).latin1Write(key, 0);
  return recordChecksum(bucket, keyBytes, keyEnd, value, 0, value.length);
}

/**
 * What lmdb hands out for small values is one shared buffer with `length` overwritten, and for large ones a plain
 * Uint8Array over the mapped file: the first needs an honest length, the second a copy, as the map may move.
 */
function stableView(value: Buffer): Buffer {
  if (!Buffer.isBuffer(value)) return Buffer.from(value as Uint8Array);
  return value.subarray(0, value.length);
}

/** The last view of a value that a scan handed out. */
let valueView: Buffer = Buffer.alloc(0);

/** The same for one visit of a scan: neighbours are often of one length, and then the view is that of the last one. */
function passingView(value: Buffer): Buffer {
  if (!Buffer.isBuffer(value)) return Buffer.from(value as Uint8Array);
  if (
    valueView.buffer !== value.buffer ||
    valueView.byteOffset !== value.byteOffset ||
    valueView.length !== value.length
  )
    valueView = value.subarray(0, value.length);
  return valueView;
}

/** Bytes of a file, and those of its pages that hold something. */
export interface Sizes {
  total: number;
  inUse: number;
}

/** Whether the file is empty or begins as LMDB's files do. LMDB itself would crash the process on others. */
function looksLikeLmdb(path: string): boolean {
  if (!existsSync(path)) return true;
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(LMDB_MAGIC_OFFSET + 4);
    const length = readSync(file, head, 0, head.length, 0);
    return length === 0 || (length === head.length && head.readUInt32LE(LMDB_MAGIC_OFFSET) === LMDB_MAGIC);
  } finally {
    closeSync(file);
  }
}

/** Bytes that this process may still write to the file system that holds `path`. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Refuses what needs more room in a directory than there is. */
export function checkRoom(directory: string, bytes: number, what: string): void {
  const free = freeBytes(directory);
  if (free >= bytes) return;
  throw new OperatorError(
    `no room on the disk of ${directory} for ${what}: ${free} bytes are free, ${bytes} are needed`,
    'Free space on that disk, then try again.',
  );
}

/** Opens or creates a file of the store, or says what is wrong with it. */
export function openLmdbFile(path: string): LmdbFile {
  if (!looksLikeLmdb(path)) {
    throw new OperatorError(`${path} is not a file of etsd's store`, 'Use another directory, or restore a snapshot.');
  }
  // LMDB writes through memory into its lock file, which on a full disk ends the process with SIGBUS.
  checkRoom(dirname(path), OPEN_BYTES, 'opening the store');
  try {
    return new LmdbFile(path);
  } catch (thrown) {
    if (thrown instanceof OperatorError) throw thrown;
    throw new OperatorError(
      `${path} cannot be opened: ${errorFrom(thrown).message}`,
      'Check that it is a store of etsd, that its owner runs this program, and that its disk is sound.',
      { cause: thrown },
    );
  }
}
