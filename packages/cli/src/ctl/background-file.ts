import { type FileHandle, open } from 'node:fs/promises';

/** Handed to the disk at once. */
const PIECE_BYTES = 1024 * 1024;
/** Pieces that are filled or written at a time. */
const PIECES = 3;
/** Written between two syncs: the disk is kept busy from the beginning, and little is left for the end. */
const SYNC_BYTES = 32 * 1024 * 1024;

/** A new file that is written and synced while more of it comes in. */
export class BackgroundFile {
  private readonly file: FileHandle;
  private readonly spare: Buffer[] = [];
  private piece: Buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  private length = 0;
  private position = 0;
  private unsynced = 0;
  /** Of all pieces that were handed over, one after the other. */
  private written: Promise<void> = Promise.resolve();
  private waiting = 0;
  private syncing: Promise<void> | null = null;
  private failure: unknown = null;

  private constructor(file: FileHandle) {
    this.file = file;
  }

  /** Replaces what is at `path`; for its owner alone. */
  static async create(path: string): Promise<BackgroundFile> {
    return new BackgroundFile(await open(path, 'w', 0o600));
  }

  /** Takes a copy. Resolves when there is room for more; rejects where the disk refused what came before. */
  async add(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(PIECE_BYTES - this.length, bytes.length - at);
      bytes.copy(this.piece, this.length, at, at + length);
      this.length += length;
      at += length;
      if (this.length === PIECE_BYTES) this.hand();
      if (this.waiting >= PIECES - 1) await this.written;
      if (this.failure !== null) throw this.failure;
    }
  }

  /** Resolves when everything is on disk. */
  async finish(): Promise<void> {
    if (this.length > 0) this.hand();
    await this.written;
    await this.syncing;
    if (this.failure !== null) throw this.failure;
    await this.file.sync();
  }

  /** Also of a file that is given up. */
  async close(): Promise<void> {
    await this.written;
    await this.syncing;
    await this.file.close();
  }

  private hand(): void {
    const { piece, length, position } = this;
    this.waiting++;
    this.written = this.written.then(() => this.write(piece, length, position));
    this.position += length;
    this.piece = this.spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.length = 0;
  }

  /** Does not reject: whoever adds or finishes is told. */
  private async write(piece: Buffer, length: number, position: number): Promise<void> {
    try {
      for (let at = 0; at < length && this.failure === null; ) {
        at += (await this.file.write(piece, at, length - at, position + at)).bytesWritten;
      }
      this.unsynced += length;
      if (this.unsynced >= SYNC_BYTES && this.syncing === null) this.sync();
    } catch (error) {
      this.failure ??= error;
    }
    this.spare.push(piece);
    this.waiting--;
  }

  private sync(): void {
    this.unsynced = 0;
    this.syncing = this.file.datasync().then(
      () => {
        this.syncing = null;
      },
      (error: unknown) => {
        this.failure ??= error;
      },
    );
  }
}
