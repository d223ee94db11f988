/** The records of a segment as they would stand in a plain one. */
import { errorFrom } from '@etsd/base';
import { type Disk, type DiskCallback, type DiskFile, joinPath, type ReadCallback } from '@etsd/runtime';
import { sealedHead } from './reader.ts';
import { FRAME_HEAD_BYTES, readFrameHead } from './record.ts';
import { type FoundFrame, SealedWindow } from './sealed-segment.ts';
import type { SegmentName } from './segment.ts';
import { isZero, SECTOR_BYTES } from './torn.ts';
import { FileWindow } from './window.ts';

/** Opens a segment for reading. An encrypted one reads as its content up to where it is whole, with zeros behind. */
export async function openContent(disk: Disk, directory: string, segment: SegmentName): Promise<DiskFile> {
  const file = await disk.open(joinPath(directory, segment.name), 'read');
  try {
    const window = new FileWindow(file, await file.size());
    const head = await sealedHead(disk, window, segment);
    return head === null
      ? file
      : new SegmentContent(file, () => new SealedWindow(new FileWindow(file, window.size), head));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Where the records of a segment end that is not written any more. A full one is full of them; one that was cut early, for
 * another key, has zeros behind, and is read through.
 */
export async function contentEnd(disk: Disk, directory: string, segment: SegmentName): Promise<number> {
  const file = await openContent(disk, directory, segment);
  try {
    const window = new FileWindow(file, await file.size());
    const rest = Math.min(SECTOR_BYTES, window.size);
    await window.load(window.size - rest, rest);
    if (!isZero(window.view(window.size - rest, rest))) return window.size;
    let position = 0;
    while (position + FRAME_HEAD_BYTES <= window.size) {
      if (!window.holds(position, FRAME_HEAD_BYTES)) await window.load(position, FRAME_HEAD_BYTES);
      const head = readFrameHead(window.piece, position - window.pieceStart);
      if (head === null || head.recordBytes === 0) break;
      position += FRAME_HEAD_BYTES + head.recordBytes + head.padding;
    }
    return position;
  } finally {
    await file.close();
  }
}

/** Reads forwards, from any place on; what lies before is passed over without being decrypted. One read at a time. */
class SegmentContent implements DiskFile {
  readonly path: string;
  private readonly file: DiskFile;
  private readonly begin: () => SealedWindow;
  private window: SealedWindow;
  private frame: FoundFrame | null = null;
  /** Where the frame begins in the content, and where it ends. */
  private start = 0;
  private end = 0;

  constructor(file: DiskFile, begin: () => SealedWindow) {
    this.path = file.path;
    this.file = file;
    this.begin = begin;
    this.window = begin();
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    this.fill(target.subarray(start, end), position).then(
      (count) => done(null, count),
      (error: unknown) => done(errorFrom(error), 0),
    );
  }

  private async fill(target: Buffer, position: number): Promise<number> {
    const length = Math.max(0, Math.min(target.length, this.window.fileBytes - position));
    if (position < this.start) {
      this.window = this.begin();
      this.frame = null;
      this.start = 0;
      this.end = 0;
    }
    for (let at = 0; at < length; ) {
      const place = position + at;
      if (place >= this.end && !(await this.next(place))) {
        target.fill(0, at, length);
        break;
      }
      const content = this.frame?.content;
      if (content === undefined || place >= this.end) continue;
      at += content.copy(target, at, place - this.start, Math.min(content.length, place - this.start + length - at));
    }
    return length;
  }

  /** Goes on by one frame, which is decrypted if `place` lies in it; false at the end. */
  private async next(place: number): Promise<boolean> {
    const frame = await this.window.next(place - this.end);
    if (frame === null) return false;
    this.frame = frame;
    this.start = this.end;
    this.end += frame.length;
    return true;
  }

  async size(): Promise<number> {
    return this.window.fileBytes;
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  write(_bytes: Buffer, _start: number, _end: number, _position: number, done: DiskCallback): void {
    done(new Error(`${this.path} is open for reading`));
  }

  dataSync(done: DiskCallback): void {
    done(null);
  }

  sync(done: DiskCallback): void {
    done(null);
  }

  truncate(): Promise<void> {
    return Promise.reject(new Error(`${this.path} is open for reading`));
  }
}
