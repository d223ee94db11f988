/** Records where nobody has said that there is one: behind damage, and behind the end. */
import { ProtoError, WalRecord } from '@etsd/proto';
import { READ_BYTES } from './limits.ts';
import { FRAME_HEAD_BYTES, RecordType, readFrameHead } from './record.ts';
import { continues } from './torn.ts';
import type { SegmentWindow } from './window.ts';

export interface FoundRecord {
  readonly type: number;
  readonly crc: number;
  readonly data: Buffer;
  /** Where the next frame begins. */
  readonly next: number;
}

/** A record at this place, with data or a checksum for the next one, if there is something like one. */
export function recordAt(bytes: Buffer, at: number): FoundRecord | null {
  const next = nextFrame(bytes, at);
  const start = at + FRAME_HEAD_BYTES;
  if (next < 0 || next > bytes.length || bytes[start] !== 0x08 || bytes[start + 2] !== 0x10) return null;
  const { recordBytes } = readFrameHead(bytes, at) as { recordBytes: number };
  try {
    const { type, crc, data } = WalRecord.decode(bytes, start, start + recordBytes);
    return data.length === 0 && type !== RecordType.crc ? null : { type, crc, data, next };
  } catch (error) {
    if (error instanceof ProtoError) return null;
    throw error;
  }
}

/** Where the frame ends that begins here, or −1 where none can begin. */
function nextFrame(bytes: Buffer, at: number): number {
  if (at + FRAME_HEAD_BYTES > bytes.length) return -1;
  const head = readFrameHead(bytes, at);
  if (head === null || head.recordBytes < 4) return -1;
  return at + FRAME_HEAD_BYTES + head.recordBytes + head.padding;
}

/** A checksum record: the smallest checksum is padded to what the largest takes. */
const MARK_BYTES = 2 * FRAME_HEAD_BYTES;

/** Whether there is nothing but zeros in the next so many bytes, which are many. */
export function isEmptyAt(bytes: Buffer, at: number, length = EMPTY_BYTES.length): boolean {
  return bytes.length - at >= length && bytes.compare(EMPTY_BYTES, 0, length, at, at + length) === 0;
}

const EMPTY_BYTES = Buffer.alloc(64 * 1024);

/**
 * Where, from `from` on, a batch begins: a checksum, and a record that goes on from it. −1 where none does. Other pieces of
 * the file come into `window`.
 */
export async function findBatch(window: SegmentWindow, from: number): Promise<number> {
  const first = Math.ceil(from / 8) * 8;
  for (let start = first; start + MARK_BYTES <= window.size; start += READ_BYTES - MARK_BYTES) {
    const length = Math.min(READ_BYTES, window.size - start);
    if (!window.holds(start, length)) await window.load(start, length);
    const bytes = window.view(start, length);
    for (let at = 0; at + MARK_BYTES <= length; at += 8) {
      if (at % EMPTY_BYTES.length === 0 && isEmptyAt(bytes, at)) at += EMPTY_BYTES.length - 8;
      else if (isChecksum(bytes, at) && (await isGoneOnFrom(window, start + at))) return start + at;
    }
  }
  return -1;
}

function isChecksum(bytes: Buffer, at: number): boolean {
  if (bytes[at + FRAME_HEAD_BYTES + 1] !== RecordType.crc) return false;
  const found = recordAt(bytes, at);
  return found !== null && found.type === RecordType.crc && found.data.length === 0;
}

/** Whether the record behind the checksum at `position` has it as that of all before itself. */
async function isGoneOnFrom(window: SegmentWindow, position: number): Promise<boolean> {
  const rest = window.size - position;
  await window.load(position, Math.min(rest, MARK_BYTES + FRAME_HEAD_BYTES));
  const { crc, next } = recordAt(window.piece, 0) as FoundRecord;
  const end = nextFrame(window.piece, next);
  if (end < 0 || end > rest) return false;
  if (end > window.piece.length) await window.load(position, end);
  const record = recordAt(window.piece, next);
  return record !== null && continues(crc, record);
}
