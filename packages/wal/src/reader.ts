/**
 * Replay: the records of some segments, one after the other, each checked against the checksum chain.
 *
 * Where the log ends is decided as etcd decides it:
 *
 * - a frame head of zero, or the end of the file, ends a segment; in the last one it is the end of the log;
 * - in the last segment a record is *torn*, the unfinished write of a crash, if it reaches beyond the end of the file, or
 *   if it does not check and one of its 512-byte sectors holds nothing but zeros, as it did before the write;
 * - everything else that does not check is damage.
 *
 * In some places we are stricter, since a value of zeros that rots must not be taken for the end of the log, and what stands
 * behind it for nothing. A sector is written wholly or not at all, and a frame head lies within one:
 *
 * - a head that no writer makes is damage, and so is one of zeros with anything behind it in its sector;
 * - a record beyond the end of the file is damage while valid records stand further on;
 * - any end is damage while a later batch stands further on: each begins with the checksum it goes on from;
 * - only a sector of zeros throughout, behind that of the head, was never written;
 * - where changing one byte back makes the checksum right, that byte is what is wrong, not zeros elsewhere.
 */
import { CorruptionError, crc32c } from '@etsd/base';
import { HardState, ProtoError, WalRecord } from '@etsd/proto';
import { type Disk, isSealed, joinPath, refuseSealed, SEAL_HEAD_BYTES, type SealedHead, SealKind } from '@etsd/runtime';
import { ADVICE_DAMAGED } from './advice.ts';
import { findBatch, recordAt } from './found-record.ts';
import { FRAME_HEAD_BYTES, RecordType, readFrameHead } from './record.ts';
import { SealedWindow } from './sealed-segment.ts';
import type { SegmentName } from './segment.ts';
import { changedByte, continues, isZero, sectorEnd, unwrittenSector } from './torn.ts';
import { FileWindow, type SegmentWindow } from './window.ts';

/** At the beginning of a record: type, checksum and length of the data, with their tags. */
const RECORD_HEAD_BYTES = 14;

/** How a log ended. */
export interface LogEnd {
  readonly segment: SegmentName;
  /** Behind the last good record, in bytes of the last segment: where the next record goes. */
  readonly position: number;
  /** Checksum of all records read. */
  readonly crc: number;
  /** Why the last record was taken for torn, or `null` if the log ended cleanly. */
  readonly torn: string | null;
  /** Whether that is because it reaches beyond the end of the file. */
  readonly isBeyondFile: boolean;
  /** If it is torn: the highest commit index that intact records behind the torn one tell, 0 for none. */
  readonly promised: number;
  /** Of the last segment, in bytes. */
  readonly fileBytes: number;
  /** Bytes of records in the last segment: `position`, unless it is encrypted. */
  readonly content: number;
  /** What the last segment is encrypted with, and the tag that the next frame goes on from; `null` if it is plain. */
  readonly sealed: { readonly head: SealedHead; readonly tag: Buffer } | null;
}

/** Is given each record in order. `data` is a view that may be kept. An error it throws ends the replay. */
export type RecordVisitor = (type: number, data: Buffer, where: () => string) => void;

type Step = 'record' | 'end' | 'more';

/** Reads one segment. The checksum comes in from the segment before and goes out to the next one. */
class SegmentReader {
  readonly path: string;
  /** Behind the last good record. */
  position = 0;
  crc: number;
  torn: string | null = null;
  isBeyondFile = false;
  promised = 0;
  /** Bytes that must be in memory before the next step. */
  needed = FRAME_HEAD_BYTES;
  private readonly window: SegmentWindow;
  private readonly isLast: boolean;
  private readonly visit: RecordVisitor;
  private readonly where = (): string => `${this.path} at byte ${this.window.place(this.position)}`;

  constructor(path: string, window: SegmentWindow, isLast: boolean, crc: number, visit: RecordVisitor) {
    this.path = path;
    this.window = window;
    this.isLast = isLast;
    this.crc = crc;
    this.visit = visit;
  }

  async run(): Promise<void> {
    for (;;) {
      const step = this.step();
      if (step === 'end') break;
      if (step === 'more') await this.window.load(this.position, this.needed);
    }
    if (this.torn !== null && !this.isLast) throw this.damage(this.torn);
    if (this.torn !== null) await this.refuseIfRecordsFollow();
    if (this.isLast) await this.refuseIfBatchFollows();
  }

  /** One record, if enough of the file is in memory. */
  private step(): Step {
    const { window, position } = this;
    if (position + FRAME_HEAD_BYTES > window.size) {
      if (position < window.size && this.isLast) return this.beyondFile('a frame head beyond the end of the file');
      return 'end';
    }
    if (!window.holds(position, FRAME_HEAD_BYTES)) return this.more(FRAME_HEAD_BYTES);
    const piece = window.piece;
    const at = position - window.pieceStart;
    const head = readFrameHead(piece, at);
    if (head === null) throw this.damage('a frame head that no writer makes');
    if (head.recordBytes === 0) return this.zeroHead();
    const frameBytes = FRAME_HEAD_BYTES + head.recordBytes + head.padding;
    if (position + frameBytes > window.size) {
      const problem = `wal: max entry size limit exceeded: a record of ${head.recordBytes} bytes beyond the end of the file`;
      return this.beyondFile(problem);
    }
    if (!window.holds(position, frameBytes)) return this.more(frameBytes);
    const start = at + FRAME_HEAD_BYTES;
    return this.take(piece, start, start + head.recordBytes, frameBytes);
  }

  /** The end, if the sector was not written behind it either. */
  private zeroHead(): Step {
    const { window, position } = this;
    const rest = Math.min(sectorEnd(position), window.size) - position;
    if (!window.holds(position, rest)) return this.more(rest);
    if (!isZero(window.view(position, rest))) throw this.damage('a frame head of zeros that something follows');
    return 'end';
  }

  private beyondFile(problem: string): Step {
    this.torn = problem;
    this.isBeyondFile = true;
    return 'end';
  }

  private more(needed: number): Step {
    this.needed = needed;
    return 'more';
  }

  private take(piece: Buffer, start: number, end: number, frameBytes: number): Step {
    let record: WalRecord;
    try {
      record = WalRecord.decode(piece, start, end);
    } catch (error) {
      if (!(error instanceof ProtoError)) throw error;
      return this.bad('a record that cannot be decoded', null, 0, frameBytes);
    }
    if (record.type === RecordType.crc) {
      if (this.crc !== 0 && record.crc !== this.crc)
        throw this.damage('walpb: crc mismatch with what stands before it');
      this.crc = record.crc;
    } else {
      const crc = crc32c(record.data, 0, record.data.length, this.crc);
      if (crc !== record.crc) return this.bad('walpb: crc mismatch', record, crc, frameBytes);
      this.crc = crc;
    }
    this.visit(record.type, record.data, this.where);
    this.position += frameBytes;
    return 'record';
  }

  /** A record whose content makes no sense, or (`crc` being the checksum found) not that of its checksum. */
  private bad(problem: string, record: WalRecord | null, crc: number, frameBytes: number): Step {
    const { window, position } = this;
    if (!this.isLast) throw this.damage(problem);
    const end = position + frameBytes;
    const wanted = Math.min(sectorEnd(end - 1), window.size) - position;
    if (!window.holds(position, wanted)) return this.more(wanted);
    const unwritten = unwrittenSector(window.view(position, wanted), position, end);
    if (unwritten < 0) throw this.damage(problem);
    // What the record consists of stands in its first bytes; if those were written, they are whole.
    const isHeadWhole = unwritten >= position + FRAME_HEAD_BYTES + RECORD_HEAD_BYTES;
    if (isHeadWhole && record === null) throw this.damage(problem);
    if (record !== null && this.isChangedElsewhere(record, crc, unwritten)) {
      throw this.damage(`${problem}, by one changed byte`);
    }
    this.torn = `${problem}, and a sector of it was never written`;
    if (isHeadWhole && record !== null) this.promised = this.promisedBehind(end, record.crc);
    return 'end';
  }

  /**
   * Whether one changed byte explains a wrong checksum, and is not in the sector that was never written: a record may end
   * with one byte in it.
   */
  private isChangedElsewhere({ data, crc: kept }: WalRecord, crc: number, unwritten: number): boolean {
    const { piece, pieceStart } = this.window;
    const changed = changedByte(crc, kept, data.length);
    if (changed < 0 || changed === data.length) return changed >= 0;
    const place = pieceStart + data.byteOffset - piece.byteOffset + changed;
    return place < unwritten || place >= sectorEnd(unwritten);
  }

  /** The highest commit index in the intact records that go on behind one that is not. */
  private promisedBehind(start: number, seed: number): number {
    const { window } = this;
    const bytes = window.piece;
    let promised = 0;
    let crc = seed;
    let at = start - window.pieceStart;
    for (let next = recordAt(bytes, at); next !== null && continues(crc, next); next = recordAt(bytes, at)) {
      if (next.type === RecordType.hardState) promised = Math.max(promised, commitOf(next.data));
      crc = next.crc;
      at = next.next;
    }
    return promised;
  }

  private damage(problem: string): CorruptionError {
    return new CorruptionError(problem, this.where(), ADVICE_DAMAGED);
  }

  /**
   * A record that reaches beyond the end of the file has nothing behind it. If two records further on continue each
   * other's checksum, then it is the head before them that is wrong.
   */
  private async refuseIfRecordsFollow(): Promise<void> {
    const rest = this.window.size - this.position;
    if (rest < 2 * FRAME_HEAD_BYTES || !this.isBeyondFile) return;
    await this.window.load(this.position, rest);
    const bytes = this.window.view(this.position, rest);
    for (let at = FRAME_HEAD_BYTES; at + FRAME_HEAD_BYTES < rest; at += 8) {
      const first = recordAt(bytes, at);
      if (first === null) continue;
      const second = recordAt(bytes, first.next);
      if (second === null || second.crc !== crc32c(second.data, 0, second.data.length, first.crc)) continue;
      throw this.damage(`a damaged frame head: intact records stand further on, at byte ${this.position + at}`);
    }
  }

  /** There is one write at a time: where another batch begins further on, what is before it was written whole. */
  private async refuseIfBatchFollows(): Promise<void> {
    const at = await findBatch(this.window, this.position + FRAME_HEAD_BYTES);
    if (at < 0) return;
    throw this.damage(`${this.torn ?? 'zeros in place of a record'}; what was written later stands at byte ${at}`);
  }
}

/** The type of a record is outside of its checksum: what is called a hard state may be none. */
function commitOf(data: Buffer): number {
  try {
    return HardState.decode(data).commit;
  } catch (error) {
    if (error instanceof ProtoError) return 0;
    throw error;
  }
}

export interface ReadOptions {
  /** The checksum of the segments before; 0, as by default, where that is not known. */
  readonly seed?: number;
  /** There are encrypted segments before: a plain one cannot follow. */
  readonly isBehindSealed?: boolean;
}

/** Gives every record of the segments to `visit` and says how the log ended. Fails with `CorruptionError` on damage. */
export async function readSegments(
  disk: Disk,
  directory: string,
  segments: readonly SegmentName[],
  visit: RecordVisitor,
  { seed = 0, isBehindSealed = false }: ReadOptions = {},
): Promise<LogEnd> {
  let crc = seed;
  let end: LogEnd | null = null;
  for (let index = 0; index < segments.length; index++) {
    const segment = segments[index] as SegmentName;
    const path = joinPath(directory, segment.name);
    const isLast = index === segments.length - 1;
    const file = await disk.open(path, 'read');
    try {
      const window = new FileWindow(file, await file.size());
      const head = await sealedHead(disk, window, segment);
      if (head === null && (end === null ? isBehindSealed : end.sealed !== null)) {
        throw new CorruptionError('wal: a plain segment behind an encrypted one', `${path} at byte 0`, ADVICE_DAMAGED);
      }
      end =
        head === null
          ? await readPlain(window, segment, path, { isLast, crc, visit })
          : await readSealed(new SealedWindow(window, head), segment, path, { isLast, crc, visit });
      crc = end.crc;
    } finally {
      await file.close();
    }
  }
  return end as LogEnd;
}

/** What the segment is encrypted with; `null` if it is plain. */
export async function sealedHead(disk: Disk, window: FileWindow, segment: SegmentName): Promise<SealedHead | null> {
  if (!(await beginsSealed(window))) return null;
  const bytes = window.view(0, Math.min(SEAL_HEAD_BYTES, window.size));
  if (disk.sealing === undefined) throw refuseSealed(bytes, window.file.path);
  return disk.sealing.open(bytes, SealKind.segment, segment.name, window.file.path);
}

async function beginsSealed(window: FileWindow): Promise<boolean> {
  if (window.size < FRAME_HEAD_BYTES) return false;
  await window.load(0, Math.min(SEAL_HEAD_BYTES, window.size));
  return isSealed(window.piece);
}

/** Whether the segment is encrypted; needs no key. */
export async function isSegmentSealed(disk: Disk, path: string): Promise<boolean> {
  const file = await disk.open(path, 'read');
  try {
    return await beginsSealed(new FileWindow(file, await file.size()));
  } finally {
    await file.close();
  }
}

interface SegmentTask {
  readonly isLast: boolean;
  readonly crc: number;
  readonly visit: RecordVisitor;
}

async function readPlain(window: FileWindow, segment: SegmentName, path: string, task: SegmentTask): Promise<LogEnd> {
  const reader = new SegmentReader(path, window, task.isLast, task.crc, task.visit);
  await reader.run();
  const { position, crc, torn, isBeyondFile, promised } = reader;
  return {
    segment,
    position,
    crc,
    torn,
    isBeyondFile,
    promised,
    fileBytes: window.size,
    content: position,
    sealed: null,
  };
}

/** Where the log ends is decided by frames here: within one, nothing is torn. */
async function readSealed(
  window: SealedWindow,
  segment: SegmentName,
  path: string,
  task: SegmentTask,
): Promise<LogEnd> {
  const reader = new SegmentReader(path, window, false, task.crc, task.visit);
  await reader.run();
  const { position, torn, isBeyondFile, head, tag, fileBytes } = window;
  if (torn !== null && !task.isLast)
    throw new CorruptionError(`wal: ${torn}`, `${path} at byte ${position}`, ADVICE_DAMAGED);
  const { crc, position: content } = reader;
  return { segment, position, crc, torn, isBeyondFile, promised: 0, fileBytes, content, sealed: { head, tag } };
}
