/** A disk that is gone with its owner: for members that need not outlive their process. */
import {
  type Disk,
  type DiskCallback,
  type DiskFile,
  diskError,
  type FileStat,
  type Lock,
  type LockedFiles,
  type OpenAccess,
  PlainLockedFiles,
  type ReadCallback,
} from '../disk.ts';
import { Image } from '../sim/storage.ts';
import type { Timers } from '../timers.ts';

/** There is no limit but the process's memory. */
const FREE_BYTES = 2 ** 45;

class Inode {
  readonly image = new Image();
  isLocked = false;
}

class MemoryFile implements DiskFile {
  readonly path: string;
  private readonly disk: MemoryDisk;
  private readonly inode: Inode;

  constructor(disk: MemoryDisk, path: string, inode: Inode) {
    this.disk = disk;
    this.path = path;
    this.inode = inode;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    this.inode.image.write(position, bytes.subarray(start, end));
    this.disk.later(() => done(null));
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    const count = this.inode.image.read(position, target.subarray(start, end));
    this.disk.later(() => done(null, count));
  }

  dataSync(done: DiskCallback): void {
    this.disk.later(() => done(null));
  }

  sync(done: DiskCallback): void {
    this.dataSync(done);
  }

  async truncate(length: number): Promise<void> {
    this.inode.image.truncate(length);
  }

  async size(): Promise<number> {
    return this.inode.image.size;
  }

  async close(): Promise<void> {}
}

/** Files by path; a directory exists once made. Operations are over at the end of the turn in which they began. */
export class MemoryDisk implements Disk {
  private readonly timers: Timers;
  private readonly files = new Map<string, Inode>();
  private readonly directories = new Set<string>(['']);

  constructor(timers: Timers) {
    this.timers = timers;
  }

  later(callback: () => void): void {
    this.timers.endOfTurn(callback);
  }

  async open(path: string, access: OpenAccess): Promise<DiskFile> {
    const existing = this.files.get(clean(path));
    if (access === 'create') {
      if (existing !== undefined) throw diskError('EEXIST', `file already exists, '${path}'`);
      return new MemoryFile(this, path, this.create(path));
    }
    return new MemoryFile(this, path, existing ?? missing(path));
  }

  async readFile(path: string): Promise<Buffer> {
    const { image } = this.files.get(clean(path)) ?? missing(path);
    const bytes = Buffer.alloc(image.size);
    image.read(0, bytes);
    return bytes;
  }

  async writeFileAtomic(path: string, bytes: Buffer): Promise<void> {
    this.files.delete(clean(path));
    this.create(path).image.write(0, bytes);
  }

  async makeDirectory(path: string): Promise<void> {
    let parent = '';
    for (const name of clean(path).split('/')) {
      parent = parent === '' ? name : `${parent}/${name}`;
      if (this.files.has(parent)) throw diskError('ENOTDIR', `not a directory, '${parent}'`);
      this.directories.add(parent);
    }
  }

  async list(path: string): Promise<string[]> {
    const directory = clean(path);
    if (!this.directories.has(directory)) missing(path);
    const names = [...this.files.keys(), ...this.directories]
      .filter((entry) => entry !== '' && parentOf(entry) === directory)
      .map((entry) => entry.slice(entry.lastIndexOf('/') + 1));
    return names.sort();
  }

  async rename(from: string, to: string): Promise<void> {
    const source = clean(from);
    const target = clean(to);
    const isDirectory = this.directories.has(source);
    if (!isDirectory && !this.files.has(source)) missing(from);
    await this.remove(to);
    for (const [path, inode] of [...this.files]) {
      if (path !== source && !path.startsWith(`${source}/`)) continue;
      this.files.delete(path);
      this.files.set(target + path.slice(source.length), inode);
    }
    for (const path of isDirectory ? [...this.directories] : []) {
      if (path !== source && !path.startsWith(`${source}/`)) continue;
      this.directories.delete(path);
      this.directories.add(target + path.slice(source.length));
    }
  }

  async remove(path: string): Promise<void> {
    const gone = clean(path);
    for (const entry of [...this.files.keys()]) {
      if (entry === gone || entry.startsWith(`${gone}/`)) this.files.delete(entry);
    }
    for (const entry of [...this.directories]) {
      if (entry === gone || entry.startsWith(`${gone}/`)) this.directories.delete(entry);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    if (!this.directories.has(clean(path))) missing(path);
  }

  async freeBytes(): Promise<number> {
    return FREE_BYTES;
  }

  async stat(path: string): Promise<FileStat | null> {
    const name = clean(path);
    if (this.directories.has(name)) return { isDirectory: true, size: 0, modifiedMs: 0 };
    const inode = this.files.get(name);
    return inode === undefined ? null : { isDirectory: false, size: inode.image.size, modifiedMs: 0 };
  }

  async lock(path: string): Promise<Lock> {
    const inode = this.files.get(clean(path)) ?? this.create(path);
    if (inode.isLocked) throw diskError('ELOCKED', `somebody holds ${path}`);
    inode.isLocked = true;
    return {
      release: async () => {
        inode.isLocked = false;
      },
    };
  }

  lockedFiles(_directory: string): LockedFiles {
    return new PlainLockedFiles(this);
  }

  private create(path: string): Inode {
    const name = clean(path);
    if (!this.directories.has(parentOf(name))) missing(path);
    const inode = new Inode();
    this.files.set(name, inode);
    return inode;
  }
}

function clean(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

function parentOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
}

function missing(path: string): never {
  throw diskError('ENOENT', `no such file or directory, '${path}'`);
}
