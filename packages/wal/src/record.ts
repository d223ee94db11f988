/**
 * Records and their frames, as etcd writes them:
 *
 *     ┌─ 8 bytes, little endian ──────────────┬─ length bytes ───────────────────┬─ pad ─┐
 *     │ length: 56 bits │ 0x80 | pad, or 0    │ walpb.Record { type, crc, data } │ zeros │   a multiple of 8 in all
 *     └───────────────────────────────────────┴──────────────────────────────────┴───────┘
 *
 * `crc` is the CRC-32C of the data of all records up to and including this one, going on from the segment before. A frame
 * head of zero is the end of the log: segments are filled with zeros before they are written.
 */
import { assert, crc32c } from '@etsd/base';
import { Entry, HardState, varintSize, WalSnapshot, writeVarint } from '@etsd/proto';

export const RecordType = {
  /** Which member of which cluster this log belongs to; the same in every segment. */
  metadata: 1,
  entry: 2,
  hardState: 3,
  /** The checksum to go on from; the first record of every segment. */
  crc: 4,
  /** A snapshot of this position is on disk. */
  snapshot: 5,
} as const;

export const FRAME_HEAD_BYTES = 8;

/** Tag and value of the type, tag of the checksum. */
const TYPE_AND_CRC_TAG_BYTES = 3;
const CRC_BYTES_MAX = 5;

/** Bytes that grow at the end and are used again and again; behind `length` there may be anything. */
export class BatchBuffer {
  bytes: Buffer;
  /** Bytes in use. */
  length = 0;
  private readonly initialBytes: number;
  private readonly keptBytes: number;

  constructor(initialBytes: number, keptBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(initialBytes);
    this.initialBytes = initialBytes;
    this.keptBytes = keptBytes;
  }

  /** Makes sure that `more` bytes fit behind those in use. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  /** Empties the buffer, and gives its memory back if one batch out of the ordinary had blown it up. */
  reset(): void {
    this.length = 0;
    if (this.bytes.length > this.keptBytes) this.bytes = Buffer.allocUnsafeSlow(this.initialBytes);
  }
}

/** Zero bytes that bring a record to a multiple of eight. */
export function paddingOf(recordBytes: number): number {
  return -recordBytes & 7;
}

/**
 * Appends framed records to a batch and carries the checksum from one to the next. One pass: the data is written where
 * it will stay, its checksum taken, and the head put before it. Where the checksum comes out shorter than five bytes
 * (one time in sixteen) the data moves down by the difference.
 */
export class RecordEncoder {
  /** Checksum of everything encoded so far. */
  crc: number;

  constructor(crc = 0) {
    this.crc = crc;
  }

  entry(target: BatchBuffer, entry: Entry): void {
    const size = Entry.size(entry);
    const dataAt = begin(target, size);
    Entry.write(entry, target.bytes, dataAt);
    this.finish(target, RecordType.entry, dataAt, size);
  }

  hardState(target: BatchBuffer, state: HardState): void {
    const size = HardState.size(state);
    const dataAt = begin(target, size);
    HardState.write(state, target.bytes, dataAt);
    this.finish(target, RecordType.hardState, dataAt, size);
  }

  snapshot(target: BatchBuffer, snapshot: WalSnapshot): void {
    const size = WalSnapshot.size(snapshot);
    const dataAt = begin(target, size);
    WalSnapshot.write(snapshot, target.bytes, dataAt);
    this.finish(target, RecordType.snapshot, dataAt, size);
  }

  metadata(target: BatchBuffer, metadata: Buffer): void {
    const dataAt = begin(target, metadata.length);
    metadata.copy(target.bytes, dataAt);
    this.finish(target, RecordType.metadata, dataAt, metadata.length);
  }

  /** States the checksum that the next record goes on from. */
  checksum(target: BatchBuffer): void {
    const dataAt = begin(target, 0);
    this.finish(target, RecordType.crc, dataAt, 0);
  }

  private finish(target: BatchBuffer, type: number, dataAt: number, dataBytes: number): void {
    const bytes = target.bytes;
    const start = target.length;
    if (dataBytes > 0) this.crc = crc32c(bytes, dataAt, dataAt + dataBytes, this.crc);
    const shift = CRC_BYTES_MAX - varintSize(this.crc);
    if (shift > 0 && dataBytes > 0) bytes.copyWithin(dataAt - shift, dataAt, dataAt + dataBytes);
    let at = start + FRAME_HEAD_BYTES;
    bytes[at++] = 0x08;
    bytes[at++] = type;
    bytes[at++] = 0x10;
    at = writeVarint(bytes, at, this.crc);
    if (dataBytes > 0) {
      bytes[at++] = 0x1a;
      at = writeVarint(bytes, at, dataBytes) + dataBytes;
    }
    assert(dataBytes === 0 || at === dataAt - shift + dataBytes, 'a record ends where its data ends');
    const recordBytes = at - start - FRAME_HEAD_BYTES;
    const padding = paddingOf(recordBytes);
    for (let index = 0; index < padding; index++) bytes[at++] = 0;
    bytes.writeUInt32LE(recordBytes >>> 0, start);
    bytes.writeUInt32LE(padding === 0 ? 0 : (0x80 | padding) * 0x100_0000, start + 4);
    target.length = at;
  }
}

/** Makes room for a record with `dataBytes` of data and says where the data goes if the checksum takes five bytes. */
function begin(target: BatchBuffer, dataBytes: number): number {
  const headBytes = FRAME_HEAD_BYTES + TYPE_AND_CRC_TAG_BYTES + CRC_BYTES_MAX + 1 + varintSize(dataBytes);
  target.reserve(headBytes + dataBytes + 7);
  return target.length + headBytes;
}

/** A frame head taken apart. */
export interface FrameHead {
  readonly recordBytes: number;
  readonly padding: number;
}

/** Reads a frame head; `null` if no writer can have made it. All zero reads as a record of no bytes. */
export function readFrameHead(bytes: Buffer, at: number): FrameHead | null {
  const high = bytes.readUInt32LE(at + 4);
  const recordBytes = (high & 0xff_ffff) * 0x1_0000_0000 + bytes.readUInt32LE(at);
  const mark = high >>> 24;
  const padding = mark & 7;
  if (mark !== 0 && (mark & 0xf8) !== 0x80) return null;
  if (recordBytes > Number.MAX_SAFE_INTEGER - 16 || padding !== paddingOf(recordBytes)) return null;
  return { recordBytes, padding };
}
