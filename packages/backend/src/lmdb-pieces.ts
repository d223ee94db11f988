import { close, constants, fsync, open, write } from 'node:fs';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);
const writeAt = promisify(write);
const syncFile = promisify(fsync);

/** Handed to the disk at once, and how many such pieces there are: while it takes one, others are filled. */
const PIECE_BYTES = 2 * 1024 * 1024;
const PIECES = 4;
/** Of the memory of WebAssembly, which begins at a page of the machine; Node's buffers do not. */
const WASM_PAGE_BYTES = 64 * 1024;

/** Which no library declares for programs outside of browsers. */
declare const WebAssembly: { Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer } };

/** Undefined where the system knows no such thing. */
const DIRECT = (constants as { O_DIRECT?: number }).O_DIRECT ?? 0;

/**
 * Appends to a file in large pieces, past the memory in which the system keeps files: what is written once and not read
 * soon would push out of there what members are served from, and wait for the disk at the end instead of all along.
 * Where a file system knows no such writes, it goes the usual way.
 */
export class PieceWriter {
  /** Where the next byte goes. */
  position: number;
  private readonly path: string;
  private fd = -1;
  private isDirect = DIRECT !== 0;
  private readonly spare: Buffer[] = [];
  private piece: Buffer;
  private length = 0;
  private start: number;
  private waiting = 0;
  private tail: Promise<void> = Promise.resolve();

  /** `position` is a multiple of the page size, and everything that is written is one together. */
  constructor(path: string, position: number) {
    this.path = path;
    this.position = position;
    this.start = position;
    const memory = new WebAssembly.Memory({ initial: (PIECES * PIECE_BYTES) / WASM_PAGE_BYTES }).buffer;
    for (let at = 0; at < PIECES; at++) this.spare.push(Buffer.from(memory, at * PIECE_BYTES, PIECE_BYTES));
    this.piece = this.spare.pop() as Buffer;
  }

  /** Whether more must not be added before `drain`: all pieces are full. */
  get isFull(): boolean {
    return this.waiting >= PIECES - 1;
  }

  /** Room for one page, to be filled at once. */
  page(bytes: number): Buffer {
    if (this.length + bytes > PIECE_BYTES) this.hand();
    const at = this.length;
    this.length += bytes;
    this.position += bytes;
    return this.piece.subarray(at, at + bytes);
  }

  append(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.length === PIECE_BYTES) this.hand();
      const length = Math.min(PIECE_BYTES - this.length, bytes.length - at);
      bytes.copy(this.piece, this.length, at, at + length);
      this.length += length;
      this.position += length;
      at += length;
    }
  }

  /** Resolves when there is room; rejects where the disk refused what was added before. */
  async drain(): Promise<void> {
    while (this.isFull) await this.tail;
  }

  /** Resolves when everything is on disk. */
  async finish(): Promise<void> {
    try {
      if (this.length > 0) this.hand();
      await this.tail;
      if (this.fd >= 0) await syncFile(this.fd);
    } finally {
      await this.tail.catch(() => {});
      if (this.fd >= 0) await closeFile(this.fd);
    }
  }

  private hand(): void {
    const { piece, length, start } = this;
    this.waiting++;
    const before = this.tail;
    this.tail = this.write(before, piece, length, start);
    // Whoever drains or finishes hears of it.
    this.tail.catch(() => {});
    // Large records may be more than all pieces hold.
    this.piece = this.spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.length = 0;
    this.start += length;
  }

  private async write(before: Promise<void>, piece: Buffer, length: number, position: number): Promise<void> {
    await before;
    for (let at = 0; at < length; ) at += await this.writeSome(piece.subarray(at, length), position + at);
    if (this.spare.length < PIECES) this.spare.push(piece);
    this.waiting--;
  }

  private async writeSome(bytes: Buffer, position: number): Promise<number> {
    try {
      if (this.fd < 0) this.fd = await openFile(this.path, constants.O_WRONLY | (this.isDirect ? DIRECT : 0));
      return (await writeAt(this.fd, bytes, 0, bytes.length, position)).bytesWritten;
    } catch (error) {
      if (!this.isDirect || (error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    }
    if (this.fd >= 0) await closeFile(this.fd);
    this.fd = -1;
    this.isDirect = false;
    return await this.writeSome(bytes, position);
  }
}
