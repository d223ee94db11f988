/**
 * Snapshot files, `<term>-<index>.snap` as 16 hexadecimal digits each: an encoded raft snapshot with its CRC-32C, in
 * etcd's format. With the v3 store the data of the snapshot is not in here (it lies in the backend, or travels apart);
 * the file says where in the log it stands and who the members were.
 */
import { CorruptionError, crc32c } from '@etsd/base';
import { ProtoError, RaftSnapshot, SnapFile } from '@etsd/proto';
import { type Disk, joinPath } from '@etsd/runtime';
import type { LogPosition } from './replay.ts';

const NAME = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/;

const ADVICE = 'The member can start from an older snapshot and the log behind it; keep the damaged file for study.';

export interface SnapshotName extends LogPosition {
  readonly name: string;
}

export function snapshotName(position: LogPosition): string {
  return `${hex(position.term)}-${hex(position.index)}.snap`;
}

function hex(value: number): string {
  return value.toString(16).padStart(16, '0');
}

/** The snapshot files in a directory, newest first; none where there is no directory. */
export async function listSnapshots(disk: Disk, directory: string): Promise<SnapshotName[]> {
  if ((await disk.stat(directory)) === null) return [];
  const found: SnapshotName[] = [];
  for (const name of await disk.list(directory)) {
    const parts = NAME.exec(name);
    if (parts === null) continue;
    found.push({ name, term: Number.parseInt(parts[1] as string, 16), index: Number.parseInt(parts[2] as string, 16) });
  }
  return found.reverse();
}

/** The content of a snapshot file. */
export function encodeSnapshotFile(snapshot: RaftSnapshot): Buffer {
  const data = RaftSnapshot.encode(snapshot);
  return SnapFile.encode(SnapFile.create({ crc: crc32c(data), data }));
}

/** The snapshot in the content of a file. Fails with `CorruptionError` if it is not what was written. */
export function decodeSnapshotFile(bytes: Buffer, path: string): RaftSnapshot {
  try {
    const file = SnapFile.decode(bytes);
    if (file.data.length === 0 || file.crc === 0) throw new CorruptionError('snap: empty snapshot', path, ADVICE);
    if (crc32c(file.data) !== file.crc) throw new CorruptionError('snap: crc mismatch', path, ADVICE);
    return RaftSnapshot.decode(file.data);
  } catch (error) {
    if (!(error instanceof ProtoError)) throw error;
    throw new CorruptionError('snap: unreadable snapshot', path, ADVICE, { cause: error });
  }
}

/** Writes a snapshot file, durably and as a whole. The log must be told afterwards (`Wal.saveSnapshot`). */
export async function writeSnapshotFile(disk: Disk, directory: string, snapshot: RaftSnapshot): Promise<void> {
  const metadata = snapshot.metadata;
  if (metadata === null) return;
  await disk.writeFileAtomic(joinPath(directory, snapshotName(metadata)), encodeSnapshotFile(snapshot), {
    sealed: true,
  });
}

export interface LoadedSnapshot {
  /** The newest that is intact and wanted, or `null`. */
  readonly snapshot: RaftSnapshot | null;
  /** Newer files that were damaged; they are kept under the suffix `.broken`. */
  readonly damaged: readonly CorruptionError[];
}

/**
 * The newest intact snapshot that stands at one of `positions`, those the log vouches for (`validSnapshots`). Damaged
 * files are put out of the way.
 */
export async function loadNewestSnapshot(
  disk: Disk,
  directory: string,
  positions: readonly LogPosition[],
): Promise<LoadedSnapshot> {
  const damaged: CorruptionError[] = [];
  for (const { name, term, index } of await listSnapshots(disk, directory)) {
    if (!positions.some((position) => position.term === term && position.index === index)) continue;
    const path = joinPath(directory, name);
    try {
      return { snapshot: decodeSnapshotFile(await disk.readFile(path), path), damaged };
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      damaged.push(error);
      await disk.rename(path, `${path}.broken`);
    }
  }
  return { snapshot: null, damaged };
}

/** Removes all but the newest `keep` snapshot files. */
export async function purgeSnapshots(disk: Disk, directory: string, keep: number): Promise<void> {
  for (const { name } of (await listSnapshots(disk, directory)).slice(keep))
    await disk.remove(joinPath(directory, name));
}
