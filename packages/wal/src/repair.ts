/**
 * Mending the end of a log. What stands behind the last good record was never reported durable: half a write of the
 * moment of the crash. It is cut off before anything new is written, and durably so. Otherwise new records might be
 * written over some of it, and after the next crash its other part would look like damage.
 */
import { type Disk, type DiskFile, hasCode, joinPath } from '@etsd/runtime';
import type { LogEnd } from './reader.ts';
import { FRAME_HEAD_BYTES } from './record.ts';
import { sectorEnd } from './torn.ts';

const COPY_BYTES = 1024 * 1024;

/** More than one batch holds: members send each other and propose far less at a time. */
const REWRITE_BYTES = 16 * 1024 * 1024;

/** What was done to a torn log. */
export interface Repair {
  /** The segment that was cut. */
  readonly path: string;
  /** Where, in bytes. */
  readonly position: number;
  readonly reason: string;
  /** The segment as it was found; `null` if the disk had no room for a copy. */
  readonly copyPath: string | null;
}

/** Keeps a copy of a torn segment beside it, with the suffix `.broken`, for whoever wants to know what happened. */
export async function keepCopy(disk: Disk, directory: string, end: LogEnd): Promise<Repair | null> {
  if (end.torn === null) return null;
  const path = joinPath(directory, end.segment.name);
  const copyPath = `${path}.broken`;
  await disk.remove(copyPath);
  const source = await disk.open(path, 'read');
  const target = await disk.open(copyPath, 'create');
  let isKept = true;
  try {
    await copy(source, target, 0, await source.size());
    await synced(target);
  } catch (error) {
    // A full disk must not keep the member from starting: what is cut was never promised to anybody.
    if (!hasCode(error, 'ENOSPC')) throw error;
    isKept = false;
  } finally {
    await source.close();
    await target.close();
  }
  if (!isKept) await disk.remove(copyPath);
  return { path, position: end.position, reason: end.torn, copyPath: isKept ? copyPath : null };
}

async function copy(source: DiskFile, target: DiskFile, from: number, to: number): Promise<void> {
  const piece = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(to - from, 1)));
  for (let at = from; at < to; at += piece.length) {
    const length = Math.min(piece.length, to - at);
    await new Promise<void>((resolve, reject) => {
      source.read(piece, 0, length, at, (error) => {
        if (error !== null) reject(error);
        else target.write(piece, 0, length, at, (failed) => (failed === null ? resolve() : reject(failed)));
      });
    });
  }
}

/**
 * Writes the end of the log over itself. After a failed sync the system may show what it could not write, and count it
 * as written; a process started again on it would build on records that the medium does not hold. Only what was under
 * way at that moment can be such, which is less than what is written anew here.
 */
export async function rewriteEnd(file: DiskFile, position: number): Promise<void> {
  await copy(file, file, Math.max(0, position - REWRITE_BYTES), position);
}

/**
 * Whether somebody cut the file: it was made longer than what was written to it, so that zeros follow the last record,
 * those of a frame head at least.
 */
export function isCut({ position, fileBytes, isBeyondFile }: LogEnd, segmentBytes: number): boolean {
  return fileBytes < segmentBytes && (isBeyondFile || position === fileBytes);
}

/**
 * Makes `[position, length)` of the file zeros, durably, and the file that long. A crash in between leaves a frame head of
 * zeros at its end, which tells it from a file that was cut by somebody.
 */
export async function clearFrom(file: DiskFile, position: number, length: number): Promise<void> {
  if (!(await holdsZeros(file, position, FRAME_HEAD_BYTES))) {
    // To the end of the sector: if the power goes before the file is cut, what is behind must not look like damage.
    await write(file, Buffer.alloc(sectorEnd(position) - position), position);
    await synced(file);
  }
  await file.truncate(position + FRAME_HEAD_BYTES);
  await file.truncate(Math.max(position + FRAME_HEAD_BYTES, length));
  await synced(file);
}

async function holdsZeros(file: DiskFile, position: number, length: number): Promise<boolean> {
  if ((await file.size()) < position + length) return false;
  const bytes = Buffer.alloc(length);
  await new Promise<void>((resolve, reject) => {
    file.read(bytes, 0, length, position, (error) => (error === null ? resolve() : reject(error)));
  });
  return bytes.every((byte) => byte === 0);
}

function write(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Everything written to the file and its length are on the medium. */
export function synced(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))));
}
