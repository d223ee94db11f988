/**
 * A disk that notes every call in order, for transcripts: a forgotten sync shows up as a changed line. Contents are not
 * noted, only places and lengths.
 */
import {
  type Disk,
  type DiskCallback,
  type DiskFile,
  type FileStat,
  type Lock,
  type LockedFiles,
  type OpenAccess,
  type OpenOptions,
  PlainLockedFiles,
  type ReadCallback,
} from '@etsd/runtime';

class GoldenFile implements DiskFile {
  readonly path: string;
  private readonly inner: DiskFile;
  private readonly golden: GoldenDisk;

  constructor(inner: DiskFile, golden: GoldenDisk) {
    this.path = inner.path;
    this.inner = inner;
    this.golden = golden;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    this.golden.note('write', this.path, `${end - start} bytes at ${position}`);
    this.inner.write(bytes, start, end, position, done);
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    this.golden.note('read', this.path, `${end - start} bytes at ${position}`);
    this.inner.read(target, start, end, position, done);
  }

  dataSync(done: DiskCallback): void {
    this.golden.note('data-sync', this.path);
    this.inner.dataSync(done);
  }

  sync(done: DiskCallback): void {
    this.golden.note('sync', this.path);
    this.inner.sync(done);
  }

  truncate(length: number): Promise<void> {
    this.golden.note('truncate', this.path, `to ${length}`);
    return this.inner.truncate(length);
  }

  size(): Promise<number> {
    return this.inner.size();
  }

  close(): Promise<void> {
    this.golden.note('close', this.path);
    return this.inner.close();
  }
}

export class GoldenDisk implements Disk {
  /** What was called, one line each. May be emptied at any time. */
  readonly lines: string[] = [];
  private readonly inner: Disk;
  private readonly root: string;

  /** Paths are noted as they stand below `root`. */
  constructor(inner: Disk, root: string) {
    this.inner = inner;
    this.root = root;
  }

  note(verb: string, path: string, more = ''): void {
    const short = path.startsWith(this.root) ? path.slice(this.root.length).replace(/^\//, '') || '.' : path;
    this.lines.push(`${verb} ${short}${more === '' ? '' : ` ${more}`}`);
  }

  /** The lines noted so far, which are then forgotten. */
  take(): string {
    return this.lines.splice(0).join('\n');
  }

  async open(path: string, access: OpenAccess, options?: OpenOptions): Promise<DiskFile> {
    this.note('open', path, options?.durable === true ? `${access} durable` : access);
    return new GoldenFile(await this.inner.open(path, access, options), this);
  }

  readFile(path: string): Promise<Buffer> {
    this.note('read-file', path);
    return this.inner.readFile(path);
  }

  writeFileAtomic(path: string, bytes: Buffer): Promise<void> {
    this.note('write-file-atomic', path, `${bytes.length} bytes`);
    return this.inner.writeFileAtomic(path, bytes);
  }

  makeDirectory(path: string): Promise<void> {
    this.note('make-directory', path);
    return this.inner.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return this.inner.list(path);
  }

  rename(from: string, to: string): Promise<void> {
    this.note('rename', from, `to ${to.slice(to.lastIndexOf('/') + 1)}`);
    return this.inner.rename(from, to);
  }

  remove(path: string): Promise<void> {
    this.note('remove', path);
    return this.inner.remove(path);
  }

  syncDirectory(path: string): Promise<void> {
    this.note('sync-directory', path);
    return this.inner.syncDirectory(path);
  }

  freeBytes(path: string): Promise<number> {
    return this.inner.freeBytes(path);
  }

  stat(path: string): Promise<FileStat | null> {
    return this.inner.stat(path);
  }

  async lock(path: string): Promise<Lock> {
    this.note('lock', path);
    const lock = await this.inner.lock(path);
    return {
      release: () => {
        this.note('unlock', path);
        return lock.release();
      },
    };
  }

  lockedFiles(_directory: string): LockedFiles {
    return new PlainLockedFiles(this);
  }
}
