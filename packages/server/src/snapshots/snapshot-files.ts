import type { Backend } from '@etsd/backend';
import { errorFrom, type Logger, OperatorError, RingQueue } from '@etsd/base';
import { type DiskFile, removeGradually, type World } from '@etsd/runtime';
import { type KeptKeys, keptKeys } from '@etsd/state';
import { PIECE_BYTES } from '../api/snapshot.ts';
import { temporaryPath } from './file-names.ts';
import { type FrozenState, readFrozenState, v2ChangesOf } from './frozen-state.ts';
import { type Pace, pacer } from './pace.ts';
import type { SnapshotMetrics } from './snapshot-metrics.ts';
import { writeStoreToBolt } from './store-file.ts';
import { pauser } from './turns.ts';

/** Room that a snapshot must leave on the disk. */
const SPARE_BYTES = 64 * 1024 * 1024;
/** Files that exist at a time: each is as large as the store. */
const FILES_MAX = 3;

export interface SnapshotFilesParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  /** Where the files are made. */
  readonly directory: string;
  readonly backend: Backend;
  readonly metrics: SnapshotMetrics;
  /** Whether those who read the files are to be given pieces no faster than others can bear, while there are others. */
  readonly isPaced: boolean;
  /** What begins the files' names, so that two of these do not get in each other's way. */
  readonly prefix: string;
  /** Puts into the backend up to where the log is applied. */
  readonly saveProgress: () => void;
  /** Whether the keys of etcd 2 are wanted beside the file. */
  readonly hasKeys: boolean;
  /** Whether somebody is served who should not feel this work. */
  readonly isBusy: () => boolean;
}

interface OpenSnapshot {
  readonly size: number;
  readonly state: FrozenState;
  readonly keys: KeptKeys | null;
  readonly file: DiskFile;
  readonly release: () => void;
  /** Says when it is time for a piece, and its bytes at most. */
  readonly pace: Pace;
}

/** A bbolt file of the state of one moment. Must be closed, which removes it. */
export class SnapshotFile {
  /** Bytes. */
  readonly size: number;
  readonly state: FrozenState;
  /** The keys of etcd 2, which are not in the file; null where nobody wants them. */
  readonly keys: KeptKeys | null;
  private readonly file: DiskFile;
  private readonly release: () => void;
  private readonly pace: Pace;
  private position = 0;
  private isReading = false;
  private isClosed = false;

  constructor({ size, state, keys, file, release, pace }: OpenSnapshot) {
    this.size = size;
    this.state = state;
    this.keys = keys;
    this.file = file;
    this.release = release;
    this.pace = pace;
  }

  /** The next piece, in this memory or in a buffer of its own; null at the end, or once it was closed. One at a time. */
  async read(memory: Buffer | null = null): Promise<Buffer | null> {
    if (this.position === this.size || this.isClosed) return null;
    this.isReading = true;
    try {
      const length = Math.min(await this.pace(), this.size - this.position);
      const piece = memory === null ? Buffer.allocUnsafeSlow(length) : memory.subarray(0, length);
      await this.fill(piece);
      this.position += length;
      return piece;
    } finally {
      this.isReading = false;
      if (this.isClosed) this.release();
    }
  }

  private fill(piece: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.file.read(piece, 0, piece.length, this.position, (error, bytesRead) => {
        if (error !== null) reject(error);
        else if (bytesRead < piece.length) reject(new Error(`${this.file.path} was cut while it was read`));
        else resolve();
      });
    });
  }

  /** May be called more than once, also while a read is under way. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (!this.isReading) this.release();
  }
}

/**
 * Makes bbolt files of the store, one after the other, while everything else goes on. The state is frozen in the moment a
 * file is begun, so each contains everything that was applied before it was asked for. A file is written first and sent
 * afterwards: its size is known then, and the store is held frozen only as long as the disk takes, not the receiver.
 */
export class SnapshotFiles {
  private readonly parts: SnapshotFilesParts;
  private readonly waiting = new RingQueue<() => void>();
  private present = 0;
  private isWriting = false;
  private made = 0;

  constructor(parts: SnapshotFilesParts) {
    this.parts = parts;
  }

  /** A file of the present state; waits its turn. `isWanted` is asked when that comes: null where nobody wants it. */
  async take(isWanted: () => boolean = () => true): Promise<SnapshotFile | null> {
    while (this.isWriting || this.present >= FILES_MAX) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    if (!isWanted()) {
      this.wakeNext();
      return null;
    }
    this.isWriting = true;
    this.present++;
    try {
      return await this.write();
    } catch (error) {
      this.present--;
      throw error;
    } finally {
      this.isWriting = false;
      this.wakeNext();
    }
  }

  private wakeNext(): void {
    this.waiting.take()?.();
  }

  private async write(): Promise<SnapshotFile> {
    const { world, backend, directory, logger, metrics, prefix, saveProgress, isBusy, hasKeys } = this.parts;
    const { disk, clock } = world;
    await this.checkRoom();
    const path = temporaryPath(directory, `${prefix}-${++this.made}`);
    await disk.remove(path);
    saveProgress();
    const frozen = backend.snapshot();
    const startMs = clock.nowMs();
    let size: number;
    let state: FrozenState;
    let keys: KeptKeys | null;
    try {
      state = readFrozenState(frozen);
      keys = hasKeys ? keptKeys(frozen, v2ChangesOf(state)) : null;
      size = await writeStoreToBolt(frozen, disk, path, {
        pause: pauser(world, { isBusy }),
        isDurable: false,
        isSealed: true,
      });
    } finally {
      frozen.close();
    }
    const { index, term } = state;
    const tookMs = clock.nowMs() - startMs;
    metrics.made.observe(tookMs / 1000);
    logger.log('info', 'made a database snapshot', { index, term, bytes: size, took: `${tookMs.toFixed(1)}ms` });
    const file = await disk.open(path, 'read');
    const release = () => this.release(file);
    return new SnapshotFile({ size, state, keys, file, release, pace: this.pacer() });
  }

  private pacer(): Pace {
    const { world, isBusy, isPaced } = this.parts;
    return isPaced ? pacer(world, isBusy) : () => Promise.resolve(PIECE_BYTES);
  }

  private async checkRoom(): Promise<void> {
    const { world, backend, directory } = this.parts;
    const needed = backend.inUseBytes() + SPARE_BYTES;
    const free = await world.disk.freeBytes(directory);
    if (free >= needed) return;
    throw new OperatorError(
      `no room on the disk of ${directory} for a snapshot: ${free} bytes are free, ${needed} are needed`,
      'Free space on that disk, then try again.',
    );
  }

  /** Whoever waits for room gets it in any case: a file that cannot be removed is removed at the next start. */
  private release(file: DiskFile): void {
    const { world } = this.parts;
    const freed = (): void => {
      this.present--;
      this.wakeNext();
    };
    file
      .close()
      .then(() => removeGradually(world, file.path))
      .then(freed, (error: unknown) => {
        this.parts.logger.log('warn', 'cannot remove a snapshot file', {
          path: file.path,
          error: errorFrom(error).message,
        });
        freed();
      });
  }
}
