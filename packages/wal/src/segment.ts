/**
 * Segments: the files a log consists of, `<sequence>-<index>.wal`, both as 16 hexadecimal digits. `index` is the first
 * entry that can be in the segment. A segment gets its full length at once and is filled with real zeros ahead of the
 * records: overwriting blocks that exist and were written makes a durable append a pure data write, where a hole would
 * make each one change the block map and so commit the file system's journal.
 *
 * The next segment is filled while the one before it is written, in step with it, so that it is whole when its turn
 * comes. Filling a file while records are appended to it costs those appends: they wait for the same inode and for the
 * journal. That is done only for the first segment of a new log and for the one a restart goes on with, a window at a
 * time, where filling it all at once would make the start slow and a short-lived member write 64 MB for nothing.
 */
import { assert, CorruptionError, OperatorError } from '@etsd/base';
import { type Disk, type DiskFile, hasCode, joinPath, type Lock, type LockedFiles } from '@etsd/runtime';

export interface SegmentName {
  readonly name: string;
  readonly sequence: number;
  /** The first entry that can be in the segment. */
  readonly index: number;
}

const NAME = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/;

export function segmentName(sequence: number, index: number): string {
  return `${hex(sequence)}-${hex(index)}.wal`;
}

function hex(value: number): string {
  return value.toString(16).padStart(16, '0');
}

/** The segments in a directory, in order. Files with other names are not ours to judge. */
export async function listSegments(disk: Disk, directory: string): Promise<SegmentName[]> {
  const found: SegmentName[] = [];
  if ((await disk.stat(directory)) === null) return found;
  for (const name of await disk.list(directory)) {
    const parts = NAME.exec(name);
    if (parts === null) continue;
    const sequence = Number.parseInt(parts[1] as string, 16);
    const index = Number.parseInt(parts[2] as string, 16);
    found.push({ name, sequence, index });
  }
  return found;
}

/**
 * The segments to read for what follows `index`: from the last one that begins no later, on. None may be missing between
 * them.
 */
export function segmentsFrom(directory: string, all: readonly SegmentName[], index: number): SegmentName[] {
  let first = -1;
  for (let at = 0; at < all.length; at++) {
    if ((all[at] as SegmentName).index <= index) first = at;
  }
  if (first < 0) {
    throw new OperatorError(
      `wal: file not found: no segment in ${directory} reaches back to index ${index}`,
      'Check that the directory is complete; restore this member from a backup or add it to the cluster anew.',
    );
  }
  const wanted = all.slice(first);
  for (let at = 1; at < wanted.length; at++) {
    const before = wanted[at - 1] as SegmentName;
    const here = wanted[at] as SegmentName;
    if (here.sequence === before.sequence + 1) continue;
    throw new CorruptionError(
      `wal: a segment is missing: ${before.sequence} is followed by ${here.sequence}`,
      joinPath(directory, here.name),
      'Put the missing file back, or remove this member and add it to the cluster anew.',
    );
  }
  return wanted;
}

/** A segment held open for appending. */
export class TailSegment {
  segment: SegmentName;
  /** Writes are durable when they are done. */
  readonly file: DiskFile;
  /** The same file; writes are durable after a sync. */
  readonly plainFile: DiskFile;
  readonly filler: ZeroFiller;

  constructor(segment: SegmentName, file: DiskFile, plainFile: DiskFile, filler: ZeroFiller) {
    this.segment = segment;
    this.file = file;
    this.plainFile = plainFile;
    this.filler = filler;
  }

  async close(): Promise<void> {
    await this.filler.stop();
    await this.file.close();
    await this.plainFile.close();
  }
}

/** A segment of the log on disk. */
export interface HeldSegment {
  readonly segment: SegmentName;
  /** Keeps other processes away; `null` if nothing of the segment was needed at start. */
  readonly lock: Lock | null;
}

export interface FillOptions {
  /** Length of the file. */
  readonly segmentBytes: number;
  readonly aheadBytes: number;
  readonly pieceBytes: number;
  /** There was no room for a piece of zeros. Filling rests until `resume`. */
  readonly outOfSpace: () => void;
}

let zeros = Buffer.alloc(0);

/** Shared by all fillers: only ever read. */
function zeroBytes(length: number): Buffer {
  if (zeros.length < length) zeros = Buffer.alloc(length);
  return zeros;
}

/**
 * Keeps zeros written ahead of an advancing position, in the background, piece by piece. Whoever writes asks `claim`
 * first, so that a piece of zeros never meets a record.
 */
export class ZeroFiller {
  private readonly file: DiskFile;
  private readonly options: FillOptions;
  /** Everything before this holds zeros on disk or belongs to the owner. Pieces are written from here on. */
  private filledTo: number;
  private wantedTo = 0;
  private pieceEnd = 0;
  private isBusy = false;
  private isStopped = false;
  /** The disk was full at the last piece. */
  isResting = false;
  /** A piece could not be written or synced: nobody knows what of the file, its length included, is on the medium. */
  hasFailed = false;
  private claimedEnd = 0;
  private onClaimed: (() => void) | null = null;
  private onIdle: (() => void)[] = [];

  constructor(file: DiskFile, position: number, options: FillOptions) {
    this.file = file;
    this.options = options;
    this.filledTo = position;
  }

  /**
   * Reserves everything before `end` for the owner, who may write there once `ready` has been called: at once, unless a
   * piece of zeros is just being written there. One claim at a time.
   */
  claim(end: number, ready: () => void): void {
    if (end <= this.filledTo || !this.isBusy) {
      if (end > this.filledTo) this.filledTo = end;
      ready();
      return;
    }
    assert(this.onClaimed === null, 'one claim at a time');
    this.claimedEnd = end;
    this.onClaimed = ready;
  }

  /** The owner has written up to `position`: fill further if little is left. */
  advance(position: number): void {
    const { aheadBytes } = this.options;
    if (this.filledTo - position < aheadBytes / 2) this.fillTo(position + aheadBytes);
  }

  /** Fill, in the background, everything before `target`. */
  fillTo(target: number): void {
    this.wantedTo = Math.max(this.wantedTo, Math.min(target, this.options.segmentBytes));
    if (!this.isBusy) this.fillPiece();
  }

  /** There may be room again. */
  resume(): void {
    if (!this.isResting) return;
    this.isResting = false;
    if (!this.isBusy) this.fillPiece();
  }

  stop(): Promise<void> {
    this.isStopped = true;
    return this.idle();
  }

  private idle(): Promise<void> {
    if (!this.isBusy) return Promise.resolve();
    return new Promise((resolve) => this.onIdle.push(resolve));
  }

  private fillPiece(): void {
    const { segmentBytes, pieceBytes } = this.options;
    const end = Math.min(this.filledTo + pieceBytes, segmentBytes);
    const mayFill = !this.isStopped && !this.isResting && !this.hasFailed;
    this.isBusy = mayFill && this.filledTo < this.wantedTo && this.filledTo < end;
    if (!this.isBusy) {
      const waiting = this.onIdle;
      this.onIdle = [];
      for (const callback of waiting) callback();
      return;
    }
    this.pieceEnd = end;
    this.file.write(zeroBytes(pieceBytes), 0, end - this.filledTo, this.filledTo, this.written);
  }

  private readonly written = (error: Error | null): void => {
    if (error === null) this.file.dataSync(this.synced);
    else this.synced(error);
  };

  private readonly synced = (error: Error | null): void => {
    // Nothing is lost without the zeros, it is only slower. If the disk is broken the next append reports it, with a
    // caller who can be told; a segment that has no records yet is made anew. If it is full, there still is room for
    // what was filled before.
    const isFull = error !== null && hasCode(error, 'ENOSPC');
    if (error === null) this.filledTo = this.pieceEnd;
    else if (isFull) this.isResting = true;
    else this.hasFailed = true;
    const ready = this.onClaimed;
    if (ready !== null) {
      this.onClaimed = null;
      if (this.claimedEnd > this.filledTo) this.filledTo = this.claimedEnd;
      ready();
    }
    this.fillPiece();
    if (isFull) this.options.outOfSpace();
  };
}

/** Opens a segment for appending at `position`; from there on the file holds nothing but zeros. */
export async function openTail(
  disk: Disk,
  path: string,
  segment: SegmentName,
  position: number,
  options: { readonly durable: boolean; readonly fill: FillOptions },
): Promise<TailSegment> {
  const file = await disk.open(path, 'write', { durable: options.durable });
  const plainFile = await disk.open(path, 'write');
  return new TailSegment(segment, file, plainFile, new ZeroFiller(plainFile, position, options.fill));
}

/** A segment made ahead of its need, under a temporary name. */
export interface PreparedSegment {
  readonly tail: TailSegment;
  readonly lock: Lock;
  readonly path: string;
}

/** Makes an empty segment of full length, locked and not filled yet. Replaces what is at `path`. */
export async function prepareTail(
  disk: Disk,
  files: LockedFiles,
  path: string,
  options: { readonly durable: boolean; readonly fill: FillOptions },
): Promise<PreparedSegment> {
  const lock = await files.take(path);
  try {
    const file = await disk.open(path, 'write');
    try {
      await file.truncate(options.fill.segmentBytes);
    } finally {
      await file.close();
    }
    const tail = await openTail(disk, path, { name: '', sequence: 0, index: 0 }, 0, options);
    return { tail, lock, path };
  } catch (error) {
    await files.remove(path, lock);
    throw error;
  }
}
