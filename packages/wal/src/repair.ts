/**
 * Mending the end of a log. What stands behind the last good record was never reported durable: half a write of the
 * moment of the crash. It is cut off before anything new is written, and durably so. Otherwise new records might be
 * written over some of it, and after the next crash its other part would look like damage.
 */
import { type Disk, type DiskFile, joinPath } from '@etsd/runtime';
import type { LogEnd } from './reader.ts';

const COPY_BYTES = 1024 * 1024;

/** What was done to a torn log. */
export interface Repair {
  /** The segment that was cut. */
  readonly path: string;
  /** Where, in bytes. */
  readonly position: number;
  readonly reason: string;
  /** The segment as it was found. */
  readonly copyPath: string;
}

/** Keeps a copy of a torn segment beside it, with the suffix `.broken`, for whoever wants to know what happened. */
export async function keepCopy(disk: Disk, directory: string, end: LogEnd): Promise<Repair | null> {
  if (end.torn === null) return null;
  const path = joinPath(directory, end.segment.name);
  const copyPath = `${path}.broken`;
  await disk.remove(copyPath);
  const source = await disk.open(path, 'read');
  const target = await disk.open(copyPath, 'create');
  try {
    await copy(source, target);
    await synced(target);
  } finally {
    await source.close();
    await target.close();
  }
  return { path, position: end.position, reason: end.torn, copyPath };
}

async function copy(source: DiskFile, target: DiskFile): Promise<void> {
  const piece = Buffer.allocUnsafeSlow(COPY_BYTES);
  const size = await source.size();
  for (let at = 0; at < size; at += piece.length) {
    const length = Math.min(piece.length, size - at);
    await new Promise<void>((resolve, reject) => {
      source.read(piece, 0, length, at, (error) => {
        if (error === null)
          target.write(piece, 0, length, at, (failed) => (failed === null ? resolve() : reject(failed)));
        else reject(error);
      });
    });
  }
}

/** Makes `[position, length)` of the file zeros, durably, and the file that long. */
export async function clearFrom(file: DiskFile, position: number, length: number): Promise<void> {
  await file.truncate(position);
  await file.truncate(Math.max(position, length));
  await synced(file);
}

/** Everything written to the file and its length are on the medium. */
export function synced(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))));
}
