/** What of the log is still to be archived. */
import type { Disk } from '@etsd/runtime';
import { contentEnd, listSegments, type SegmentName } from '@etsd/wal';
import type { Stretch } from './chain-writer.ts';
import type { PieceManifest } from './manifest.ts';

/** Where the log ends on disk: everything before it is whole and never changes. Told by whoever syncs the log. */
export class LogTail {
  /** Of the segment being written; −1 before anything was. */
  sequence = -1;
  /** Bytes of that segment. */
  position = 0;

  moved(sequence: number, position: number): void {
    this.sequence = sequence;
    this.position = position;
  }
}

/** A piece is no longer than this, so that none takes long and little is lost with one. */
export const PIECE_BYTES = 16 * 1024 * 1024;

export interface PendingLog {
  /** In order. */
  readonly stretches: readonly Stretch[];
  /** The log was cut before it was archived: the first stretch does not go on where the chain ends. */
  readonly hasGap: boolean;
  readonly bytes: number;
}

export interface PendingParts {
  readonly disk: Disk;
  readonly walDirectory: string;
  /** The last piece of the chain; null where none is to be continued. */
  readonly last: PieceManifest | null;
  readonly tail: { readonly sequence: number; readonly position: number };
  /** Entries up to this one will be part of a base, should one be needed. */
  readonly appliedIndex: number;
}

/** Looks at the segments of the log. A chain that begins, or cannot go on, begins with the segment that what is not applied is in. */
export async function pendingLog({ disk, walDirectory, last, tail, appliedIndex }: PendingParts): Promise<PendingLog> {
  const segments = (await listSegments(disk, walDirectory)).filter(({ sequence }) => sequence <= tail.sequence);
  const next = last === null ? null : nextOf(last);
  const isContinued = next !== null && hasAll(segments, next.sequence, tail.sequence);
  const beginning = segments.findLast(({ index }) => index <= appliedIndex + 1) ?? segments[0];
  const first = isContinued ? next : { sequence: beginning?.sequence ?? tail.sequence + 1, from: 0 };
  const stretches: Stretch[] = [];
  let bytes = 0;
  for (const segment of segments) {
    if (segment.sequence < first.sequence) continue;
    const isEnd = segment.sequence < tail.sequence;
    const to = isEnd ? await contentEnd(disk, walDirectory, segment) : tail.position;
    const from = segment.sequence === first.sequence ? first.from : 0;
    if (from > to || (from === to && !isEnd)) continue;
    bytes += to - from;
    stretches.push(...cut({ segment, from, to, isEnd }));
  }
  return { stretches, hasGap: next !== null && !isContinued, bytes };
}

function nextOf(last: PieceManifest): { sequence: number; from: number } {
  return last.isEnd ? { sequence: last.sequence + 1, from: 0 } : { sequence: last.sequence, from: last.to };
}

/** Whether no segment is missing from one to another. */
function hasAll(segments: readonly SegmentName[], from: number, to: number): boolean {
  return segments.filter(({ sequence }) => sequence >= from).length === Math.max(0, to - from + 1);
}

function cut({ segment, from, to, isEnd }: Stretch): Stretch[] {
  const pieces: Stretch[] = [];
  let at = from;
  do {
    const end = Math.min(to, at + PIECE_BYTES);
    pieces.push({ segment, from: at, to: end, isEnd: isEnd && end === to });
    at = end;
  } while (at < to);
  return pieces;
}
