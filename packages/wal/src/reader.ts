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
 * - only a sector of zeros throughout, behind that of the head, was never written;
 * - where changing one byte back makes the checksum right, that byte is what is wrong, not the zeros.
 */
import { CorruptionError, crc32c } from '@etsd/base';
import { HardState, ProtoError, WalRecord } from '@etsd/proto';
import { type Disk, type DiskFile, joinPath } from '@etsd/runtime';
import { READ_BYTES } from './limits.ts';
import { FRAME_HEAD_BYTES, RecordType, readFrameHead } from './record.ts';
import type { SegmentName } from './segment.ts';
import { continues, isOneByteOff, isZero, sectorEnd, unwrittenSector } from './torn.ts';

/** At the beginning of a record: type, checksum and length of the data, with their tags. */
const RECORD_HEAD_BYTES = 14;

const ADVICE =
  'Do not start this member on the damaged log: remove it from the cluster and add it anew, or restore a backup.';

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
}

/** Is given each record in order. `data` is a view that may be kept. An error it throws ends the replay. */
export type RecordVisitor = (type: number, data: Buffer, where: () => string) => void;

/** Reads a file in large pieces and hands out stretches of it; every piece is a buffer of its own. */
class FileWindow {
  readonly size: number;
  private readonly file: DiskFile;
  private bytes = Buffer.alloc(0);
  private start = 0;

  constructor(file: DiskFile, size: number) {
    this.file = file;
    this.size = size;
  }

  /** Whether `[position, position + length)` can be had from `view` without reading. */
  holds(position: number, length: number): boolean {
    return position >= this.start && position + length <= this.start + this.bytes.length;
  }

  /** The stretch, which is held. */
  view(position: number, length: number): Buffer {
    const at = position - this.start;
    return this.bytes.subarray(at, at + length);
  }

  /** The piece in memory and where it begins, for reading in place. */
  get piece(): Buffer {
    return this.bytes;
  }

  get pieceStart(): number {
    return this.start;
  }

  /** Reads on from `position`, at least `length` bytes, which the file has. */
  load(position: number, length: number): Promise<void> {
    const wanted = Math.min(Math.max(length, READ_BYTES), this.size - position);
    const bytes = Buffer.allocUnsafeSlow(wanted);
    return new Promise((resolve, reject) => {
      this.file.read(bytes, 0, wanted, position, (error, bytesRead) => {
        if (error !== null) reject(error);
        else if (bytesRead < length) reject(new Error(`${this.file.path} became shorter while it was read`));
        else {
          this.bytes = bytes.subarray(0, bytesRead);
          this.start = position;
          resolve();
        }
      });
    });
  }
}

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
  private readonly window: FileWindow;
  private readonly isLast: boolean;
  private readonly visit: RecordVisitor;
  private readonly where = (): string => `${this.path} at byte ${this.position}`;

  constructor(path: string, window: FileWindow, isLast: boolean, crc: number, visit: RecordVisitor) {
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
      if (this.crc !== 0 && record.crc !== this.crc) throw this.damage('walpb: crc mismatch with the segment before');
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
    if (record !== null && isOneByteOff(crc, record.crc, record.data.length)) {
      throw this.damage(`${problem}, by one changed byte`);
    }
    this.torn = `${problem}, and a sector of it was never written`;
    if (isHeadWhole && record !== null) this.promised = this.promisedBehind(end, record.crc);
    return 'end';
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
    return new CorruptionError(problem, this.where(), ADVICE);
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

export interface FoundRecord {
  readonly type: number;
  readonly crc: number;
  readonly data: Buffer;
  /** Where the next frame begins. */
  readonly next: number;
}

/** A record with data at this place, if there is something like one. */
export function recordAt(bytes: Buffer, at: number): FoundRecord | null {
  if (at + FRAME_HEAD_BYTES > bytes.length) return null;
  const head = readFrameHead(bytes, at);
  if (head === null || head.recordBytes < 4) return null;
  const start = at + FRAME_HEAD_BYTES;
  const next = start + head.recordBytes + head.padding;
  if (next > bytes.length || bytes[start] !== 0x08 || bytes[start + 2] !== 0x10) return null;
  try {
    const record = WalRecord.decode(bytes, start, start + head.recordBytes);
    return record.data.length === 0 ? null : { type: record.type, crc: record.crc, data: record.data, next };
  } catch (error) {
    if (error instanceof ProtoError) return null;
    throw error;
  }
}

/**
 * Gives every record of the segments to `visit` and says how the log ended. Fails with `CorruptionError` on damage.
 * `seed` is the checksum of the segments before, 0 where that is not known.
 */
export async function readSegments(
  disk: Disk,
  directory: string,
  segments: readonly SegmentName[],
  visit: RecordVisitor,
  seed = 0,
): Promise<LogEnd> {
  let crc = seed;
  let end: LogEnd | null = null;
  for (let index = 0; index < segments.length; index++) {
    const segment = segments[index] as SegmentName;
    const path = joinPath(directory, segment.name);
    const file = await disk.open(path, 'read');
    try {
      const window = new FileWindow(file, await file.size());
      const reader = new SegmentReader(path, window, index === segments.length - 1, crc, visit);
      await reader.run();
      crc = reader.crc;
      const { position, torn, isBeyondFile, promised } = reader;
      end = { segment, position, crc, torn, isBeyondFile, promised, fileBytes: window.size };
    } finally {
      await file.close();
    }
  }
  return end as LogEnd;
}
