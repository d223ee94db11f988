import type { RecordPlace } from '@etsd/base';
import type { Bucket } from './buckets.ts';
import type { Slab } from './slab.ts';

/** Called for each record in order; returns whether to go on. The buffers are views, valid only during this call. */
export type Visit = (key: Buffer, value: Buffer) => boolean;

/** Is told how long the engine took, in milliseconds. */
export interface BackendObserver {
  /** A transaction is in the file. */
  committed(ms: number): void;
  defragmented(ms: number): void;
}

/** Reading, the same for the live state and for one that was frozen. */
export interface BackendReader {
  /** The value, or null. A view, valid until the next call of the backend. */
  get(bucket: Bucket, key: Buffer): Buffer | null;
  /** Visits [from, to) in the order of bytes; null is an open side. `visit` must not call the backend. */
  scan(bucket: Bucket, from: Buffer | null, to: Buffer | null, visit: Visit): void;
  /** All of a bucket in the order of bytes, for who reads much, where there is a way that leaves nothing to be collected. */
  cursor?(bucket: Bucket): RecordCursor;
}

/** One record after the other, each valid until the next. */
export interface RecordCursor extends RecordPlace {
  /** False behind the last. */
  next(): boolean;
}

/** The state of one moment, readable over many turns of the event loop. Must be closed: it holds space in the file. */
export interface BackendSnapshot extends BackendReader {
  close(): void;
}

/**
 * The store's own file, held in a state that has everything that was written before: what `LmdbReader` finds when it opens
 * it, now or later, stays as it is until this is closed.
 */
export interface FrozenFile {
  readonly path: string;
  /** Of this process, open for reading; also for its other threads. */
  readonly fd: number;
  close(): void;
}

/**
 * Ordered buckets on disk, for a state machine whose own log is what makes writes durable.
 *
 * ```
 *   put/delete ──▶ open batch ──commit()──▶ batches in flight ──engine──▶ file ──flush()──▶ disk
 *                  └──────────── get/scan see all of them, newest first ───────────┘
 * ```
 * A batch reaches the file whole or not at all, in the order of the commits, whatever crashes: a process that dies loses
 * the newest batches, never the middle of one. `beforeCommit` writes how far the log is applied into the same batch,
 * so what was lost is applied again from the log. Only what a completed `flush` covers survives a crash of the machine;
 * the log may be cut no further.
 *
 * Reads are synchronous, writes cost the caller about a microsecond. There are no timers inside: whoever owns the clock
 * calls `commit`.
 */
export interface Backend extends BackendReader {
  /** Hears of what the engine did; null where nobody wants to know, and never called by a store in memory. */
  observer: BackendObserver | null;

  /** Whether the file is being rewritten. */
  readonly isDefragmenting: boolean;

  /** Operations in the open batch: `commit` costs about half a microsecond for each, in one go. */
  readonly pendingOperations: number;

  /** Bytes of keys and values in the open batch and in those in flight. */
  readonly pendingBytes: number;

  /** The key is copied; the value is kept by reference and must not change until its batch is in the file. */
  put(bucket: Bucket, key: Buffer, value: Buffer): void;

  /**
   * Puts `slab[start, end)` into the bucket `key` under the 17 bytes of a revision, or the 18 of a deletion's: the same as
   * `put`, at a fraction of its cost. Within a batch revisions must ascend.
   */
  putRecord(main: number, sub: number, slab: Slab, start: number, end: number, isTombstone?: boolean): void;

  /** The record of a revision in the bucket `key`, or null: the same as `get`. */
  getRecord(main: number, sub: number): Buffer | null;

  /** Deleting what is not there is allowed. */
  delete(bucket: Bucket, key: Buffer): void;

  /** Adds a hook that runs at the start of each `commit` of a batch that is not empty; it may put and delete. */
  beforeCommit(hook: () => void): void;

  /** Closes the batch and hands it to the engine. `done` is called once the file holds it (not: once it is on disk). */
  commit(done?: (error: Error | null) => void): void;

  /**
   * Whether the file has refused a batch for want of space. Nothing is lost: the batch and those behind it wait in
   * flight, where reads find them, until a `retry` finds room. Their owner must bound what it adds meanwhile.
   */
  readonly isOutOfSpace: boolean;

  /** Writes again what was refused for want of space. To be called when there is room; does nothing otherwise. */
  retry(): void;

  /** Resolves when the engine neither writes nor syncs. Ending the process before that would crash it. */
  idle(): Promise<void>;

  /** Commits, and resolves once everything written so far survives a crash of the machine. */
  flush(): Promise<void>;

  /** Freezes the present state, including what is not yet in the file. */
  snapshot(): BackendSnapshot;

  /**
   * Commits, waits until the file has all that, and holds it. Null where there is no file, or nobody but the engine could
   * read it. Rejects where the file has no room for what was written.
   */
  freezeFile(): Promise<FrozenFile | null>;

  /** Size of the file, as quotas count it. */
  sizeBytes(): number;

  /** What of the file is occupied by live data; the rest is reused by later writes or given back by `defragment`. */
  inUseBytes(): number;

  /** Rewrites the file without its holes while everything else goes on; resolves when the new file is in use. */
  defragment(): Promise<void>;

  /**
   * Exchanges the whole content for what `fill` puts into an empty store, as a snapshot from another member demands.
   * Meanwhile nothing may be written here and reads see the old content; from `switched` on they see the new one, which
   * is durable then. A crash leaves the old or the new content, whole. Where `fill` rejects, the old content stays and
   * `switched` is not called. `close` waits for the end: whoever closes early has to make `fill` reject. With `aside`, a
   * path on the same file system that does not exist, the old file stays there; a store in memory keeps nothing.
   */
  replace(fill: (fresh: Backend) => Promise<void>, switched?: () => void, aside?: string): Promise<void>;

  /**
   * Commits, waits for the engine and closes the file. Nothing may be called afterwards. What has no room in the file is
   * left to the log. Rejects where the last batches or their sync failed otherwise; the file is closed then too.
   */
  close(): Promise<void>;
}
