/** Which files of a member and of an archive are encrypted, with what. */
import { CorruptionError } from '@etsd/base';
import { type Disk, hasCode, isSealed, joinPath, readSealHead, SEAL_HEAD_BYTES, type SealHead } from '@etsd/runtime';

/** What could be encrypted: the rest of a data directory never is. */
const CAN_BE_SEALED = /\.(wal|wal\.broken|snap|snap\.broken|snap\.db|zst|zst\.json)$/;
/** Files of other programs and of the store, which are not. */
const STORE = /^store\.mdb/;

export type FileState = 'encrypted' | 'plain' | 'store' | 'other' | 'damaged';

export interface StoredFile {
  readonly path: string;
  readonly state: FileState;
  readonly bytes: number;
  /** Of an encrypted file. */
  readonly head: SealHead | null;
}

/**
 * All files at and below these paths, in the order of their names. What is removed meanwhile is left out. `disk` must be
 * one that shows files as they are.
 */
export async function* sealedFiles(disk: Disk, paths: readonly string[]): AsyncGenerator<StoredFile> {
  for (const path of paths) {
    const stat = await disk.stat(path);
    if (stat === null) continue;
    if (!stat.isDirectory) {
      const file = await look(disk, path, stat.size);
      if (file !== null) yield file;
      continue;
    }
    const names = await disk.list(path);
    yield* sealedFiles(
      disk,
      names.map((name) => joinPath(path, name)),
    );
  }
}

async function look(disk: Disk, path: string, bytes: number): Promise<StoredFile | null> {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (STORE.test(name)) return { path, state: 'store', bytes, head: null };
  try {
    const begin = await beginning(disk, path, Math.min(bytes, SEAL_HEAD_BYTES));
    if (!isSealed(begin)) return { path, state: CAN_BE_SEALED.test(name) ? 'plain' : 'other', bytes, head: null };
    return { path, state: 'encrypted', bytes, head: readSealHead(begin, path) };
  } catch (error) {
    if (error instanceof CorruptionError) return { path, state: 'damaged', bytes, head: null };
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function beginning(disk: Disk, path: string, length: number): Promise<Buffer> {
  const file = await disk.open(path, 'read');
  try {
    const bytes = Buffer.alloc(length);
    return await new Promise((resolve, reject) => {
      file.read(bytes, 0, length, 0, (error, count) =>
        error === null ? resolve(bytes.subarray(0, count)) : reject(error),
      );
    });
  } finally {
    await file.close();
  }
}
