import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { open as openDirectory } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert, errorFrom, type Key, keyFromBytes, OperatorError, RingQueue } from '@etsd/base';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Backend, BackendSnapshot, Visit } from './backend.ts';
import { type Batch, KEY_BUCKET } from './batch.ts';
import { BUCKETS, type Bucket, bucketIndex, FORMAT_VERSION } from './buckets.ts';
import { type BaseScan, type Layer, mergeScan } from './layer.ts';
import { ABSENT, findIn, layersOf, Overlay } from './overlay.ts';
import { RevisionKey } from './records.ts';
import type { Slab } from './slab.ts';

type Table = Database<Buffer, string>;
type Transaction = ReturnType<Table['useReadTransaction']>;
type RangeOptions = NonNullable<Parameters<Table['getRange']>[0]>;

/** What lmdb's databases can do beyond their type declarations. */
interface Syncable {
  sync(callback: (error: Error | null | undefined) => void): void;
}
interface RecordWrites {
  put(key: RevisionKey, value: Slab): Promise<boolean>;
}
interface RecordReads {
  getBinaryFast(key: RevisionKey): Buffer | undefined;
}
interface OptionedReads {
  getBinaryFast(key: string, options: { transaction: Transaction }): Buffer | undefined;
}

/** Address space reserved for the file. Not a limit: LMDB maps anew when the file outgrows it. */
const MAP_BYTES = 64 * 1024 * 1024 * 1024;
/** The sub-database with the engine's own records, beside one for each bucket. */
const SYSTEM_TABLE = 'etsd';
const FORMAT_KEY = 'format';
/** LMDB's limit on keys with pages of 4096 bytes. */
const KEY_BYTES_MAX = 1978;
/** The number near the start of the first page of each file of LMDB. */
const LMDB_MAGIC = 0xbeefc0de;
const LMDB_MAGIC_OFFSET = 24;
/** Writes kept for the new file while `defragment` copies the old one. */
const CATCH_UP_BYTES_MAX = 512 * 1024 * 1024;

/** What `Buffer.write` calls for latin1, without its checks; the type declarations of Node leave it out. */
interface Latin1Target {
  latin1Write(text: string, offset: number): number;
}

/** Keys are latin1 strings on the way in and views of LMDB's buffer on the way out. */
const KEY_ENCODER = {
  writeKey(key: string | RevisionKey, target: Buffer & Latin1Target, start: number): number {
    if (typeof key !== 'string') return key.writeTo(target, start);
    return start + target.latin1Write(key, start);
  },
  readKey(target: Buffer, start: number, end: number): Buffer {
    return target.subarray(start, end);
  },
};
/** Values go in and come out as they are; what comes out is a view of a shared buffer. */
const VALUE_ENCODER = { encode: (value: Buffer): Buffer => value, decode: (value: Buffer): Buffer => value };

const TABLE_OPTIONS = { compression: false, encoder: VALUE_ENCODER, keyEncoder: KEY_ENCODER } as const;
/** The revision being read or written; keys are encoded at once. */
const REVISION = new RevisionKey();
const FIRST_KEY = '\0';

/** One open file. `defragment` replaces it by another. */
class Environment {
  path: string;
  readonly root: RootDatabase<Buffer, string>;
  readonly tables: Table[];

  constructor(path: string) {
    this.path = path;
    // LMDB would create the file readable for everybody.
    closeSync(openSync(path, 'a', 0o600));
    this.root = open<Buffer, string>({
      path,
      noSubdir: true,
      maxDbs: BUCKETS.length + 2,
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
    this.checkFormat();
    this.tables = BUCKETS.map((name) => this.root.openDB(name, { ...TABLE_OPTIONS } as never));
  }

  private checkFormat(): void {
    const system: Table = this.root.openDB(SYSTEM_TABLE, { ...TABLE_OPTIONS } as never);
    const found = system.getBinary(FORMAT_KEY);
    if (found === undefined) {
      let records = 0;
      for (const _ of this.root.getKeys({ start: FIRST_KEY })) records++;
      if (records > 1)
        throw new OperatorError(`${this.path} is an LMDB file, but not one of etsd`, 'Use another directory.');
      system.putSync(FORMAT_KEY, Buffer.from(FORMAT_VERSION));
      return;
    }
    const version = found.toString('latin1');
    if (version === FORMAT_VERSION) return;
    throw new OperatorError(
      `${this.path} has storage format ${version}; this program reads format ${FORMAT_VERSION}`,
      'Start the version of etsd that wrote it, or restore a snapshot.',
    );
  }

  /** Queues a batch; the promise settles when the file holds it. Batches are written in the order of the calls. */
  write(batch: Batch): Promise<unknown> {
    return this.root.batch(() => {
      this.writeRecords(batch);
      for (let bucket = 0; bucket < BUCKETS.length; bucket++) {
        const layer = batch.layers[bucket] as Layer | null;
        if (layer === null) continue;
        const table = this.tables[bucket] as Table;
        for (const [key, value] of layer.entries) {
          // Inside a batch the promises of the single operations say nothing that the batch's own does not.
          if (value === null) void table.remove(key);
          else void table.put(key, value);
        }
      }
    });
  }

  private writeRecords(batch: Batch): void {
    const { mains, subs, slabs, starts, ends, length } = batch.records;
    const table = this.tables[KEY_BUCKET] as unknown as RecordWrites;
    for (let i = 0; i < length; i++) {
      const slab = slabs[i] as Slab;
      slab.start = starts[i] as number;
      slab.end = ends[i] as number;
      REVISION.main = mains[i] as number;
      REVISION.sub = subs[i] as number;
      void table.put(REVISION, slab);
    }
  }

  readRecord(main: number, sub: number): Buffer | null {
    REVISION.main = main;
    REVISION.sub = sub;
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
        if (!visit(entry.key as unknown as Buffer, stableView(entry.value))) return;
      }
    };
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
    for (const table of this.tables) {
      const stats = table.getStats() as Record<string, number>;
      pages += stats['treeBranchPageCount']! + stats['treeLeafPageCount']! + stats['overflowPages']!;
      pageSize = stats['pageSize']!;
    }
    const total = statSync(this.path).size;
    return { total, inUse: Math.min(total, pages * pageSize) };
  }
}

/**
 * What lmdb hands out for small values is one shared buffer with `length` overwritten, and for large ones a plain
 * Uint8Array over the mapped file: the first needs an honest length, the second a copy, as the map may move.
 */
function stableView(value: Buffer): Buffer {
  if (!Buffer.isBuffer(value)) return Buffer.from(value as Uint8Array);
  return value.subarray(0, value.length);
}

/** `Backend` over LMDB: a memory-mapped copy-on-write tree, written by a thread of its own. */
export class LmdbBackend implements Backend {
  private readonly path: string;
  private readonly onFailure: (error: Error) => void;
  private readonly overlay = new Overlay();
  private readonly hooks: (() => void)[] = [];
  private environment: Environment;
  /** Set by the first batch the file refused. Later ones are not written, or the file would have a hole. */
  private failure: Error | null = null;
  private closed = false;
  /** Whether the engine is at work on the oldest batch in flight; it is given one at a time. */
  private writing = false;
  /** While set, batches stay in flight: the file is about to be exchanged. */
  private paused = false;
  /** Called once when `writing` ends. */
  private readonly idleWaiters = new RingQueue<() => void>();
  /** While `defragment` runs: what the old file was given since the copy began. */
  private catchUp: RingQueue<Batch> | null = null;
  private catchUpBytes = 0;
  private defragmenting: Promise<void> | null = null;
  /** While a new file is in use whose name is not yet durable. */
  private renaming: Promise<void> | null = null;
  private readonly openSnapshots = new Map<Environment, number>();
  private readonly retired = new Set<Environment>();
  private sizes: Sizes | null = null;

  /**
   * Opens or creates the store in this file, readable for its owner alone. `onFailure` hears once of a batch that the
   * file refused (disk full, I/O error); the member must stop then.
   */
  constructor(path: string, onFailure: (error: Error) => void) {
    this.path = path;
    this.onFailure = onFailure;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Left by a defragmentation that did not finish; the file itself is whole.
    for (const left of [`${path}.new`, `${path}.new-lock`]) rmSync(left, { force: true });
    this.environment = openEnvironment(path);
  }

  get pendingOperations(): number {
    return this.overlay.open.operations;
  }

  get pendingBytes(): number {
    return this.overlay.bytes;
  }

  put(bucket: Bucket, key: Buffer, value: Buffer): void {
    assert(key.length > 0, 'keys have at least one byte');
    if (key.length > KEY_BYTES_MAX) {
      throw new OperatorError(
        `a record of bucket ${bucket} has a key of ${key.length} bytes, ${this.path} allows ${KEY_BYTES_MAX}`,
        'Use a shorter name.',
      );
    }
    this.overlay.write(bucket, key, value);
  }

  delete(bucket: Bucket, key: Buffer): void {
    if (key.length <= KEY_BYTES_MAX) this.overlay.write(bucket, key, null);
  }

  get(bucket: Bucket, key: Buffer): Buffer | null {
    const index = bucketIndex(bucket);
    const name = keyFromBytes(key);
    const found = this.overlay.find(index, name);
    return found !== ABSENT ? found : this.environment.read(index, name, undefined);
  }

  putRecord(main: number, sub: number, slab: Slab, start: number, end: number): void {
    this.overlay.open.addRecord(main, sub, slab, start, end);
  }

  getRecord(main: number, sub: number): Buffer | null {
    const found = this.overlay.findRecord(main, sub);
    return found !== ABSENT ? found : this.environment.readRecord(main, sub);
  }

  scan(bucket: Bucket, from: Buffer | null, to: Buffer | null, visit: Visit): void {
    this.overlay.scan(bucket, this.environment.base(bucketIndex(bucket), undefined), from, to, visit);
  }

  beforeCommit(hook: () => void): void {
    this.hooks.push(hook);
  }

  commit(done?: (error: Error | null) => void): void {
    assert(!this.closed, 'the backend is open');
    if (this.overlay.open.operations > 0) {
      for (const hook of this.hooks) hook();
      this.overlay.seal();
    }
    if (done !== undefined) {
      const newest = this.overlay.inFlight.at(-1);
      if (newest === undefined || this.failure !== null) done(this.failure);
      else newest.waiters.push(done);
    }
    this.pump();
  }

  /** Gives the engine the oldest batch in flight, if it is free. */
  private pump(): void {
    const batch = this.overlay.inFlight[0];
    if (batch === undefined || this.writing || this.paused || this.failure !== null) return;
    this.writing = true;
    this.environment.write(batch).then(
      () => this.written(batch, null),
      (thrown: unknown) => this.written(batch, refused(this.path, thrown)),
    );
  }

  private written(batch: Batch, error: Error | null): void {
    this.writing = false;
    this.sizes = null;
    if (error === null) {
      this.overlay.drop(batch);
      if (this.catchUp !== null) {
        this.catchUp.push(batch);
        this.catchUpBytes += batch.bytes;
      }
      for (const waiter of batch.waiters) waiter(null);
    } else {
      this.failure = error;
      this.onFailure(error);
      for (const stuck of this.overlay.inFlight) for (const waiter of stuck.waiters) waiter(error);
    }
    for (let waiter = this.idleWaiters.take(); waiter !== undefined; waiter = this.idleWaiters.take()) waiter();
    this.pump();
  }

  private idle(): Promise<void> {
    if (!this.writing) return Promise.resolve();
    return new Promise((resolve) => this.idleWaiters.push(resolve));
  }

  async flush(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.commit((error) => (error === null ? resolve() : reject(error)));
    });
    if (this.renaming !== null) await this.renaming;
    await this.environment.sync();
  }

  snapshot(): BackendSnapshot {
    this.commit();
    const environment = this.environment;
    const batches = this.overlay.inFlight.slice();
    const transaction = environment.root.useReadTransaction();
    this.openSnapshots.set(environment, (this.openSnapshots.get(environment) ?? 0) + 1);
    let open = true;
    return {
      get: (bucket, key) => {
        const index = bucketIndex(bucket);
        const name = keyFromBytes(key);
        const found = findIn(batches, index, name);
        return found !== ABSENT ? found : environment.read(index, name, transaction);
      },
      scan: (bucket, from, to, visit) => {
        const index = bucketIndex(bucket);
        mergeScan(layersOf(batches, index), environment.base(index, transaction), from, to, visit);
      },
      close: () => {
        if (!open) return;
        open = false;
        transaction.done();
        const left = (this.openSnapshots.get(environment) as number) - 1;
        if (left > 0) this.openSnapshots.set(environment, left);
        else this.openSnapshots.delete(environment);
        void this.closeRetired();
      },
    };
  }

  sizeBytes(): number {
    return this.measure().total;
  }

  inUseBytes(): number {
    return this.measure().inUse;
  }

  private measure(): Sizes {
    this.sizes ??= this.environment.measure();
    return this.sizes;
  }

  defragment(): Promise<void> {
    this.defragmenting ??= this.rewrite().finally(() => {
      this.defragmenting = null;
      this.catchUp = null;
      this.paused = false;
      this.pump();
    });
    return this.defragmenting;
  }

  /**
   * A thread copies the live pages of one moment into a new file. What is committed meanwhile goes to the old file as
   * always and is kept for the new one, which is given it afterwards: repeating a write that the copy already holds
   * changes nothing, so the exact moment of the copy does not matter. For the last few batches and the exchange itself
   * commits wait in flight, where reads find them; requests never wait.
   */
  private async rewrite(): Promise<void> {
    const old = this.environment;
    const freshPath = `${this.path}.new`;
    rmSync(freshPath, { force: true });
    // What was deleted before has to be gone from the old file, or the copy takes it along and is as large.
    await this.flush();
    this.catchUpBytes = 0;
    const catchUp = new RingQueue<Batch>();
    this.catchUp = catchUp;
    await old.root.backup(freshPath, true);
    chmodSync(freshPath, 0o600);
    const fresh = openEnvironment(freshPath);
    try {
      await this.drain(catchUp, fresh);
      await fresh.sync();
      this.paused = true;
      await this.idle();
      await this.drain(catchUp, fresh);
      if (this.failure !== null) throw this.failure;
    } catch (thrown) {
      await fresh.root.close();
      for (const left of [freshPath, `${freshPath}-lock`]) rmSync(left, { force: true });
      throw errorFrom(thrown);
    }
    this.environment = fresh;
    this.sizes = null;
    this.catchUp = null;
    this.renaming = this.rename(fresh, freshPath);
    this.paused = false;
    this.pump();
    try {
      await this.renaming;
    } finally {
      this.renaming = null;
    }
    this.retired.add(old);
    await this.closeRetired();
  }

  private async drain(batches: RingQueue<Batch>, target: Environment): Promise<void> {
    for (let batch = batches.take(); batch !== undefined; batch = batches.take()) {
      if (this.catchUpBytes > CATCH_UP_BYTES_MAX) {
        throw new OperatorError(
          `defragmentation gave up: ${this.catchUpBytes} bytes were written while ${this.path} was copied`,
          'Repeat it when fewer writes arrive.',
        );
      }
      await target.write(batch);
      this.catchUpBytes -= batch.bytes;
    }
  }

  /** Puts a durable new file in the place of the old one. Its lock file follows, as it is the one in use. */
  private async rename(fresh: Environment, freshPath: string): Promise<void> {
    await fresh.sync();
    renameSync(`${freshPath}-lock`, `${this.path}-lock`);
    renameSync(freshPath, this.path);
    const directory = await openDirectory(dirname(this.path));
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
    fresh.path = this.path;
  }

  /** Closes replaced files that no snapshot reads any more. */
  private async closeRetired(): Promise<void> {
    for (const environment of this.retired) {
      if (this.openSnapshots.has(environment)) continue;
      this.retired.delete(environment);
      await environment.root.close();
    }
  }

  async close(): Promise<void> {
    if (this.defragmenting !== null) await this.defragmenting.catch(() => {});
    if (this.failure === null) await this.flush();
    this.closed = true;
    await this.environment.root.close();
  }
}

interface Sizes {
  total: number;
  inUse: number;
}

/** The error for a batch the file refused, with lmdb's own reason behind it. */
function refused(path: string, thrown: unknown): Error {
  const error = errorFrom(thrown);
  const reason = (error as { commitError?: Promise<unknown> }).commitError;
  // The reason comes as a promise that rejects; nobody else listens to it.
  reason?.catch(() => {});
  return new OperatorError(`writing to ${path} failed: ${error.message}`, 'Check the disk and its free space.', {
    cause: error,
  });
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

function openEnvironment(path: string): Environment {
  if (!looksLikeLmdb(path)) {
    throw new OperatorError(`${path} is not a file of etsd's store`, 'Use another directory, or restore a snapshot.');
  }
  try {
    return new Environment(path);
  } catch (thrown) {
    if (thrown instanceof OperatorError) throw thrown;
    throw new OperatorError(
      `${path} cannot be opened: ${errorFrom(thrown).message}`,
      'Check that it is a store of etsd, that its owner runs this program, and that its disk is sound.',
      { cause: thrown },
    );
  }
}

/** Opens or creates the store in this file; see `LmdbBackend`. */
export function openLmdb(path: string, onFailure: (error: Error) => void): Backend {
  return new LmdbBackend(path, onFailure);
}
