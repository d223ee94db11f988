/** Where the parts of a member that is stopped lie, and what every tool does that makes a directory out of another one. */
import { OperatorError } from '@etsd/base';
import { type Disk, type DiskFile, hasCode, joinPath, type Lock, type OpenOptions, parentPath } from '@etsd/runtime';
import { listSegments, openContent } from '@etsd/wal';

const COPY_BYTES = 1024 * 1024;

export interface Layout {
  readonly dataDir: string;
  readonly walDirectory: string;
  readonly snapDirectory: string;
  /** The store of etsd. */
  readonly storePath: string;
  /** The store of etcd. */
  readonly boltPath: string;
}

/** `walDir` is '' for the log below the data directory. */
export function layoutOf(dataDir: string, walDir = ''): Layout {
  const snapDirectory = joinPath(dataDir, 'member', 'snap');
  return {
    dataDir,
    walDirectory: walDir === '' ? joinPath(dataDir, 'member', 'wal') : walDir,
    snapDirectory,
    storePath: joinPath(snapDirectory, 'store.mdb'),
    boltPath: joinPath(snapDirectory, 'db'),
  };
}

/** Refuses a place where something is already. */
export async function checkTarget(disk: Disk, target: string): Promise<void> {
  const found = await disk.stat(target);
  if (found === null || (found.isDirectory && (await disk.list(target)).length === 0)) return;
  throw new OperatorError(`the target ${target} exists and is not empty`, 'Name a directory that does not exist yet.');
}

/** Takes the locks of these files; gives them all back where one is held. Files on a disk that cannot be written need none. */
export async function lockAll(disk: Disk, paths: readonly string[], dataDir: string): Promise<Lock[]> {
  const locks: Lock[] = [];
  try {
    for (const path of paths) {
      const lock = await lockOne(disk, path, dataDir);
      if (lock !== null) locks.push(lock);
    }
    return locks;
  } catch (error) {
    await releaseAll(locks);
    throw error;
  }
}

async function lockOne(disk: Disk, path: string, dataDir: string): Promise<Lock | null> {
  try {
    return await disk.lock(path);
  } catch (error) {
    // Nobody runs a member where nothing can be written.
    if (hasCode(error, 'EROFS')) return null;
    if (!hasCode(error, 'ELOCKED')) throw error;
    throw new OperatorError(`a member is using ${dataDir}: ${path} is locked`, 'Stop the member first.', {
      cause: error,
    });
  }
}

export async function releaseAll(locks: readonly Lock[]): Promise<void> {
  for (const lock of locks) await lock.release();
}

/** Copies a file as it is, durably; encrypted if it is to be `sealed` and the disk encrypts. */
export async function copyFile(disk: Disk, from: string, to: string, options: OpenOptions = {}): Promise<void> {
  await copyContent(disk, await disk.open(from, 'read'), to, options);
}

async function copyContent(disk: Disk, source: DiskFile, to: string, options: OpenOptions = {}): Promise<void> {
  try {
    const target = await disk.open(to, 'create', options);
    try {
      const size = await source.size();
      const piece = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(1, size)));
      for (let at = 0; at < size; at += piece.length) {
        const length = Math.min(piece.length, size - at);
        await readAt(source, piece, length, at);
        await new Promise<void>((resolve, reject) => {
          target.write(piece, 0, length, at, (error) => (error === null ? resolve() : reject(error)));
        });
      }
      await new Promise<void>((resolve, reject) => {
        target.sync((error) => (error === null ? resolve() : reject(error)));
      });
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

export function readAt(file: DiskFile, target: Buffer, length: number, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.read(target, 0, length, position, (error, bytesRead) => {
      if (error !== null) reject(error);
      else if (bytesRead < length) reject(new Error(`${file.path} became shorter while it was read`));
      else resolve();
    });
  });
}

/** Copies all segments of a log into another directory, which is made. */
export async function copyLog(disk: Disk, from: string, to: string): Promise<void> {
  await disk.makeDirectory(to);
  for (const { name } of await listSegments(disk, from)) await copyFile(disk, joinPath(from, name), joinPath(to, name));
  await disk.syncDirectory(to);
}

/** The same, with segments that are encrypted made plain. */
export async function copyLogPlain(disk: Disk, from: string, to: string): Promise<void> {
  await disk.makeDirectory(to);
  for (const segment of await listSegments(disk, from)) {
    await copyContent(disk, await openContent(disk, from, segment), joinPath(to, segment.name));
  }
  await disk.syncDirectory(to);
}

/** Where a directory is made before it gets its name. */
export function unfinishedPath(target: string): string {
  return `${target}.unfinished`;
}

/**
 * Lets `make` fill a directory beside the target, which becomes the target as a whole or not at all: what an earlier
 * attempt left unfinished is removed and made anew.
 */
export async function makeDirectoryWhole(
  disk: Disk,
  target: string,
  make: (unfinished: string) => Promise<void>,
): Promise<void> {
  const unfinished = unfinishedPath(target);
  await disk.remove(unfinished);
  await disk.makeDirectory(joinPath(unfinished, 'member', 'snap'));
  try {
    await make(unfinished);
  } catch (error) {
    await disk.remove(unfinished);
    throw error;
  }
  await disk.syncDirectory(joinPath(unfinished, 'member', 'snap'));
  await disk.syncDirectory(joinPath(unfinished, 'member'));
  await disk.syncDirectory(unfinished);
  await disk.remove(target);
  await disk.rename(unfinished, target);
  await disk.syncDirectory(parentPath(target));
}
