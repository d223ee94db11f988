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
 * In two places we are stricter, because a frame head lies within one sector and so is never half written: a head that no
 * writer makes is damage, not the end; and so is a record beyond the end of the file while valid records stand further on.
 */
import { CorruptionError, crc32c } from '@etsd/base';
import { ProtoError, WalRecord } from '@etsd/proto';
import { type Disk, type DiskFile, joinPath } from '@etsd/runtime';
import { READ_BYTES } from './limits.ts';
import { FRAME_HEAD_BYTES, RecordType, readFrameHead } from './record.ts';
import type { SegmentName } from './segment.ts';

/** What a disk writes wholly or not at all. */
const SECTOR_BYTES = 512;

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
      if (position < window.size && this.isLast) this.torn = 'a frame head beyond the end of the file';
      return 'end';
    }
    if (!window.holds(position, FRAME_HEAD_BYTES)) return this.more(FRAME_HEAD_BYTES);
    const piece = window.piece;
    const at = position - window.pieceStart;
    const head = readFrameHead(piece, at);
    if (head === null) throw this.damage('a frame head that no writer makes');
    if (head.recordBytes === 0) return 'end';
    const frameBytes = FRAME_HEAD_BYTES + head.recordBytes + head.padding;
    if (position + frameBytes > window.size) {
      this.torn = `wal: max entry size limit exceeded: a record of ${head.recordBytes} bytes beyond the end of the file`;
      return 'end';
    }
    if (!window.holds(position, frameBytes)) return this.more(frameBytes);
    const start = at + FRAME_HEAD_BYTES;
    return this.take(piece, start, start + head.recordBytes, frameBytes);
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
      return this.bad('a record that cannot be decoded', piece, start, frameBytes);
    }
    if (record.type === RecordType.crc) {
      if (this.crc !== 0 && record.crc !== this.crc) throw this.damage('walpb: crc mismatch with the segment before');
      this.crc = record.crc;
    } else {
      const crc = crc32c(record.data, 0, record.data.length, this.crc);
      if (crc !== record.crc) return this.bad('walpb: crc mismatch', piece, start, frameBytes);
      this.crc = crc;
    }
    this.visit(record.type, record.data, this.where);
    this.position += frameBytes;
    return 'record';
  }

  /** A record that does not check: torn if a sector of it was never written, damage otherwise. */
  private bad(problem: string, piece: Buffer, start: number, frameBytes: number): Step {
    if (!this.isLast || !this.hasZeroSector(piece, start, frameBytes - FRAME_HEAD_BYTES)) throw this.damage(problem);
    this.torn = `${problem}, and a sector of it was never written`;
    return 'end';
  }

  private hasZeroSector(piece: Buffer, start: number, length: number): boolean {
    let offset = this.position + FRAME_HEAD_BYTES;
    let at = start;
    const end = start + length;
    while (at < end) {
      const sectorEnd = Math.min(at + SECTOR_BYTES - (offset % SECTOR_BYTES), end);
      let isZero = true;
      for (let index = at; index < sectorEnd && isZero; index++) isZero = piece[index] === 0;
      if (isZero) return true;
      offset += sectorEnd - at;
      at = sectorEnd;
    }
    return false;
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
    if (rest < 2 * FRAME_HEAD_BYTES || this.torn?.startsWith('wal: max entry') !== true) return;
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
      end = { segment, position: reader.position, crc, torn: reader.torn };
    } finally {
      await file.close();
    }
  }
  return end as LogEnd;
}
