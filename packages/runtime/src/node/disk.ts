import { constants, fdatasync, fsync, promises, read, write } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type {
  Disk,
  DiskCallback,
  DiskFile,
  FileStat,
  Lock,
  LockedFiles,
  OpenAccess,
  OpenOptions,
  ReadCallback,
} from '../disk.ts';
import { hasCode } from '../disk.ts';
import { followRename, lockFile } from './file-lock.ts';
import { SpareFiles } from './spare-files.ts';

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

const ACCESS_FLAGS: Readonly<Record<OpenAccess, number>> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};

/** Carries one write to its end, however many pieces the system takes it in. */
function writeAll(fd: number, bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
  write(fd, bytes, start, end - start, position, (error, written) => {
    if (error !== null) done(error);
    else if (written < end - start) writeAll(fd, bytes, start + written, end, position + written, done);
    else done(null);
  });
}

function readAll(
  fd: number,
  target: Buffer,
  start: number,
  end: number,
  position: number,
  before: number,
  done: ReadCallback,
): void {
  read(fd, target, start, end - start, position, (error, bytesRead) => {
    if (error !== null) done(error, before);
    else if (bytesRead === 0 || bytesRead === end - start) done(null, before + bytesRead);
    else readAll(fd, target, start + bytesRead, end, position + bytesRead, before + bytesRead, done);
  });
}

/** Makes a directory; false where it was there. Throws where something else is in its place. */
async function makeOne(path: string): Promise<boolean> {
  try {
    await promises.mkdir(path, { mode: DIRECTORY_MODE });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST') && (await promises.stat(path)).isDirectory()) return false;
    throw error;
  }
}

/**
 * Makes a directory with all that is missing above it, and returns those made. `recursive` of `mkdir` (Node 24.21) tries
 * for ever where the system refuses a name with "no such directory" though the one above is there, as below /proc.
 */
async function makeMissing(path: string): Promise<string[]> {
  try {
    return (await makeOne(path)) ? [path] : [];
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error;
  }
  const made = await makeMissing(dirname(path));
  if (await makeOne(path)) made.push(path);
  return made;
}

class NodeFile implements DiskFile {
  readonly path: string;
  private readonly handle: promises.FileHandle;
  private readonly fd: number;

  constructor(path: string, handle: promises.FileHandle) {
    this.path = path;
    this.handle = handle;
    this.fd = handle.fd;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    writeAll(this.fd, bytes, start, end, position, done);
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    readAll(this.fd, target, start, end, position, 0, done);
  }

  dataSync(done: DiskCallback): void {
    fdatasync(this.fd, done);
  }

  sync(done: DiskCallback): void {
    fsync(this.fd, done);
  }

  async truncate(length: number): Promise<void> {
    await this.handle.truncate(length);
  }

  async size(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

export class NodeDisk implements Disk {
  async open(path: string, access: OpenAccess, options?: OpenOptions): Promise<DiskFile> {
    const durable = options?.durable === true ? constants.O_DSYNC : 0;
    return new NodeFile(path, await promises.open(path, ACCESS_FLAGS[access] | durable, FILE_MODE));
  }

  readFile(path: string): Promise<Buffer> {
    return promises.readFile(path);
  }

  async writeFileAtomic(path: string, bytes: Buffer): Promise<void> {
    const temporary = `${path}.tmp`;
    const handle = await promises.open(temporary, 'w', FILE_MODE);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await promises.rename(temporary, path);
    await this.syncDirectory(dirname(path));
  }

  async makeDirectory(path: string): Promise<void> {
    // The names of all directories made. They count together or not at all, so no sync waits for another.
    await Promise.all((await makeMissing(resolve(path))).map((made) => this.syncDirectory(dirname(made))));
  }

  async list(path: string): Promise<string[]> {
    const names = await promises.readdir(path, { encoding: 'latin1' });
    return names.sort().map((name) => Buffer.from(name, 'latin1').toString());
  }

  async rename(from: string, to: string): Promise<void> {
    await promises.rename(from, to);
    await followRename(from, to);
  }

  remove(path: string): Promise<void> {
    return promises.rm(path, { recursive: true, force: true });
  }

  async syncDirectory(path: string): Promise<void> {
    const handle = await promises.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async freeBytes(path: string): Promise<number> {
    const { bavail, bsize } = await promises.statfs(path);
    return bavail * bsize;
  }

  async stat(path: string): Promise<FileStat | null> {
    try {
      const stat = await promises.stat(path);
      const isDirectory = stat.isDirectory();
      return { isDirectory, size: isDirectory ? 0 : stat.size, modifiedMs: stat.mtimeMs };
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return null;
      throw error;
    }
  }

  lock(path: string): Promise<Lock> {
    return lockFile(path, FILE_MODE);
  }

  lockedFiles(directory: string): LockedFiles {
    return new SpareFiles(directory, FILE_MODE);
  }
}
