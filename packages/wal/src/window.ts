import type { DiskFile } from '@etsd/runtime';
import { READ_BYTES } from './limits.ts';

/** A stretch of a segment's records in memory, and more of them on demand. */
export interface SegmentWindow {
  /** Bytes there are. */
  readonly size: number;
  /** The piece in memory and where it begins, for reading in place. */
  readonly piece: Buffer;
  readonly pieceStart: number;
  /** Whether `[position, position + length)` can be had from `view` without reading. */
  holds(position: number, length: number): boolean;
  /** The stretch, which is held. */
  view(position: number, length: number): Buffer;
  /** Reads on from `position`, at least `length` bytes, which there are. */
  load(position: number, length: number): Promise<void>;
  /** Where in the file a byte of the content stands. */
  place(position: number): number;
}

/** The piece in memory, for windows to put theirs into. */
export class HeldPiece {
  protected bytes: Buffer = Buffer.alloc(0);
  protected start = 0;

  holds(position: number, length: number): boolean {
    return position >= this.start && position + length <= this.start + this.bytes.length;
  }

  view(position: number, length: number): Buffer {
    const at = position - this.start;
    return this.bytes.subarray(at, at + length);
  }

  get piece(): Buffer {
    return this.bytes;
  }

  get pieceStart(): number {
    return this.start;
  }
}

/** Reads a file in large pieces and hands out stretches of it; every piece is a buffer of its own. */
export class FileWindow extends HeldPiece implements SegmentWindow {
  readonly size: number;
  readonly file: DiskFile;

  constructor(file: DiskFile, size: number) {
    super();
    this.file = file;
    this.size = size;
  }

  place(position: number): number {
    return position;
  }

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
