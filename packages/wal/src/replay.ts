/** What the records of a log add up to. */
import { CorruptionError, EMPTY, OperatorError } from '@etsd/base';
import { Entry, EntryType, HardState, ProtoError, WalSnapshot } from '@etsd/proto';
import type { Disk } from '@etsd/runtime';
import { ADVICE_DAMAGED } from './advice.ts';
import { type LogEnd, readSegments } from './reader.ts';
import { RecordType } from './record.ts';
import { listSegments, type SegmentName, segmentsFrom } from './segment.ts';

/** A place in the log: where a snapshot was taken. Both 0 for the beginning. */
export interface LogPosition {
  readonly index: number;
  readonly term: number;
}

/** The log behind a position. */
export interface ReplayedLog {
  /** What `Wal.create` was given. */
  readonly metadata: Buffer;
  /** The last one saved; all zero where none was. */
  readonly hardState: HardState;
  /** In order and without gaps, beginning right behind the position. What a later leader overwrote is gone. */
  readonly entries: Entry[];
  /** Every snapshot the log mentions, in the order written. */
  readonly snapshots: readonly WalSnapshot[];
  readonly end: LogEnd;
}

const LAST_ENTRY_TYPE = EntryType.EntryConfChangeV2;

/** Adds up records. */
export class LogCollector {
  metadata: Buffer | null = null;
  hardState = new HardState();
  entries: Entry[] = [];
  snapshots: WalSnapshot[] = [];
  /** Index of the last entry or snapshot seen, also of entries that are not kept. */
  lastIndex = 0;
  /** Whether the snapshot at the start was found in the log. */
  isStartFound = false;
  private readonly start: LogPosition | null;

  /** Keeps the entries behind `start`; does not look at entries at all if it is null. */
  constructor(start: LogPosition | null) {
    this.start = start;
  }

  readonly visit = (type: number, data: Buffer, where: () => string): void => {
    try {
      this.record(type, data, where);
    } catch (error) {
      if (!(error instanceof ProtoError)) throw error;
      throw new CorruptionError('wal: a record with unreadable content', where(), ADVICE_DAMAGED, { cause: error });
    }
  };

  private record(type: number, data: Buffer, where: () => string): void {
    switch (type) {
      case RecordType.entry:
        if (this.start !== null) this.entry(Entry.decode(data), this.start, where);
        return;
      case RecordType.hardState:
        this.promise(HardState.decode(data), where);
        return;
      case RecordType.metadata:
        if (this.metadata !== null && !this.metadata.equals(data)) {
          throw new CorruptionError('wal: conflicting metadata found', where(), ADVICE_DAMAGED);
        }
        this.metadata = Buffer.from(data);
        return;
      case RecordType.snapshot:
        this.snapshot(WalSnapshot.decode(data));
        return;
      case RecordType.crc:
        return;
      default:
        throw new CorruptionError(`wal: unexpected block type ${type}`, where(), ADVICE_DAMAGED);
    }
  }

  /** The checksum does not cover the type here either: an entry taken for a promise would go back in term. */
  private promise(state: HardState, where: () => string): void {
    if (state.term < this.hardState.term) {
      throw new CorruptionError('wal: a term that goes back behind an earlier one', where(), ADVICE_DAMAGED);
    }
    this.hardState = state;
  }

  private entry(entry: Entry, start: LogPosition, where: () => string): void {
    // The checksum covers the data of a record, not its type: what is no entry must not be taken for one.
    if (entry.term === 0 || !Number.isSafeInteger(entry.term) || entry.type < 0 || entry.type > LAST_ENTRY_TYPE) {
      throw new CorruptionError('wal: an entry that cannot be one', where(), ADVICE_DAMAGED);
    }
    this.lastIndex = entry.index;
    if (entry.index <= start.index) return;
    const at = entry.index - start.index - 1;
    if (at > this.entries.length) {
      const last = start.index + this.entries.length;
      const problem = `wal: slice bounds out of range: entry ${entry.index} follows entry ${last}`;
      throw new CorruptionError(problem, where(), ADVICE_DAMAGED);
    }
    // An entry with an index that was there before comes from a newer leader and takes the place of all from there on.
    this.entries.length = at;
    this.entries.push(entry);
  }

  private snapshot(snapshot: WalSnapshot): void {
    this.snapshots.push(snapshot);
    if (this.lastIndex < snapshot.index) this.lastIndex = snapshot.index;
    if (this.start === null || snapshot.index !== this.start.index) return;
    if (snapshot.term !== this.start.term) {
      throw new OperatorError(
        `wal: snapshot mismatch: at index ${snapshot.index} the log has term ${snapshot.term}, the snapshot ${this.start.term}`,
        'The snapshot file and the log belong to different histories; put back the files that belong together.',
      );
    }
    this.isStartFound = true;
  }
}

/** Checks what was collected and gives it out. */
export function finish(
  collector: LogCollector,
  end: LogEnd,
  directory: string,
  start: LogPosition | null,
): ReplayedLog {
  if (start !== null && !collector.isStartFound) {
    throw new OperatorError(
      `wal: snapshot not found: the log in ${directory} knows of no snapshot at index ${start.index}`,
      'Remove snapshot files newer than the log, or restore this member from a backup.',
    );
  }
  const { hardState, entries, snapshots } = collector;
  return { metadata: collector.metadata ?? EMPTY, hardState, entries, snapshots, end };
}

/**
 * Reads the log behind `start` without locking or changing anything; a torn tail is left out. For tools, and for
 * looking at a log before opening it.
 */
export async function readLog(disk: Disk, directory: string, start: LogPosition): Promise<ReplayedLog> {
  const segments = segmentsFrom(directory, await listSegments(disk, directory), start.index);
  const collector = new LogCollector(start);
  const end = await readSegments(disk, directory, segments, collector.visit);
  return finish(collector, end, directory, start);
}

/**
 * The snapshots that the log vouches for, in ascending order: those of entries it knows to be committed. A snapshot file
 * that is not among them may be left over from a crash between writing the file and the log, and must not be used.
 */
export async function validSnapshots(disk: Disk, directory: string): Promise<WalSnapshot[]> {
  const segments = connected(await listSegments(disk, directory));
  return segments.length === 0 ? [] : snapshotsIn(disk, directory, segments);
}

/**
 * The last of `validSnapshots`, or null. It is found without reading everything: the last segment begins with the hard
 * state and mostly has one; only if it has none are earlier segments read as well, each once and alone.
 */
export async function newestSnapshot(disk: Disk, directory: string): Promise<WalSnapshot | null> {
  const segments = connected(await listSegments(disk, directory));
  let commit = 0;
  for (let at = segments.length - 1; at >= 0; at--) {
    const collector = new LogCollector(null);
    await readSegments(disk, directory, [segments[at] as SegmentName], collector.visit);
    commit = Math.max(commit, collector.hardState.commit);
    const newest = collector.snapshots.findLast(({ index }) => index <= commit);
    if (newest !== undefined) return newest;
  }
  return null;
}

async function snapshotsIn(disk: Disk, directory: string, segments: readonly SegmentName[]): Promise<WalSnapshot[]> {
  const collector = new LogCollector(null);
  await readSegments(disk, directory, segments, collector.visit);
  return collector.snapshots.filter((snapshot) => snapshot.index <= collector.hardState.commit);
}

/** An old segment may be back after a crash in the middle of removing several: only what is connected counts. */
function connected(all: readonly SegmentName[]): readonly SegmentName[] {
  let first = all.length - 1;
  while (first > 0 && all[first - 1]?.sequence === (all[first] as SegmentName).sequence - 1) first--;
  return first < 0 ? [] : all.slice(first);
}
