/**
 * Files locked ahead of their need. Locking one means starting a program (`file-lock.ts`), and starting a program means
 * copying this process's page tables: with half a gigabyte in memory that held the event loop for 10 to 20 ms, and
 * made every page that was written next cost a fault. So a few empty files are locked together while the process is
 * small, and one that is not needed any more is emptied and used again with its lock, which belongs to the file and not
 * to its name. They are wanted when the first segment of a log is full, not before the log is ready.
 */
import { constants, promises } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { cutGradually } from '@etsd/base';
import type { Lock, LockedFiles } from '../disk.ts';
import { lockFile, lockHandles } from './file-lock.ts';

/** Locked at once: as many as a log keeps segments, and some for the time until the first of them come back. */
const FILL_FILES = 12;
/** Kept for use; beyond them files are really removed. */
const KEEP_FILES = 14;
/** From `prepare` until they are made, in milliseconds; sooner if one is taken. */
const PREPARE_MS = 1000;
const NAME = /^spare-[0-9]+\.tmp$/;

class SpareFile implements Lock {
  path: string;
  readonly handle: promises.FileHandle;

  constructor(path: string, handle: promises.FileHandle) {
    this.path = path;
    this.handle = handle;
  }

  release(): Promise<void> {
    return this.handle.close();
  }
}

export class SpareFiles implements LockedFiles {
  private readonly directory: string;
  private readonly mode: number;
  private readonly spares: SpareFile[] = [];
  private filling: Promise<void> | null = null;
  private preparing: NodeJS.Timeout | null = null;
  private serial = 0;
  /** The system locks files one by one only, or by name. */
  private isUnsupported = false;
  private isClosed = false;

  constructor(directory: string, mode: number) {
    this.directory = directory;
    this.mode = mode;
  }

  prepare(): void {
    this.preparing ??= setTimeout(() => {
      // Whoever takes a file tries again and hears of an error.
      if (this.spares.length === 0 && this.filling === null) this.fill().catch(() => {});
    }, PREPARE_MS).unref();
  }

  private fill(): Promise<void> {
    this.filling ??= this.lockNew().finally(() => {
      this.filling = null;
    });
    return this.filling;
  }

  private async lockNew(): Promise<void> {
    if (this.serial === 0) await this.removeLeft();
    const files: SpareFile[] = [];
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC;
    try {
      for (let i = 0; i < FILL_FILES; i++) {
        const path = this.nextPath();
        files.push(new SpareFile(path, await promises.open(path, flags, this.mode)));
      }
      this.isUnsupported = !(await lockHandles(files.map((file) => file.handle)));
      if (!this.isUnsupported && !this.isClosed) this.spares.push(...files.splice(0));
    } finally {
      for (const file of files) {
        await promises.rm(file.path, { force: true });
        await file.handle.close();
      }
    }
  }

  private nextPath(): string {
    return join(this.directory, `spare-${this.serial++}.tmp`);
  }

  /** By a process that was killed. */
  private async removeLeft(): Promise<void> {
    for (const name of await promises.readdir(this.directory)) {
      if (NAME.test(name)) await promises.rm(join(this.directory, name), { force: true });
    }
  }

  async take(path: string): Promise<Lock> {
    if (this.spares.length === 0 && !this.isUnsupported) await this.fill();
    const spare = this.spares.pop();
    if (spare === undefined) {
      await promises.rm(path, { force: true });
      return lockFile(path, this.mode);
    }
    await promises.rename(spare.path, path);
    spare.path = path;
    return spare;
  }

  async remove(path: string, lock: Lock): Promise<void> {
    if (!(lock instanceof SpareFile)) {
      await promises.rm(path, { force: true });
      await lock.release();
      return;
    }
    lock.path = this.nextPath();
    await promises.rename(path, lock.path);
    const { handle } = lock;
    const { size } = await handle.stat();
    // Whoever is being stopped does not wait for others.
    await cutGradually(
      size,
      0,
      (length) => handle.truncate(length),
      (ms) => rest(this.isClosed ? 0 : ms),
    );
    if (!this.isClosed && this.spares.length < KEEP_FILES) {
      this.spares.push(lock);
      return;
    }
    await promises.rm(lock.path, { force: true });
    await lock.release();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    if (this.preparing !== null) clearTimeout(this.preparing);
    await this.filling?.catch(() => {});
    for (const spare of this.spares.splice(0)) {
      await promises.rm(spare.path, { force: true });
      await spare.release();
    }
  }
}
