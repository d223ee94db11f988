/**
 * Encrypted files that are written in any order and read from anywhere. Behind the head (`Sealing`) the content stands in
 * chunks of one length, the last one shorter, each in a slot of its own:
 *
 *     nonce, 12 bytes │ the chunk, by GCM │ tag, 16 bytes
 *
 * Bound into the tag are the chunk's number and whether it is the last: no chunk can stand elsewhere or in another file, and
 * a file that was cut has no last one. A chunk that is written again gets another nonce. What a sync or closing left is
 * whole; a crash before may leave chunks that do not check, so such files get their name when they are done.
 */
import { CorruptionError, errorFrom } from '@etsd/base';
import type { DiskCallback, DiskFile, ReadCallback } from '../disk.ts';
import { NONCE_BYTES, TAG_BYTES } from './file-cipher.ts';
import { ADVICE_DAMAGED_FILE, SEAL_HEAD_BYTES, type SealedHead, type Sealing, SealKind } from './sealing.ts';

/** Bytes of content in a chunk. */
export const CHUNK_BYTES = 65_536;
/** A head that says more is none that was written. */
const CHUNK_BYTES_MAX = 16 * 1024 * 1024;
const OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES;
const BOUND_BYTES = 9;

class Chunk {
  readonly index: number;
  readonly bytes: Buffer;
  length = 0;
  isChanged = false;

  constructor(index: number, chunkBytes: number) {
    this.index = index;
    this.bytes = Buffer.allocUnsafeSlow(chunkBytes);
  }
}

function boundTo(index: number, isLast: boolean): Buffer {
  const bound = Buffer.alloc(BOUND_BYTES);
  bound.writeDoubleLE(index, 0);
  bound[8] = isLast ? 1 : 0;
  return bound;
}

/** Bytes of content in a file of this length, or −1 where no file has it. */
function contentBytes(fileBytes: number, chunkBytes: number): number {
  const slot = chunkBytes + OVERHEAD_BYTES;
  const bytes = fileBytes - SEAL_HEAD_BYTES;
  const rest = bytes % slot;
  if (bytes <= 0 || (rest > 0 && rest < OVERHEAD_BYTES)) return -1;
  return Math.floor(bytes / slot) * chunkBytes + Math.max(0, rest - OVERHEAD_BYTES);
}

export class SealedFile implements DiskFile {
  readonly path: string;
  private readonly file: DiskFile;
  private readonly head: SealedHead;
  private length: number;
  private current: Chunk | null = null;
  /** The chunk that is marked as the last one in the file; −1 for none. */
  private marked: number;
  private isHeadWritten: boolean;
  private running: Promise<void> = Promise.resolve();

  private constructor(file: DiskFile, head: SealedHead, length: number, isNew: boolean) {
    this.path = file.path;
    this.file = file;
    this.head = head;
    this.length = length;
    this.marked = isNew ? -1 : this.last;
    this.isHeadWritten = !isNew;
  }

  /** Over a file that is empty. */
  static create(file: DiskFile, sealing: Sealing): SealedFile {
    return new SealedFile(file, sealing.begin(SealKind.file, '', CHUNK_BYTES), 0, true);
  }

  /** Over a file that was written so. */
  static async open(file: DiskFile, sealing: Sealing): Promise<SealedFile> {
    const fileBytes = await file.size();
    const bytes = Buffer.alloc(Math.min(SEAL_HEAD_BYTES, fileBytes));
    await readAt(file, bytes, 0);
    const head = sealing.open(bytes, SealKind.file, '', file.path);
    const isSane = head.chunkBytes > 0 && head.chunkBytes <= CHUNK_BYTES_MAX;
    const length = isSane ? contentBytes(fileBytes, head.chunkBytes) : -1;
    if (length < 0) throw damage(file.path, fileBytes, 'an encrypted file was cut');
    return new SealedFile(file, head, length, false);
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    this.follow(() => this.put(bytes, start, end, position), done);
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    let count = 0;
    this.follow(
      async () => {
        count = await this.get(target, start, end, position);
      },
      (error) => done(error, count),
    );
  }

  dataSync(done: DiskCallback): void {
    this.follow(async () => {
      await this.finish();
      await new Promise<void>((resolve, reject) => this.file.dataSync(settle(resolve, reject)));
    }, done);
  }

  sync(done: DiskCallback): void {
    this.follow(async () => {
      await this.finish();
      await new Promise<void>((resolve, reject) => this.file.sync(settle(resolve, reject)));
    }, done);
  }

  truncate(): Promise<void> {
    return Promise.reject(new Error(`${this.path} is encrypted: it is not cut`));
  }

  async size(): Promise<number> {
    return this.length;
  }

  async close(): Promise<void> {
    try {
      await this.running;
      if (!this.isFinished) await this.finish();
    } finally {
      await this.file.close();
    }
  }

  /** One operation after the other: they share the chunk in memory. */
  private follow(run: () => Promise<void>, done: DiskCallback): void {
    const before = this.running;
    const mine = before.then(run);
    this.running = mine.catch(() => {});
    mine.then(
      () => done(null),
      (error: unknown) => done(errorFrom(error)),
    );
  }

  private get last(): number {
    return Math.max(0, Math.ceil(this.length / this.head.chunkBytes) - 1);
  }

  private get isFinished(): boolean {
    return this.isHeadWritten && this.marked === this.last && this.current?.isChanged !== true;
  }

  private async put(bytes: Buffer, start: number, end: number, position: number): Promise<void> {
    const { chunkBytes } = this.head;
    // What is skipped is zeros, as in any file.
    while (position > this.length) {
      const hole = Math.min(position - this.length, chunkBytes);
      await this.put(Buffer.alloc(hole), 0, hole, this.length);
    }
    for (let at = start; at < end; ) {
      const place = position + at - start;
      const chunk = await this.chunk(Math.floor(place / chunkBytes));
      const within = place % chunkBytes;
      const length = Math.min(end - at, chunkBytes - within);
      bytes.copy(chunk.bytes, within, at, at + length);
      chunk.length = Math.max(chunk.length, within + length);
      chunk.isChanged = true;
      this.length = Math.max(this.length, place + length);
      at += length;
    }
  }

  private async get(target: Buffer, start: number, end: number, position: number): Promise<number> {
    const { chunkBytes } = this.head;
    const until = Math.min(end, start + Math.max(0, this.length - position));
    for (let at = start; at < until; ) {
      const place = position + at - start;
      const chunk = await this.chunk(Math.floor(place / chunkBytes));
      const within = place % chunkBytes;
      const length = Math.min(until - at, chunk.length - within);
      chunk.bytes.copy(target, at, within, within + length);
      at += length;
    }
    return Math.max(0, until - start);
  }

  /** The chunk, in memory; the one that was there before is written if it was changed. */
  private async chunk(index: number): Promise<Chunk> {
    if (this.current?.index === index) return this.current;
    if (this.current?.isChanged === true) await this.flush(this.current, false);
    this.current = null;
    const { chunkBytes, cipher } = this.head;
    const chunk = new Chunk(index, chunkBytes);
    const length = Math.min(chunkBytes, this.length - index * chunkBytes);
    if (length > 0 || (index === 0 && this.marked === 0)) {
      const slot = Buffer.allocUnsafe(length + OVERHEAD_BYTES);
      await readAt(this.file, slot, this.slotOf(index));
      const plain = cipher.open(slot, 0, length, NONCE_BYTES + length, boundTo(index, index === this.marked));
      if (plain === null)
        throw damage(this.path, this.slotOf(index), 'a chunk of an encrypted file is not what was written');
      plain.copy(chunk.bytes);
      chunk.length = length;
    }
    this.current = chunk;
    return chunk;
  }

  private slotOf(index: number): number {
    return SEAL_HEAD_BYTES + index * (this.head.chunkBytes + OVERHEAD_BYTES);
  }

  private async flush(chunk: Chunk, isLast: boolean): Promise<void> {
    await this.writeHead();
    const slot = Buffer.allocUnsafe(chunk.length + OVERHEAD_BYTES);
    this.head.cipher.seal(chunk.bytes, chunk.length, boundTo(chunk.index, isLast), slot, 0, NONCE_BYTES + chunk.length);
    await writeAt(this.file, slot, this.slotOf(chunk.index));
    chunk.isChanged = false;
    if (isLast) this.marked = chunk.index;
    else if (this.marked === chunk.index) this.marked = -1;
  }

  private async writeHead(): Promise<void> {
    if (this.isHeadWritten) return;
    await writeAt(this.file, this.head.bytes, 0);
    this.isHeadWritten = true;
  }

  /** Everything is in the file, and its end is marked. */
  private async finish(): Promise<void> {
    if (this.isFinished) return;
    const { last, marked } = this;
    if (marked >= 0 && marked !== last) await this.flush(await this.chunk(marked), false);
    await this.flush(await this.chunk(last), true);
  }
}

/** The same file as a stream: content goes in, in any pieces, and what is to be written comes out. */
export async function* sealedStream(content: AsyncIterable<Buffer>, sealing: Sealing): AsyncGenerator<Buffer> {
  const { bytes, cipher } = sealing.begin(SealKind.file, '', CHUNK_BYTES);
  yield bytes;
  const slot = (chunk: Buffer, index: number, isLast: boolean): Buffer => {
    const target = Buffer.allocUnsafe(chunk.length + OVERHEAD_BYTES);
    cipher.seal(chunk, chunk.length, boundTo(index, isLast), target, 0, NONCE_BYTES + chunk.length);
    return target;
  };
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let length = 0;
  let index = 0;
  for await (const piece of content) {
    for (let at = 0; at < piece.length; ) {
      // A full one is held back until more comes: it may be the last.
      if (length === CHUNK_BYTES) {
        yield slot(chunk, index++, false);
        length = 0;
      }
      const taken = piece.copy(chunk, length, at);
      length += taken;
      at += taken;
    }
  }
  yield slot(chunk.subarray(0, length), index, true);
}

/** Makes the content of an encrypted file out of plain content, as a whole. */
export async function sealContent(content: Buffer, sealing: Sealing): Promise<Buffer> {
  const pieces = new MemoryFile('', Buffer.alloc(0));
  const file = SealedFile.create(pieces, sealing);
  await writeAt(file, content, 0);
  await file.close();
  return pieces.bytes;
}

/** The plain content out of that of an encrypted file. */
export async function openContent(bytes: Buffer, path: string, sealing: Sealing): Promise<Buffer> {
  const file = await SealedFile.open(new MemoryFile(path, bytes), sealing);
  const content = Buffer.alloc(await file.size());
  await readAt(file, content, 0);
  return content;
}

/** Bytes in memory, as a file. */
class MemoryFile implements DiskFile {
  readonly path: string;
  bytes: Buffer;

  constructor(path: string, bytes: Buffer) {
    this.path = path;
    this.bytes = bytes;
  }

  write(bytes: Buffer, start: number, end: number, position: number, done: DiskCallback): void {
    const missing = position + end - start - this.bytes.length;
    if (missing > 0) this.bytes = Buffer.concat([this.bytes, Buffer.alloc(missing)]);
    bytes.copy(this.bytes, position, start, end);
    done(null);
  }

  read(target: Buffer, start: number, end: number, position: number, done: ReadCallback): void {
    done(null, this.bytes.copy(target, start, position, position + end - start));
  }

  dataSync(done: DiskCallback): void {
    done(null);
  }

  sync(done: DiskCallback): void {
    done(null);
  }

  truncate(): Promise<void> {
    return Promise.reject(new Error('nothing is cut here'));
  }

  async size(): Promise<number> {
    return this.bytes.length;
  }

  async close(): Promise<void> {}
}

function damage(path: string, position: number, problem: string): CorruptionError {
  return new CorruptionError(problem, `${path} at byte ${position}`, ADVICE_DAMAGED_FILE);
}

function settle(resolve: () => void, reject: (error: Error) => void): DiskCallback {
  return (error) => (error === null ? resolve() : reject(error));
}

function writeAt(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => file.write(bytes, 0, bytes.length, position, settle(resolve, reject)));
}

function readAt(file: DiskFile, target: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.read(target, 0, target.length, position, (error, count) => {
      if (error !== null) reject(error);
      else if (count < target.length) reject(damage(file.path, position + count, 'an encrypted file was cut'));
      else resolve();
    });
  });
}
