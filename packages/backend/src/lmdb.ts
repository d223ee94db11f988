import { existsSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open as openDirectory } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert, errorFrom, faultPoint, keyFromBytes, OperatorError, RingQueue } from '@etsd/base';
import type { Backend, BackendObserver, BackendSnapshot, FrozenFile, Visit } from './backend.ts';
import type { Batch } from './batch.ts';
import { type Bucket, bucketIndex } from './buckets.ts';
import { mergeScan } from './layer.ts';
import {
  checkRoom,
  freeBytes,
  KEY_BYTES_MAX,
  type LmdbFile,
  openLmdbFile,
  ROOM_BYTES,
  type Sizes,
} from './lmdb-file.ts';
import { LmdbReader, type StoreCheck } from './lmdb-reader.ts';
import { ABSENT, findIn, layersOf, Overlay } from './overlay.ts';
import type { Slab } from './slab.ts';

export { loadEngine } from './lmdb-module.ts';
export { StoreLoader } from './store-loader.ts';

/** Operations handed to the engine in one go, where there are several batches: about two milliseconds. */
const TRANSACTION_OPERATIONS_MAX = 4000;
/** Writes kept for the new file while `defragment` copies the old one. */
const CATCH_UP_BYTES_MAX = 512 * 1024 * 1024;
/** A store that is being filled, and for which there is no room, is tried again after so many milliseconds. */
const RETRY_MS = 1000;
/** What LMDB calls a batch for which the disk or the map had no room. */
const ENOSPC = 28;
const MDB_MAP_FULL = -30_792;
/** What LMDB calls a write of which the system took only a part, as it does when the disk becomes full: an I/O error. */
const EIO = 5;

/** `Backend` over LMDB: a memory-mapped copy-on-write tree, written by a thread of its own. */
export class LmdbBackend implements Backend {
  private readonly path: string;
  private readonly onFailure: (error: Error) => void;
  private readonly onOutOfSpace: (error: Error) => void;
  private readonly overlay = new Overlay();
  private readonly hooks: (() => void)[] = [];
  private file: LmdbFile;
  /** Set by the first batch the file refused. Later ones are not written, or the file would have a hole. */
  private failure: Error | null = null;
  /** Set while the file has no room for the oldest batch in flight. */
  private lacksSpace: Error | null = null;
  private closing = false;
  private closed = false;
  /** Whether the engine is at work on the oldest batches in flight; it is given one transaction at a time. */
  private writing = false;
  /** Flushes that wait for the disk. */
  private syncing = 0;
  /** While set, batches stay in flight: the file is about to be exchanged. */
  private paused = false;
  /** Who would rather fail than wait for room. */
  private readonly noRoomWaiters: ((error: Error) => void)[] = [];
  /** Called once when `writing` ends. */
  private readonly idleWaiters = new RingQueue<() => void>();
  /** While `defragment` runs: what the old file was given since the copy began. */
  private catchUp: RingQueue<Batch> | null = null;
  private catchUpBytes = 0;
  private defragmenting: Promise<void> | null = null;
  observer: BackendObserver | null = null;
  private replacing: Promise<void> | null = null;
  /** While a new file is in use whose name is not yet durable. */
  private renaming: Promise<void> | null = null;
  private readonly openSnapshots = new Map<LmdbFile, number>();
  private readonly retired = new Set<LmdbFile>();
  private sizes: Sizes | null = null;

  /**
   * Opens or creates the store in this file, readable for its owner alone. `onFailure` hears once of a batch that the
   * file refused (an I/O error); the member must stop then. `onOutOfSpace` hears of each batch refused for want of space
   * alone, which waits for `retry`.
   */
  constructor(path: string, onFailure: (error: Error) => void, onOutOfSpace: (error: Error) => void = () => {}) {
    this.path = path;
    this.onFailure = onFailure;
    this.onOutOfSpace = onOutOfSpace;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Left by a defragmentation that did not finish; the file itself is whole.
    for (const left of [`${path}.new`, `${path}.new-lock`]) rmSync(left, { force: true });
    this.file = openLmdbFile(path);
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
    return found !== ABSENT ? found : this.file.read(index, name, undefined);
  }

  putRecord(main: number, sub: number, slab: Slab, start: number, end: number, isTombstone = false): void {
    this.overlay.open.addRecord(main, sub, slab, start, end, isTombstone);
  }

  getRecord(main: number, sub: number): Buffer | null {
    const found = this.overlay.findRecord(main, sub);
    return found !== ABSENT ? found : this.file.readRecord(main, sub);
  }

  scan(bucket: Bucket, from: Buffer | null, to: Buffer | null, visit: Visit): void {
    this.overlay.scan(bucket, this.file.base(bucketIndex(bucket), undefined), from, to, visit);
  }

  beforeCommit(hook: () => void): void {
    this.hooks.push(hook);
  }

  commit(done?: (error: Error | null) => void): void {
    assert(!this.closed, 'the backend is open');
    if (this.overlay.open.operations > 0) {
      faultPoint('backend.commit.before');
      for (const hook of this.hooks) hook();
      faultPoint('backend.commit.hooked');
      this.overlay.seal();
    }
    if (done !== undefined) {
      const newest = this.overlay.inFlight.at(-1);
      if (newest === undefined || this.failure !== null) done(this.failure);
      else newest.waiters.push(done);
    }
    this.pump();
  }

  /**
   * Gives the engine the oldest batches in flight, if it is free. LMDB syncs every transaction; where the disk is slow
   * more of them share one, or they would pile up.
   */
  private pump(): void {
    const { inFlight } = this.overlay;
    if (inFlight.length === 0 || this.writing || this.paused) return;
    if (this.failure !== null || this.lacksSpace !== null) return;
    let operations = 0;
    let count = 0;
    for (const batch of inFlight) {
      operations += batch.operations;
      if (count > 0 && operations > TRANSACTION_OPERATIONS_MAX) break;
      count++;
    }
    const batches = inFlight.slice(0, count);
    const noRoom = this.roomError(batches);
    if (noRoom !== null) {
      if (this.closing) {
        this.lacksSpace = noRoom;
        this.written(batches, noRoom);
      } else this.lacksRoom(noRoom);
      return;
    }
    // While the writer is at work the file may show, and count, what is still in flight.
    this.measure();
    this.writing = true;
    const startMs = performance.now();
    this.file.write(batches).then(
      () => {
        this.observer?.committed(performance.now() - startMs);
        this.written(batches, null);
      },
      (thrown: unknown) => void this.refused(batches, errorFrom(thrown)),
    );
  }

  /** A refused transaction has changed nothing. Where only space was lacking it can be repeated as it was. */
  private async refused(batches: readonly Batch[], thrown: Error): Promise<void> {
    const reason = await reasonOf(thrown);
    const error = new OperatorError(
      `writing to ${this.path} failed: ${reason.message}`,
      'Check the disk and its free space.',
      { cause: thrown },
    );
    if (this.isForSpace(reason, batches)) this.lacksSpace = error;
    if (this.lacksSpace === null || this.closing) {
      this.written(batches, error);
      return;
    }
    this.writing = false;
    this.lacksRoom(error);
  }

  /** The oldest batches wait for room from now on. */
  private lacksRoom(error: Error): void {
    this.lacksSpace = error;
    for (const waiter of this.noRoomWaiters.splice(0)) waiter(error);
    this.onOutOfSpace(error);
    this.tellIdle();
  }

  /**
   * Why these batches should not even be tried, or null. The engine (lmdb 3.5.6) writes what it has to say about a write
   * that the system refuses as a whole over the end of a buffer, which may end the process; so that it does not come to
   * that, it is never let near the end of the disk.
   */
  private roomError(batches: readonly Batch[]): Error | null {
    const free = freeBytes(this.path);
    const needed = ROOM_BYTES + 2 * bytesOf(batches);
    if (free >= needed) return null;
    return new OperatorError(
      `writing to ${this.path} failed: ${free} bytes of the disk are free, ${needed} are needed`,
      'Free space on that disk.',
    );
  }

  private isForSpace({ code }: EngineError, batches: readonly Batch[]): boolean {
    if (code === ENOSPC || code === MDB_MAP_FULL) return true;
    return code === EIO && freeBytes(this.path) < ROOM_BYTES + 2 * bytesOf(batches);
  }

  get isOutOfSpace(): boolean {
    return this.lacksSpace !== null;
  }

  retry(): void {
    this.lacksSpace = null;
    this.pump();
  }

  private written(batches: readonly Batch[], error: Error | null): void {
    this.writing = false;
    this.sizes = null;
    if (error === null) {
      faultPoint('backend.commit.after');
      for (const batch of batches) {
        this.overlay.drop(batch);
        if (this.catchUp !== null) {
          this.catchUp.push(batch);
          this.catchUpBytes += batch.bytes;
        }
        for (const waiter of batch.waiters) waiter(null);
      }
    } else {
      this.failure = error;
      if (this.lacksSpace === null) this.onFailure(error);
      for (const stuck of this.overlay.inFlight) for (const waiter of stuck.waiters) waiter(error);
    }
    this.tellIdle();
    this.pump();
  }

  private tellIdle(): void {
    if (this.writing || this.syncing > 0) return;
    for (let waiter = this.idleWaiters.take(); waiter !== undefined; waiter = this.idleWaiters.take()) waiter();
  }

  idle(): Promise<void> {
    if (!this.writing && this.syncing === 0) return Promise.resolve();
    return new Promise((resolve) => this.idleWaiters.push(resolve));
  }

  /** As `committed`, but rejects where the file has no room, instead of waiting until it has. */
  private committedNow(): Promise<void> {
    if (this.lacksSpace !== null) return Promise.reject(this.lacksSpace);
    return new Promise((resolve, reject) => {
      this.noRoomWaiters.push(reject);
      this.commit((error) => {
        const at = this.noRoomWaiters.indexOf(reject);
        if (at >= 0) this.noRoomWaiters.splice(at, 1);
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  private committed(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.commit((error) => (error === null ? resolve() : reject(error)));
    });
  }

  async flush(): Promise<void> {
    await this.committed();
    if (this.renaming !== null) await this.renaming;
    this.syncing++;
    faultPoint('backend.flush.before');
    try {
      await this.file.sync();
      faultPoint('backend.flush.after');
    } finally {
      this.syncing--;
      this.tellIdle();
    }
  }

  snapshot(): BackendSnapshot {
    this.commit();
    const batches = this.overlay.inFlight.slice();
    const { file, transaction, close } = this.hold();
    return {
      get: (bucket, key) => {
        const index = bucketIndex(bucket);
        const name = keyFromBytes(key);
        const found = findIn(batches, index, name);
        return found !== ABSENT ? found : file.read(index, name, transaction);
      },
      scan: (bucket, from, to, visit) => {
        const index = bucketIndex(bucket);
        mergeScan(layersOf(batches, index), file.base(index, transaction), from, to, visit);
      },
      close,
    };
  }

  async freezeFile(): Promise<FrozenFile> {
    await this.committedNow();
    const { file, close } = this.hold();
    return { path: file.path, fd: file.fd, close };
  }

  /** Keeps the file, and what its present transaction shows. */
  private hold(): {
    file: LmdbFile;
    transaction: ReturnType<LmdbFile['root']['useReadTransaction']>;
    close: () => void;
  } {
    const { file } = this;
    const transaction = file.root.useReadTransaction();
    this.openSnapshots.set(file, (this.openSnapshots.get(file) ?? 0) + 1);
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      // A file that is closed has let everything go.
      if (!this.closed) transaction.done();
      const left = (this.openSnapshots.get(file) as number) - 1;
      if (left > 0) this.openSnapshots.set(file, left);
      else this.openSnapshots.delete(file);
      void this.closeRetired();
    };
    return { file, transaction, close };
  }

  sizeBytes(): number {
    return this.measure().total;
  }

  inUseBytes(): number {
    return this.measure().inUse;
  }

  /** As of when nothing was being written last: what came since is in flight, and counted by `pendingBytes`. */
  private measure(): Sizes {
    this.sizes ??= this.file.measure();
    return this.sizes;
  }

  get isDefragmenting(): boolean {
    return this.defragmenting !== null;
  }

  /** While the whole content is being exchanged there is nothing to do: a file just filled has no holes. */
  defragment(): Promise<void> {
    if (this.replacing !== null) return this.replacing;
    const startMs = performance.now();
    this.defragmenting ??= this.rewrite().finally(() => {
      this.observer?.defragmented(performance.now() - startMs);
      this.defragmenting = null;
      this.catchUp = null;
      this.paused = false;
      this.pump();
    });
    return this.defragmenting;
  }

  /**
   * The records of one moment are copied into a new file, a slice at a time. (LMDB can copy a file by itself, and compact
   * it, but the copy breaks large values, and the process when the writer thread of this binding is at work.) What is
   * committed meanwhile goes to the old file as always and is kept for the new one, which is given it afterwards: repeating a write that the copy already holds
   * changes nothing, so the exact moment of the copy does not matter. For the last few batches and the exchange itself
   * commits wait in flight, where reads find them; requests never wait.
   */
  private async rewrite(): Promise<void> {
    const freshPath = `${this.path}.new`;
    faultPoint('defragment.before');
    rmSync(freshPath, { force: true });
    // What was deleted last should not be copied: deleted afterwards, it would leave holes in the new file.
    await this.committedNow();
    checkRoom(dirname(this.path), this.inUseBytes() + ROOM_BYTES, 'defragmenting it');
    this.catchUpBytes = 0;
    const catchUp = new RingQueue<Batch>();
    this.catchUp = catchUp;
    const old = this.file;
    const fresh = await copyOf(old, freshPath);
    try {
      await this.drain(catchUp, fresh);
      await fresh.sync();
      this.paused = true;
      await this.idle();
      await this.drain(catchUp, fresh);
      if (this.failure !== null) throw this.failure;
    } catch (thrown) {
      fresh.abandon();
      removeCopy(freshPath);
      throw errorFrom(thrown);
    }
    faultPoint('defragment.exchange');
    this.file = fresh;
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
    faultPoint('defragment.after');
    this.retired.add(old);
    await this.closeRetired();
  }

  private async drain(batches: RingQueue<Batch>, target: LmdbFile): Promise<void> {
    for (let batch = batches.take(); batch !== undefined; batch = batches.take()) {
      if (this.catchUpBytes > CATCH_UP_BYTES_MAX) {
        throw new OperatorError(
          `defragmentation gave up: ${this.catchUpBytes} bytes were written while ${this.path} was copied`,
          'Repeat it when fewer writes arrive.',
        );
      }
      await target.write([batch], true);
      this.catchUpBytes -= batch.bytes;
    }
  }

  replace(fill: (fresh: Backend) => Promise<void>, switched: () => void = () => {}, aside = ''): Promise<void> {
    assert(this.replacing === null && !this.closing, 'one replacement at a time, of an open store');
    this.replacing = this.exchange(fill, switched, aside).finally(() => {
      this.replacing = null;
    });
    return this.replacing;
  }

  private async exchange(fill: (fresh: Backend) => Promise<void>, switched: () => void, aside: string): Promise<void> {
    if (this.defragmenting !== null) await this.defragmenting.catch(() => {});
    await this.flush();
    const freshPath = `${this.path}.new`;
    for (const left of [freshPath, `${freshPath}-lock`]) rmSync(left, { force: true });
    // What is to be installed waits for room, as everything else.
    const fresh: LmdbBackend = new LmdbBackend(freshPath, this.onFailure, () => {
      setTimeout(() => fresh.retry(), RETRY_MS);
    });
    try {
      await fill(fresh);
      await fresh.flush();
    } catch (thrown) {
      await fresh.abandon();
      throw errorFrom(thrown);
    }
    assert(this.overlay.open.operations === 0, 'nothing is written to a store that is being replaced');
    if (aside !== '') linkSync(this.path, aside);
    await this.rename(fresh.file, freshPath);
    const old = this.file;
    if (aside !== '') old.isKept = true;
    this.file = fresh.file;
    this.sizes = null;
    this.retired.add(old);
    switched();
    await this.closeRetired();
  }

  /** Closes and removes a file that did not become the store. */
  private async abandon(): Promise<void> {
    this.closed = true;
    this.paused = true;
    await this.idle();
    await this.file.close();
    for (const left of [this.path, `${this.path}-lock`]) rmSync(left, { force: true });
  }

  /** Puts a durable new file in the place of the old one. Its lock file follows, as it is the one in use. */
  private async rename(fresh: LmdbFile, freshPath: string): Promise<void> {
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
    for (const file of this.retired) {
      if (this.openSnapshots.has(file)) continue;
      this.retired.delete(file);
      await file.discard();
    }
  }

  async close(): Promise<void> {
    this.closing = true;
    // One more try; what still has no room is applied again from the log at the next start.
    this.retry();
    if (this.replacing !== null) await this.replacing.catch(() => {});
    if (this.defragmenting !== null) await this.defragmenting.catch(() => {});
    try {
      if (this.failure === null) await this.flush();
    } catch (error) {
      if (!this.isOutOfSpace) throw error;
    } finally {
      this.closed = true;
      await this.idle();
      if (this.failure === null) await this.file.close();
      else this.file.abandon();
    }
  }
}

/** The records of `file`, written to a new one. Leaves nothing behind where that fails. */
async function copyOf(file: LmdbFile, path: string): Promise<LmdbFile> {
  let copy: LmdbFile | null = null;
  try {
    copy = openLmdbFile(path);
    await file.copyTo(copy);
    return copy;
  } catch (thrown) {
    copy?.abandon();
    removeCopy(path);
    throw new OperatorError(`copying to ${path} failed: ${errorFrom(thrown).message}`, 'Check the free space.', {
      cause: thrown,
    });
  }
}

function bytesOf(batches: readonly Batch[]): number {
  let bytes = 0;
  for (const batch of batches) bytes += batch.bytes;
  return bytes;
}

function removeCopy(path: string): void {
  for (const left of [path, `${path}-lock`]) rmSync(left, { force: true });
}

/** An error of LMDB or of the system, by number. */
interface EngineError {
  readonly message: string;
  readonly code?: number;
}

/** Why the engine refused a batch. lmdb gives the reason as a promise that rejects with it a little later. */
async function reasonOf(thrown: Error): Promise<EngineError> {
  const { commitError } = thrown as { commitError?: Promise<unknown> };
  if (commitError === undefined) return thrown;
  try {
    await commitError;
    return thrown;
  } catch (reason) {
    return errorFrom(reason) as EngineError;
  }
}

/**
 * Looks at a whole file before it is opened: every page, and every record against the checksum kept beside them. Null
 * where there is no file yet. Throws a `CorruptionError` with file, page and byte; nothing is changed.
 */
export async function checkLmdb(path: string, pause: () => Promise<void>): Promise<StoreCheck | null> {
  if (!existsSync(path) || statSync(path).size === 0) return null;
  const reader = new LmdbReader(path);
  try {
    return await reader.check(pause);
  } finally {
    reader.close();
  }
}

export { LmdbReader, type StoreCheck } from './lmdb-reader.ts';

/** Opens or creates the store in this file; see `LmdbBackend`. */
export function openLmdb(path: string, onFailure: (error: Error) => void): Backend {
  return new LmdbBackend(path, onFailure);
}
