/**
 * Looks at a whole log without opening it and without stopping at what is wrong: what can be read, what cannot, and
 * whether anything intact stands behind. For tools; a member stops at the first damage.
 */
import { CorruptionError, crc32c } from '@etsd/base';
import { Entry, EntryType, HardState, ProtoError, WalSnapshot } from '@etsd/proto';
import { type Disk, type DiskFile, joinPath } from '@etsd/runtime';
import { recordAt } from './found-record.ts';
import { SEGMENT_BYTES } from './limits.ts';
import { isSegmentSealed, readSegments, sealedHead } from './reader.ts';
import { FRAME_HEAD_BYTES, RecordType } from './record.ts';
import { isCut } from './repair.ts';
import { SealedWindow } from './sealed-segment.ts';
import { listSegments, type SegmentName } from './segment.ts';
import { FileWindow } from './window.ts';

/** Entries that stand in the log one behind the other. */
export interface EntryRange {
  readonly first: number;
  last: number;
  lastTerm: number;
}

export interface LogDamage {
  readonly path: string;
  /** In bytes of the file. */
  readonly position: number;
  readonly problem: string;
  /** The first entry that is intact behind it, or null where nothing is. */
  readonly intactFrom: number | null;
}

export interface TornRecord {
  readonly path: string;
  readonly position: number;
  readonly problem: string;
  /** The highest commit index that intact records behind it tell, 0 for none. */
  readonly promised: number;
}

export interface LogSurvey {
  readonly segments: readonly SegmentName[];
  /** What `Wal.create` was given; null where no segment says so. */
  readonly metadata: Buffer | null;
  /** The last one that could be read. */
  readonly hardState: HardState;
  /** The newest snapshot that the log says is committed. */
  readonly base: WalSnapshot | null;
  /** In order; more than one where something between them is damaged or missing. */
  readonly ranges: readonly EntryRange[];
  /** The unfinished write of a crash at the very end. */
  readonly torn: TornRecord | null;
  readonly damages: readonly LogDamage[];
  /** The last segment is shorter than it was made: somebody cut it, within the record at `position` or before it. */
  readonly cut: { readonly path: string; readonly size: number; readonly position: number } | null;
  /** The entries behind the index that was asked for, as far as they stand one behind the other. */
  readonly entries: readonly Entry[];
  /** When the log was last written to, in milliseconds of the wall clock. */
  readonly modifiedMs: number;
}

/**
 * Surveys all segments of a directory; null where there is no log. Entries behind `keepFrom` are kept, if it is given.
 */
export async function surveyLog(
  disk: Disk,
  directory: string,
  keepFrom = Number.POSITIVE_INFINITY,
): Promise<LogSurvey | null> {
  const segments = await listSegments(disk, directory);
  if (segments.length === 0) return null;
  const surveyor = new Surveyor(keepFrom);
  let crc = 0;
  let modifiedMs = 0;
  for (const [at, segment] of segments.entries()) {
    const before = segments[at - 1];
    const path = joinPath(directory, segment.name);
    if (before !== undefined && segment.sequence !== before.sequence + 1) {
      surveyor.missing(path, before.sequence + 1, segment.sequence - 1);
      crc = 0;
    }
    modifiedMs = Math.max(modifiedMs, (await disk.stat(path))?.modifiedMs ?? 0);
    crc = await surveyor.segment(disk, directory, segment, crc, at === segments.length - 1);
  }
  return { segments, ...surveyor.result(), modifiedMs };
}

class Surveyor {
  private metadata: Buffer | null = null;
  private hardState = new HardState();
  private readonly snapshots: WalSnapshot[] = [];
  private readonly ranges: EntryRange[] = [];
  private torn: LogSurvey['torn'] = null;
  private cut: LogSurvey['cut'] = null;
  private readonly damages: LogDamage[] = [];
  private readonly entries: Entry[] = [];
  private readonly keepFrom: number;
  /** Whether the segment read last is encrypted. */
  private isSealed = false;

  constructor(keepFrom: number) {
    this.keepFrom = keepFrom;
  }

  /** Reads one segment; the checksum comes in from the one before, 0 where that is not known, and goes out to the next. */
  async segment(disk: Disk, directory: string, segment: SegmentName, crc: number, isLast: boolean): Promise<number> {
    const path = joinPath(directory, segment.name);
    let position = 0;
    let end = crc;
    let problem: string;
    const visit = (type: number, data: Buffer, where: () => string): void => this.record(type, data, where());
    try {
      // A segment in the middle is read as the last one too, so that it is told where it ends.
      const found = await readSegments(disk, directory, [segment], visit, { seed: crc, isBehindSealed: this.isSealed });
      position = found.position;
      end = found.crc;
      this.isSealed = found.sealed !== null;
      if (isLast && isCut(found, SEGMENT_BYTES)) this.cut = { path, size: found.fileBytes, position };
      if (found.torn === null) return end;
      if (isLast) {
        this.torn = { path, position, problem: found.torn, promised: found.promised };
        return end;
      }
      problem = found.torn;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      problem = error.message;
      position = Number(/at byte (\d+)\)?$/.exec(error.where)?.[1] ?? 0);
    }
    if (await isSegmentSealed(disk, path)) return this.salvageFrames(disk, segment, path, position, problem);
    return this.salvage(path, await disk.readFile(path), position, problem);
  }

  /** The same in an encrypted segment: a frame that is intact says so by itself. */
  private async salvageFrames(
    disk: Disk,
    segment: SegmentName,
    path: string,
    position: number,
    problem: string,
  ): Promise<number> {
    this.isSealed = true;
    const file = await disk.open(path, 'read');
    try {
      const window = await this.openFrames(disk, file, segment);
      let crc = 0;
      let damage = { path, position, problem };
      let frame = (await window?.find(position + FRAME_HEAD_BYTES)) ?? null;
      if (window === null || frame === null) this.damages.push({ ...damage, intactFrom: null });
      while (window !== null && frame !== null) {
        const before = this.ranges.length;
        this.ranges.push({ first: 0, last: -1, lastTerm: 0 });
        let next: number = frame.position;
        while (frame !== null && frame.position === next) {
          crc = this.readFrame(`${path} at byte ${next}`, frame.content, crc);
          next = frame.next;
          frame = await window.find(next);
        }
        const range = this.ranges[before] as EntryRange;
        if (range.last < 0) this.ranges.splice(before, 1);
        this.damages.push({ ...damage, intactFrom: range.last < 0 ? null : range.first });
        damage = { path, position: next, problem: 'another frame that does not check' };
      }
      return crc;
    } finally {
      await file.close();
    }
  }

  /** `null` where not even the head of the file can be used. */
  private async openFrames(disk: Disk, file: DiskFile, segment: SegmentName): Promise<SealedWindow | null> {
    const window = new FileWindow(file, await file.size());
    try {
      const head = await sealedHead(disk, window, segment);
      return head === null ? null : new SealedWindow(window, head);
    } catch (error) {
      if (error instanceof CorruptionError) return null;
      throw error;
    }
  }

  /** What a frame holds is what was written, so that no checksum before it is needed. */
  private readFrame(where: string, content: Buffer, seed: number): number {
    let crc = seed;
    for (let found = recordAt(content, 0); found !== null; found = recordAt(content, found.next)) {
      try {
        this.record(found.type, found.data, where);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        break;
      }
      crc = found.crc;
    }
    return crc;
  }

  /** Looks for what is intact behind damage: two records of which the second continues the checksum of the first. */
  private salvage(path: string, bytes: Buffer, position: number, problem: string): number {
    const from = Math.ceil((position + FRAME_HEAD_BYTES) / 8) * 8;
    for (let at = from; at + FRAME_HEAD_BYTES < bytes.length; at += 8) {
      const first = recordAt(bytes, at);
      const second = first === null ? null : recordAt(bytes, first.next);
      if (first === null || second === null) continue;
      if (second.crc !== crc32c(second.data, 0, second.data.length, first.crc)) continue;
      const before = this.ranges.length;
      this.ranges.push({ first: 0, last: -1, lastTerm: 0 });
      const { next, crc } = this.readOn(path, bytes, first.next, first.crc);
      const range = this.ranges[before] as EntryRange;
      if (range.last < 0) this.ranges.splice(before, 1);
      this.damages.push({ path, position, problem, intactFrom: range.last < 0 ? null : range.first });
      const isEnd = next + FRAME_HEAD_BYTES > bytes.length || bytes.readUInt32LE(next) === 0;
      return isEnd ? crc : this.salvage(path, bytes, next, 'another record that does not check');
    }
    this.damages.push({ path, position, problem, intactFrom: null });
    return 0;
  }

  private readOn(path: string, bytes: Buffer, start: number, seed: number): { next: number; crc: number } {
    let next = start;
    let crc = seed;
    for (let found = recordAt(bytes, next); found !== null; found = recordAt(bytes, next)) {
      const expected = crc32c(found.data, 0, found.data.length, crc);
      if (expected !== found.crc) break;
      try {
        this.record(found.type, found.data, `${path} at byte ${next}`);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        break;
      }
      crc = expected;
      next = found.next;
    }
    return { next, crc };
  }

  missing(path: string, first: number, last: number): void {
    const problem = first === last ? `segment ${first} is missing` : `segments ${first} to ${last} are missing`;
    this.damages.push({ path, position: 0, problem: `wal: ${problem} before this one`, intactFrom: null });
  }

  private record(type: number, data: Buffer, where: string): void {
    try {
      if (type === RecordType.entry) this.entry(Entry.decode(data), where);
      else if (type === RecordType.hardState) this.promise(HardState.decode(data), where);
      else if (type === RecordType.snapshot) this.snapshots.push(WalSnapshot.decode(data));
      else if (type === RecordType.metadata) this.metadata ??= Buffer.from(data);
      else if (type !== RecordType.crc) throw new CorruptionError(`wal: unexpected block type ${type}`, where, '');
    } catch (error) {
      if (!(error instanceof ProtoError)) throw error;
      throw new CorruptionError('wal: a record with unreadable content', where, '');
    }
  }

  private promise(state: HardState, where: string): void {
    if (state.term < this.hardState.term) {
      throw new CorruptionError('wal: a term that goes back behind an earlier one', where, '');
    }
    this.hardState = state;
  }

  private entry(entry: Entry, where: string): void {
    const { index, term, type } = entry;
    if (term === 0 || !Number.isSafeInteger(term) || type < 0 || type > EntryType.EntryConfChangeV2) {
      throw new CorruptionError('wal: an entry that cannot be one', where, '');
    }
    this.keep(entry);
    // A later leader's entries take the place of those with the same index, and of all behind them.
    while (this.ranges.length > 1 && this.isGrown() && index <= (this.ranges.at(-1) as EntryRange).first) {
      this.ranges.pop();
    }
    const range = this.ranges.at(-1);
    if (range !== undefined && range.last < 0) {
      this.ranges[this.ranges.length - 1] = { first: index, last: index, lastTerm: term };
    } else if (range === undefined || index > range.last + 1) {
      this.ranges.push({ first: index, last: index, lastTerm: term });
    } else {
      range.last = index;
      range.lastTerm = term;
    }
  }

  private keep(entry: Entry): void {
    if (entry.index <= this.keepFrom) return;
    const at = entry.index - this.keepFrom - 1;
    if (at > this.entries.length) return;
    this.entries.length = at;
    this.entries.push(entry);
  }

  private isGrown(): boolean {
    return (this.ranges.at(-1) as EntryRange).last >= 0;
  }

  result(): Pick<LogSurvey, 'metadata' | 'hardState' | 'base' | 'ranges' | 'torn' | 'cut' | 'damages' | 'entries'> {
    const { metadata, hardState, snapshots, ranges, torn, cut, damages, entries } = this;
    const base = snapshots.filter(({ index }) => index <= hardState.commit).at(-1) ?? null;
    return { metadata, hardState, base, ranges, torn, cut, damages, entries };
  }
}
