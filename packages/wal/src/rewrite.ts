/** A segment of a log that nobody has open, written anew: under another key, or plain. */
import { CorruptionError, OperatorError } from '@etsd/base';
import { type Disk, type DiskFile, joinPath } from '@etsd/runtime';
import { openContent } from './content.ts';
import { type LogEnd, readSegments } from './reader.ts';
import { BatchBuffer, FRAME_HEAD_BYTES, readFrameHead } from './record.ts';
import { synced } from './repair.ts';
import { SegmentSealer } from './sealed-segment.ts';
import type { SegmentName } from './segment.ts';

/** Content of one frame, unless one record is larger. */
const GROUP_BYTES = 64 * 1024;
const READ_BYTES = 1024 * 1024;

/**
 * Puts a segment in place of itself, encrypted with the newest key of the disk or, where that writes nothing encrypted,
 * plain. What was written is read and compared before it gets the name; a crash leaves the one or the other. Fails where
 * the segment ends in half a record.
 */
export async function rewriteSegment(disk: Disk, directory: string, segment: SegmentName): Promise<void> {
  const before = await endOf(disk, directory, segment);
  if (before.torn !== null) {
    throw new OperatorError(
      `${joinPath(directory, segment.name)} ends in half a record, as after a crash`,
      'Cut it off first, by a start of the member or with: etsdutl doctor --repair',
    );
  }
  const workshop = `${directory}.rewriting`;
  await disk.remove(workshop);
  await disk.makeDirectory(workshop);
  const path = joinPath(workshop, segment.name);
  await write(disk, directory, segment, path, before);
  const after = await endOf(disk, workshop, segment);
  if (after.crc !== before.crc || after.content !== before.content || after.torn !== null) {
    throw new CorruptionError(
      'wal: what was rewritten is not what was read',
      path,
      'Look at the disk, then try again.',
    );
  }
  await disk.rename(path, joinPath(directory, segment.name));
  await disk.syncDirectory(directory);
  await disk.remove(workshop);
}

function endOf(disk: Disk, directory: string, segment: SegmentName): Promise<LogEnd> {
  return readSegments(disk, directory, [segment], () => {});
}

async function write(disk: Disk, from: string, segment: SegmentName, path: string, end: LogEnd): Promise<void> {
  const { sealing } = disk;
  const sealer = sealing?.isOn === true ? SegmentSealer.begin(sealing, segment.name) : null;
  const source = await openContent(disk, from, segment);
  const target = await disk.open(path, 'create');
  try {
    let position = 0;
    for await (const group of groups(source, end.content)) {
      const { bytes, length } = sealer === null ? group : sealer.seal(group, position);
      await new Promise<void>((resolve, reject) => {
        target.write(bytes, 0, length, position, (error) => (error === null ? resolve() : reject(error)));
      });
      position += length;
    }
    // Zeros behind the last record say that nobody cut the file.
    await target.truncate(Math.max(end.fileBytes, position + FRAME_HEAD_BYTES));
    await synced(target);
  } finally {
    await target.close();
    await source.close();
  }
}

/** The records up to `end`, some at a time, each wholly in one group. */
async function* groups(source: DiskFile, end: number): AsyncGenerator<BatchBuffer> {
  const group = new BatchBuffer(GROUP_BYTES, READ_BYTES);
  let wanted = READ_BYTES;
  for (let position = 0; position < end; ) {
    const piece = Buffer.allocUnsafe(Math.min(wanted, end - position));
    await new Promise<void>((resolve, reject) => {
      source.read(piece, 0, piece.length, position, (error) => (error === null ? resolve() : reject(error)));
    });
    let at = 0;
    for (let next = behind(piece, at); next <= piece.length; next = behind(piece, at)) {
      group.reserve(next - at);
      group.length += piece.copy(group.bytes, group.length, at, next);
      at = next;
      if (group.length < GROUP_BYTES && position + at < end) continue;
      yield group;
      group.reset();
      if (position + at === end) return;
    }
    wanted = at === 0 ? 2 * wanted : READ_BYTES;
    position += at;
  }
}

/** Where the record at `at` ends; beyond the piece if that does not hold all of it. */
function behind(piece: Buffer, at: number): number {
  if (at + FRAME_HEAD_BYTES > piece.length) return piece.length + 1;
  const head = readFrameHead(piece, at);
  return head === null ? piece.length + 1 : at + FRAME_HEAD_BYTES + head.recordBytes + head.padding;
}
