import type { Disk, DiskFile, FileStat, Lock, LockedFiles, OpenAccess, OpenOptions } from '../disk.ts';
import { openContent, SealedFile, sealContent } from './sealed-file.ts';
import { isSealed, readSealHead, SEAL_HEAD_BYTES, SEAL_MAGIC_BYTES, Sealing, SealKind } from './sealing.ts';

/**
 * A disk with keys. What is asked to be is encrypted on its way in, as long as there is a key to write with; whatever is
 * encrypted is plain on its way out, by its first bytes. Segments of the log pass as they are: whoever writes and reads
 * them uses `sealing` himself. Sizes of `stat` are those of the files.
 */
export class SealedDisk implements Disk {
  readonly sealing: Sealing;
  /** The one that this is over, which shows files as they are. */
  readonly beneath: Disk;

  constructor(disk: Disk, sealing: Sealing) {
    this.beneath = disk;
    this.sealing = sealing;
  }

  async open(path: string, access: OpenAccess, options: OpenOptions = {}): Promise<DiskFile> {
    const file = await this.beneath.open(path, access, options);
    if (access === 'create') {
      return options.sealed === true && this.sealing.isOn ? SealedFile.create(file, this.sealing) : file;
    }
    if (access === 'write') return file;
    try {
      const head = await firstBytes(file);
      return isSealedFile(head, path) ? await SealedFile.open(file, this.sealing) : file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async readFile(path: string): Promise<Buffer> {
    const bytes = await this.beneath.readFile(path);
    return isSealedFile(bytes, path) ? openContent(bytes, path, this.sealing) : bytes;
  }

  async writeFileAtomic(path: string, bytes: Buffer, options: { readonly sealed?: boolean } = {}): Promise<void> {
    const isSealing = options.sealed === true && this.sealing.isOn;
    await this.beneath.writeFileAtomic(path, isSealing ? await sealContent(bytes, this.sealing) : bytes);
  }

  makeDirectory(path: string): Promise<void> {
    return this.beneath.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return this.beneath.list(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.beneath.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return this.beneath.remove(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.beneath.syncDirectory(path);
  }

  freeBytes(path: string): Promise<number> {
    return this.beneath.freeBytes(path);
  }

  stat(path: string): Promise<FileStat | null> {
    return this.beneath.stat(path);
  }

  lock(path: string): Promise<Lock> {
    return this.beneath.lock(path);
  }

  lockedFiles(directory: string): LockedFiles {
    return this.beneath.lockedFiles(directory);
  }
}

/** The same disk, writing everything as it is; what is encrypted is still read. */
export function withoutSealing(disk: Disk): Disk {
  if (disk.sealing === undefined) return disk;
  const { beneath } = disk as SealedDisk;
  return new SealedDisk(beneath, new Sealing(disk.sealing.keys, disk.sealing.random, false));
}

/** Whether this is the beginning of a file that is encrypted as such, and no segment of a log. */
function isSealedFile(bytes: Buffer, path: string): boolean {
  return isSealed(bytes) && readSealHead(bytes, path).kind !== SealKind.segment;
}

async function firstBytes(file: DiskFile): Promise<Buffer> {
  const bytes = Buffer.alloc(SEAL_HEAD_BYTES);
  const read = (length: number): Promise<number> =>
    new Promise((resolve, reject) => {
      file.read(bytes, 0, length, 0, (error, count) => (error === null ? resolve(count) : reject(error)));
    });
  const count = await read(SEAL_MAGIC_BYTES);
  if (!isSealed(bytes)) return bytes.subarray(0, count);
  return bytes.subarray(0, await read(SEAL_HEAD_BYTES));
}
