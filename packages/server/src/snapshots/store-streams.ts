import type { Backend, FrozenFile } from '@etsd/backend';
import { errorFrom, type Logger, RingQueue } from '@etsd/base';
import { removeGradually, type Talk, type Timer, type World } from '@etsd/runtime';
import type { SentFile, SnapshotFileSource } from '../api/snapshot.ts';
import { temporaryPath } from './file-names.ts';
import type { Pace } from './pace.ts';
import type { SnapshotMetrics } from './snapshot-metrics.ts';
import { LEAVE, type Said, SLOT_BYTES, type StreamTask } from './store-stream-thread.ts';

const SLOTS = 4;
/** Streams at a time; each has a thread. */
const STREAMS_MAX = 2;
/** How often a thread is told whether others are busy. */
const BUSY_EVERY_MS = 20;
/**
 * How long the store is held for a receiver: pages that are written meanwhile can not be used again. So long for any, and
 * longer for one that takes so many bytes in a millisecond. For a slower one the rest is put aside on the disk.
 */
const HELD_MS = 60_000;
const HELD_BYTES_PER_MS = 8000;
/** Room that must be left on the disk. */
const SPARE_BYTES = 64 * 1024 * 1024;

const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const THREAD_MODULE = new URL(`./store-stream-thread.${EXTENSION}`, import.meta.url).href;

export interface StoreStreamsParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers' | 'workers'>;
  readonly logger: Logger;
  /** Where bytes are put aside. */
  readonly directory: string;
  readonly backend: Backend;
  readonly metrics: SnapshotMetrics;
  readonly saveProgress: () => void;
  readonly isBusy: () => boolean;
  /** How fast a receiver is given what there is. */
  readonly newPace: () => Pace;
  /** Of `HELD_MS`, which is the default. */
  readonly heldMs?: number;
  /** Takes over where there is no file, or no thread. */
  readonly files: SnapshotFileSource;
}

/**
 * Sends the store to clients straight from its own file, by a thread for each.
 *
 * ```
 *   store's file ──▶ thread: a bbolt file, made twice ──▶ slots ──▶ event loop: a piece when it is time ──▶ client
 *   (held)           size ▶ bytes … ▶ digest                ◀── number of a slot that is free, or "leave" ──
 * ```
 * Nothing is written to the disk, unless the client is so slow that the store can not be held for it: then the thread is
 * told to leave, and puts the rest aside.
 */
export class StoreStreams implements SnapshotFileSource {
  private readonly parts: StoreStreamsParts;
  private readonly waiting = new RingQueue<() => void>();
  private readonly open = new Set<StoreStream>();
  private isStopped = false;
  private present = 0;
  private made = 0;

  constructor(parts: StoreStreamsParts) {
    this.parts = parts;
  }

  async take(isWanted: () => boolean = () => true): Promise<SentFile | null> {
    const { backend, files, saveProgress, world } = this.parts;
    // What is put aside would not be encrypted.
    if (world.disk.sealing?.isOn === true) return files.take(isWanted);
    while (this.present >= STREAMS_MAX) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.isStopped || !isWanted()) {
      this.waiting.take()?.();
      return null;
    }
    this.present++;
    let stream: StoreStream | null = null;
    try {
      saveProgress();
      const frozen = await backend.freezeFile();
      if (frozen !== null) stream = this.begin(frozen);
      if (stream === null) frozen?.close();
      else await stream.begun();
    } catch (error) {
      if (stream === null) this.ended();
      else stream.close();
      throw error;
    }
    if (stream !== null) return stream;
    this.ended();
    return files.take(isWanted);
  }

  /** Nothing is sent any more: the store is about to be closed. */
  stop(): void {
    this.isStopped = true;
    for (const stream of this.open) stream.close();
  }

  private begin(frozen: FrozenFile): StoreStream | null {
    const { directory } = this.parts;
    const asidePath = temporaryPath(directory, `aside-${++this.made}`);
    const stream: StoreStream | null = StoreStream.begin(this.parts, frozen, asidePath, () => {
      if (stream !== null) this.open.delete(stream);
      this.ended();
    });
    if (stream !== null) this.open.add(stream);
    return stream;
  }

  private ended(): void {
    this.present--;
    this.waiting.take()?.();
  }
}

/** Bytes of a slot that are not all taken. */
interface Filled {
  readonly slot: number;
  readonly length: number;
  at: number;
}

class StoreStream implements SentFile {
  size = 0;
  private readonly parts: StoreStreamsParts;
  private readonly frozen: FrozenFile;
  private readonly asidePath: string;
  private readonly ended: () => void;
  private readonly memory: Buffer;
  private readonly busy = new Int32Array(new SharedArrayBuffer(4));
  private readonly pace: Pace;
  private readonly startMs: number;
  private readonly ticks: Timer;
  private talk: Talk | null = null;
  private readonly filled = new RingQueue<Filled>();
  private digestBytes: Buffer | null = null;
  private failure: Error | null = null;
  private wake: (() => void) | null = null;
  private isHeld = true;
  private isLeaving = false;
  private hasAside = false;
  private isClosed = false;

  private constructor(parts: StoreStreamsParts, frozen: FrozenFile, asidePath: string, ended: () => void) {
    this.parts = parts;
    this.frozen = frozen;
    this.asidePath = asidePath;
    this.ended = ended;
    this.pace = parts.newPace();
    this.startMs = parts.world.clock.nowMs();
    this.memory = Buffer.from(new SharedArrayBuffer(SLOTS * SLOT_BYTES));
    this.ticks = parts.world.timers.every(BUSY_EVERY_MS, () => this.tick(), { ref: false });
  }

  /** Null where there are no threads. */
  static begin(parts: StoreStreamsParts, frozen: FrozenFile, asidePath: string, ended: () => void): StoreStream | null {
    const stream = new StoreStream(parts, frozen, asidePath, ended);
    stream.tick();
    const { path, fd } = frozen;
    const task: StreamTask = { path, fd, slots: stream.memory.buffer as never, busy: stream.busy, asidePath };
    stream.talk = parts.world.workers.talk(THREAD_MODULE, 'streamStore', [task], {
      heard: (message) => stream.heard(message as Said),
      ended: (error) => stream.threadEnded(error),
    });
    if (stream.talk === null) {
      stream.ticks.cancel();
      return null;
    }
    for (let slot = 0; slot < SLOTS; slot++) stream.talk.say(slot);
    return stream;
  }

  /** Resolves when the size is known. */
  async begun(): Promise<void> {
    while (this.size === 0) await this.news();
  }

  async read(memory: Buffer | null): Promise<Buffer | null> {
    const wanted = await this.pace();
    while (this.filled.length === 0) {
      if (this.digestBytes !== null || this.isClosed) return null;
      await this.news();
    }
    if (this.isClosed) return null;
    const filled = this.filled.at(0) as Filled;
    const length = Math.min(wanted, filled.length - filled.at);
    const piece = memory === null ? Buffer.allocUnsafeSlow(length) : memory.subarray(0, length);
    const start = filled.slot * SLOT_BYTES + filled.at;
    this.memory.copy(piece, 0, start, start + length);
    filled.at += length;
    if (filled.at === filled.length) {
      this.filled.take();
      this.talk?.say(filled.slot);
    }
    return piece;
  }

  /** Of everything, once it was read. */
  digest(): Buffer {
    return this.digestBytes as Buffer;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.ticks.cancel();
    this.wakeUp();
    // The thread reads the file that is held.
    void this.talk?.close().then(() => this.closed());
  }

  private closed(): void {
    const { world, logger } = this.parts;
    this.release();
    this.ended();
    if (!this.hasAside) return;
    removeGradually(world, this.asidePath).catch((error: unknown) => {
      logger.log('warn', 'cannot remove a snapshot file', { path: this.asidePath, error: errorFrom(error).message });
    });
  }

  private release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.frozen.close();
  }

  private heard(message: Said): void {
    if ('size' in message) this.size = message.size;
    else if ('slot' in message) this.filled.push({ slot: message.slot, length: message.length, at: 0 });
    else if ('isReleased' in message) this.released();
    else this.digestBytes = Buffer.from(message.digest);
    this.wakeUp();
  }

  private released(): void {
    const { clock } = this.parts.world;
    this.release();
    this.parts.metrics.made.observe((clock.nowMs() - this.startMs) / 1000);
  }

  private threadEnded(error: Error | null): void {
    if (this.digestBytes === null) this.failure = error ?? new Error('the thread of a snapshot has ended');
    this.wakeUp();
  }

  private async news(): Promise<void> {
    if (this.failure === null) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    if (this.failure !== null) throw this.failure;
  }

  private wakeUp(): void {
    const { wake } = this;
    this.wake = null;
    wake?.();
  }

  private tick(): void {
    Atomics.store(this.busy, 0, this.parts.isBusy() ? 1 : 0);
    const { world } = this.parts;
    const heldMs = (this.parts.heldMs ?? HELD_MS) + this.size / HELD_BYTES_PER_MS;
    if (this.size === 0 || !this.isHeld || this.isLeaving || world.clock.nowMs() - this.startMs < heldMs) return;
    this.isLeaving = true;
    void this.leave();
  }

  /** Where there is room, the rest waits on the disk. */
  private async leave(): Promise<void> {
    const { world, directory, logger } = this.parts;
    const free = await world.disk.freeBytes(directory).catch(() => 0);
    if (this.isClosed || !this.isHeld || free < this.size + SPARE_BYTES) return;
    logger.log('info', 'a slow client is sent the rest of a snapshot from a file', { path: this.asidePath });
    this.hasAside = true;
    this.talk?.say(LEAVE);
  }
}
