/**
 * A member of etsd whose log is on a disk that can be made slow while it runs: what the program does, in a world with a
 * different disk. The file named by CHAOS_DISK_DELAY holds the milliseconds by which every durable write is late. The store's
 * own file is written by its library and is not slowed down.
 */
import { readFileSync } from 'node:fs';
import type { Disk, DiskCallback, DiskFile, OpenAccess, OpenOptions, ReadCallback, World } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { main } from '../../packages/cli/src/etsd/main.ts';

const LOOK_EVERY_MS = 50;

let delayMs = 0;
const control = process.env['CHAOS_DISK_DELAY'];
if (control !== undefined) {
  setInterval(() => {
    try {
      delayMs = Number(readFileSync(control, 'latin1'));
    } catch {
      delayMs = 0;
    }
  }, LOOK_EVERY_MS).unref();
}

function late(done: DiskCallback): DiskCallback {
  return (error) => {
    if (delayMs === 0) done(error);
    else setTimeout(done, delayMs, error);
  };
}

class SlowFile implements DiskFile {
  private readonly file: DiskFile;
  private readonly isDurable: boolean;

  constructor(file: DiskFile, isDurable: boolean) {
    this.file = file;
    this.isDurable = isDurable;
  }

  get path(): string {
    return this.file.path;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    this.file.write(bytes, start, end, position, this.isDurable ? late(done) : done);
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    this.file.read(target, start, end, position, done);
  }

  dataSync(done: DiskCallback): void {
    this.file.dataSync(late(done));
  }

  sync(done: DiskCallback): void {
    this.file.sync(late(done));
  }

  truncate(length: number): Promise<void> {
    return this.file.truncate(length);
  }

  size(): Promise<number> {
    return this.file.size();
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

function slowDisk(disk: Disk): Disk {
  return {
    open: async (path: string, access: OpenAccess, options?: OpenOptions) =>
      new SlowFile(await disk.open(path, access, options), options?.durable === true),
    readFile: (path) => disk.readFile(path),
    writeFileAtomic: (path, bytes) => disk.writeFileAtomic(path, bytes),
    makeDirectory: (path) => disk.makeDirectory(path),
    list: (path) => disk.list(path),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: (path) => disk.syncDirectory(path),
    freeBytes: (path) => disk.freeBytes(path),
    stat: (path) => disk.stat(path),
    lock: (path) => disk.lock(path),
    lockedFiles: (directory) => disk.lockedFiles(directory),
  };
}

const real = nodeWorld();
const world: World = { ...real, disk: slowDisk(real.disk) };
await main(process.argv.slice(2), world);
