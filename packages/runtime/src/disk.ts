import type { Sealing } from './sealed/sealing.ts';

/** Called once with `null` when the operation succeeded. */
export type DiskCallback = (error: Error | null) => void;

/** Called once: with the number of bytes read, fewer than asked for only at the end of the file. */
export type ReadCallback = (error: Error | null, bytesRead: number) => void;

export interface FileStat {
  readonly isDirectory: boolean;
  /** Bytes; 0 for a directory. */
  readonly size: number;
  /** Last change, in milliseconds of the wall clock. */
  readonly modifiedMs: number;
}

/** `create` fails where the file exists; `write` where it does not; `read` cannot write. */
export type OpenAccess = 'read' | 'write' | 'create';

export interface OpenOptions {
  /**
   * Every write is on the medium, with all that is needed to read it back, before it is reported done (O_DSYNC). One
   * trip to the kernel where a write followed by `dataSync` takes two.
   */
  readonly durable?: boolean;
  /** Of a new file: encrypted, where the disk encrypts at all. */
  readonly sealed?: boolean;
}

/**
 * An open file. Positions and lengths are bytes. The buffer of a read or write belongs to the file until the callback.
 * Operations of one file may overlap and then complete in any order, so whoever needs an order waits.
 *
 * After an error of a write or of a sync nothing is known about what the medium holds, and trying again does not help:
 * the kernel may have dropped the dirty pages and report success the next time.
 */
export interface DiskFile {
  readonly path: string;
  /** Writes `bytes[start, end)` at `position`, all of it or an error. Not durable before a sync (see `OpenOptions`). */
  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void;
  /** Reads into `target[start, end)` from `position`. */
  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void;
  /** What was written before is on the medium, and the length with it; times of access and change may not be. */
  dataSync(done: DiskCallback): void;
  /** The same with all metadata. */
  sync(done: DiskCallback): void;
  /** Cuts the file, or fills it up with zeros, to `length`. Not durable before a sync. */
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  /** Closes the file; nothing may be under way and nothing may follow. */
  close(): Promise<void>;
}

/** A file held against other processes until released or until this process ends, however it ends. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Makes new files that are locked already, in one directory, without what taking a lock may cost: on Linux a program is
 * started for it, which holds the event loop the longer the more memory this process has.
 */
export interface LockedFiles {
  /** Gets files ready in the background. To be called while the process is still small. */
  prepare(): void;
  /** A new empty file at `path`, in place of what is there, and its lock. */
  take(path: string): Promise<Lock>;
  /** Removes the file at `path` and releases its lock, which may serve the next one that is taken. */
  remove(path: string, lock: Lock): Promise<void>;
  /** Removes what was made ready. Files that were taken stay, with their locks. */
  close(): Promise<void>;
}

/** Without anything made ready: for disks where a lock costs nothing. */
export class PlainLockedFiles implements LockedFiles {
  private readonly disk: Disk;

  constructor(disk: Disk) {
    this.disk = disk;
  }

  prepare(): void {}

  async take(path: string): Promise<Lock> {
    await this.disk.remove(path);
    return this.disk.lock(path);
  }

  async remove(path: string, lock: Lock): Promise<void> {
    await this.disk.remove(path);
    await lock.release();
  }

  async close(): Promise<void> {}
}

/**
 * Files and directories. Directories are made with mode 0700, files with 0600. Errors carry the system's `code`
 * (`ENOENT`, `EEXIST`, `ENOSPC`, …); see `hasCode`.
 *
 * That a file was created, renamed or removed is durable only after `syncDirectory` of the directory that holds it.
 */
export interface Disk {
  /** Keys of encryption at rest, where files may be encrypted. Files of the log are by whoever writes them. */
  readonly sealing?: Sealing;
  open(path: string, access: OpenAccess, options?: OpenOptions): Promise<DiskFile>;
  readFile(path: string): Promise<Buffer>;
  /**
   * Puts `bytes` at `path` so that after a crash either all of it is there or what was there before: written to a
   * neighbour with the suffix `.tmp`, synced, renamed, the directory synced. `sealed` as in `OpenOptions`.
   */
  writeFileAtomic(path: string, bytes: Buffer, options?: { readonly sealed?: boolean }): Promise<void>;
  /** Makes the directory and what is missing above it, durably. No error where it exists. */
  makeDirectory(path: string): Promise<void>;
  /** The names in a directory, in ascending order of their bytes. */
  list(path: string): Promise<string[]>;
  /** Moves a file or directory, replacing a file that is in the way. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, or a directory with all that is in it. No error where there is nothing. */
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Bytes that this process may still write to the file system that holds `path`, which must exist. */
  freeBytes(path: string): Promise<number>;
  /** `null` where there is nothing. */
  stat(path: string): Promise<FileStat | null>;
  /**
   * Takes the exclusive lock of the file at `path`, which is made where missing, and keeps it if the file is renamed.
   * Fails with code `ELOCKED` where somebody has it, also an etcd.
   */
  lock(path: string): Promise<Lock>;
  /** For files made one after the other in this directory, each with its lock. */
  lockedFiles(directory: string): LockedFiles;
}

/** Whether an error of a disk operation has this code. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** An error with a system code, for implementations of `Disk`. */
export function diskError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

/** The path of `name` within `directory`. Paths are written with slashes on every system. */
export function joinPath(directory: string, ...names: readonly string[]): string {
  return [directory.replace(/\/+$/, ''), ...names].join('/');
}

/** The directory that holds what `path` names. */
export function parentPath(path: string): string {
  const end = path.replace(/\/+$/, '').lastIndexOf('/');
  if (end > 0) return path.slice(0, end);
  return end === 0 ? '/' : '.';
}
