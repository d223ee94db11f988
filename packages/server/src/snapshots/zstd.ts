/** Files under zstd, made and read as streams: memory is a few pieces and the window of the format, however long the file. */
import { constants, createZstdCompress, createZstdDecompress, type ZstdCompress, type ZstdDecompress } from 'node:zlib';
import { CorruptionError, errorFrom } from '@etsd/base';
import { type Disk, type DiskFile, hasCode } from '@etsd/runtime';

/** What a frame of zstd begins with (RFC 8878, section 3.1.1), read as a number with the low byte first. */
const MAGIC = 0xfd2fb528;
const PIECE_BYTES = 256 * 1024;
/** The level at which it is about as fast as a disk. */
export const ZSTD_LEVEL = 3;

/** Whether the file begins as one of zstd does. */
export async function isZstd(disk: Disk, path: string): Promise<boolean> {
  const file = await disk.open(path, 'read');
  try {
    const head = await readPiece(file, 0, 4);
    return head.length === 4 && head.readUInt32LE(0) === MAGIC;
  } finally {
    await file.close();
  }
}

/** The content as one frame, with a checksum, in pieces. */
export async function* zstdPacked(content: AsyncIterable<Buffer>, level = ZSTD_LEVEL): AsyncGenerator<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 };
  const packer = createZstdCompress({ params });
  yield* through(packer, content);
}

/**
 * The content of a file of one or more frames, in pieces. Throws a `CorruptionError` where the file was cut or is not
 * what was written. `read` is shown the file's own bytes, each once, in order, and to the end before this returns.
 */
export async function* zstdUnpacked(
  disk: Disk,
  path: string,
  read: (bytes: Buffer) => void = () => {},
): AsyncGenerator<Buffer> {
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    let at = 0;
    let shownTo = 0;
    // What lies behind the end of a frame is read again for the next one.
    async function* shown(pieces: AsyncGenerator<Buffer>, from: number): AsyncGenerator<Buffer> {
      let end = from;
      for await (const piece of pieces) {
        end += piece.length;
        if (end > shownTo) {
          read(piece.subarray(piece.length - (end - shownTo)));
          shownTo = end;
        }
        yield piece;
      }
    }
    do {
      const unpacker = createZstdDecompress();
      try {
        yield* through(unpacker, shown(filePieces(file, at, size), at));
      } catch (error) {
        if (!isZstdError(error)) throw error;
        const where = `${path}, behind byte ${at + unpacker.bytesWritten}`;
        const advice = 'Use another copy of this file.';
        throw new CorruptionError(`zstd: ${errorFrom(error).message}`, where, advice, { cause: error });
      }
      at += unpacker.bytesWritten;
    } while (at < size);
  } finally {
    await file.close();
  }
}

function isZstdError(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return hasCode(error, 'Z_BUF_ERROR') || String(error.code).startsWith('ZSTD_error');
}

/** What comes out of a transformation of the content, which is read no faster than that is taken. */
async function* through(
  transform: ZstdCompress | ZstdDecompress,
  content: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  let isOver = false;
  let wake = (): void => {};
  const over = (): void => {
    isOver = true;
    wake();
  };
  // A frame may end before what it is read from: nobody is to hear of what lies behind.
  transform.on('end', over).on('close', over).on('error', over);
  transform.on('drain', () => wake());
  const feed = async (): Promise<void> => {
    for await (const piece of content) {
      if (isOver) return;
      if (!transform.write(piece) && !isOver) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (isOver) return;
    }
    transform.end();
  };
  const feeding = feed().catch((error: unknown) => {
    transform.destroy(errorFrom(error));
  });
  try {
    for await (const piece of transform) yield piece as Buffer;
  } finally {
    transform.destroy();
    over();
    await feeding;
  }
}

/** A file from one position to another, in pieces that are not used again. */
export async function* filePieces(file: DiskFile, from: number, to: number): AsyncGenerator<Buffer> {
  for (let at = from; at < to; ) {
    const piece = await readPiece(file, at, Math.min(PIECE_BYTES, to - at));
    if (piece.length === 0) throw new Error(`${file.path} was cut while it was read`);
    yield piece;
    at += piece.length;
  }
}

function readPiece(file: DiskFile, position: number, length: number): Promise<Buffer> {
  const target = Buffer.allocUnsafe(length);
  return new Promise((resolve, reject) => {
    file.read(target, 0, length, position, (error, bytesRead) => {
      if (error !== null) reject(error);
      else resolve(target.subarray(0, bytesRead));
    });
  });
}

/** Writes a new file, synced in parts and at the end, encrypted where the disk encrypts; bytes of content. Removes it where that fails. */
export async function writeNewFile(disk: Disk, path: string, content: AsyncIterable<Buffer>): Promise<number> {
  const file = await disk.open(path, 'create', { sealed: true });
  try {
    let at = 0;
    let unsynced = 0;
    for await (const piece of content) {
      await new Promise<void>((resolve, reject) => {
        file.write(piece, 0, piece.length, at, (error) => (error === null ? resolve() : reject(error)));
      });
      at += piece.length;
      unsynced += piece.length;
      if (unsynced >= SYNC_BYTES) {
        await synced(file);
        unsynced = 0;
      }
    }
    await synced(file);
    await file.close();
    return at;
  } catch (error) {
    await file.close();
    await disk.remove(path);
    throw error;
  }
}

/** Written between two syncs, so that none of them is long. */
const SYNC_BYTES = 4 * 1024 * 1024;

function synced(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))));
}
