import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { open as openDirectory } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert, errorFrom, keyFromBytes, OperatorError, RingQueue } from '@etsd/base';
import type { Backend, BackendSnapshot, Visit } from './backend.ts';
import type { Batch } from './batch.ts';
import { type Bucket, bucketIndex } from './buckets.ts';
import { mergeScan } from './layer.ts';
import { KEY_BYTES_MAX, type LmdbFile, openLmdbFile, type Sizes } from './lmdb-file.ts';
import { ABSENT, findIn, layersOf, Overlay } from './overlay.ts';
import type { Slab } from './slab.ts';

/** Operations handed to the engine in one go, where there are several batches: about two milliseconds. */
const TRANSACTION_OPERATIONS_MAX = 4000;

/** `Backend` over LMDB: a memory-mapped copy-on-write tree, written by a thread of its own. */
export class LmdbBackend implements Backend {
  private readonly path: string;
  private readonly onFailure: (error: Error) => void;
  private readonly overlay = new Overlay();
  private readonly hooks: (() => void)[] = [];
  private file: LmdbFile;
  /** Set by the first batch the file refused. Later ones are not written, or the file would have a hole. */
  private failure: Error | null = null;
  private closed = false;
  /** Whether the engine is at work on the oldest batches in flight; it is given one transaction at a time. */
  private writing = false;
  /** While set, batches stay in flight: the file is about to be exchanged. */
  private paused = false;
  /** Called once when `writing` ends. */
  private readonly idleWaiters = new RingQueue<() => void>();
  private defragmenting: Promise<void> | null = null;
  /** While a new file is in use whose name is not yet durable. */
  private renaming: Promise<void> | null = null;
  private readonly openSnapshots = new Map<LmdbFile, number>();
  private readonly retired = new Set<LmdbFile>();
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

  putRecord(main: number, sub: number, slab: Slab, start: number, end: number): void {
    this.overlay.open.addRecord(main, sub, slab, start, end);
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

  /**
   * Gives the engine the oldest batches in flight, if it is free. LMDB syncs every transaction; where the disk is slow
   * more of them share one, or they would pile up.
   */
  private pump(): void {
    const { inFlight } = this.overlay;
    if (inFlight.length === 0 || this.writing || this.paused || this.failure !== null) return;
    let operations = 0;
    let count = 0;
    for (const batch of inFlight) {
      operations += batch.operations;
      if (count > 0 && operations > TRANSACTION_OPERATIONS_MAX) break;
      count++;
    }
    const batches = inFlight.slice(0, count);
    this.writing = true;
    this.file.write(batches).then(
      () => this.written(batches, null),
      (thrown: unknown) => this.written(batches, refused(this.path, thrown)),
    );
  }

  private written(batches: readonly Batch[], error: Error | null): void {
    this.writing = false;
    this.sizes = null;
    if (error === null) {
      for (const batch of batches) {
        this.overlay.drop(batch);
        for (const waiter of batch.waiters) waiter(null);
      }
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
    await this.file.sync();
  }

  snapshot(): BackendSnapshot {
    this.commit();
    const file = this.file;
    const batches = this.overlay.inFlight.slice();
    const transaction = file.root.useReadTransaction();
    this.openSnapshots.set(file, (this.openSnapshots.get(file) ?? 0) + 1);
    let open = true;
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
      close: () => {
        if (!open) return;
        open = false;
        transaction.done();
        const left = (this.openSnapshots.get(file) as number) - 1;
        if (left > 0) this.openSnapshots.set(file, left);
        else this.openSnapshots.delete(file);
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
    this.sizes ??= this.file.measure();
    return this.sizes;
  }

  defragment(): Promise<void> {
    this.defragmenting ??= this.rewrite().finally(() => {
      this.defragmenting = null;
      this.paused = false;
      this.pump();
    });
    return this.defragmenting;
  }

  /**
   * A thread copies the live pages into a new file. Commits wait in flight meanwhile, where reads find them, and go to the
   * new file afterwards; requests never wait. (Copying beside a running transaction would be shorter, but LMDB's copy is
   * not safe against the writer thread of this binding: it ends the process now and then.)
   */
  private async rewrite(): Promise<void> {
    const old = this.file;
    const freshPath = `${this.path}.new`;
    rmSync(freshPath, { force: true });
    // First everything known so far, or the new file would have holes again at once.
    await new Promise<void>((resolve, reject) => {
      this.commit((error) => (error === null ? resolve() : reject(error)));
    });
    this.paused = true;
    await this.idle();
    if (this.failure !== null) throw this.failure;
    await old.root.backup(freshPath, true);
    chmodSync(freshPath, 0o600);
    const fresh = openLmdbFile(freshPath);
    this.file = fresh;
    this.sizes = null;
    this.renaming = this.rename(fresh, freshPath);
    try {
      await this.renaming;
    } finally {
      this.renaming = null;
    }
    this.retired.add(old);
    await this.closeRetired();
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
      await file.root.close();
    }
  }

  async close(): Promise<void> {
    if (this.defragmenting !== null) await this.defragmenting.catch(() => {});
    if (this.failure === null) await this.flush();
    this.closed = true;
    await this.file.root.close();
  }
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

/** Opens or creates the store in this file; see `LmdbBackend`. */
export function openLmdb(path: string, onFailure: (error: Error) => void): Backend {
  return new LmdbBackend(path, onFailure);
}
