/**
 * Group commit: whatever is saved while the disk works on one batch becomes the next batch. Two buffers take turns, so
 * that gathering never waits and nothing is allocated per batch:
 *
 *     save ─▶ gathering ──(idle: end of turn; busy: when the disk is done)──▶ flying ─▶ one write, durable ─▶ callbacks
 *        ▲                                                                                      │
 *        └──────────────────────────── the buffers change places ◀──────────────────────────────┘
 *
 * Records that need not be durable (a moved commit index) wait in the buffer for company and are never written alone.
 *
 * After one failure nothing is written any more and every callback gets that failure: what a failed write or sync left
 * on the medium cannot be known, and the kernel may report success for a second try that wrote nothing.
 */
import type { DiskCallback, Timers } from '@etsd/runtime';
import { BATCH_BYTES_INITIAL, BATCH_BYTES_KEPT } from './limits.ts';
import { BatchBuffer } from './record.ts';
import type { SegmentName } from './segment.ts';

/** Records to be written in one go, and those who wait for it. */
export class Batch extends BatchBuffer {
  /** The segment that these records open; `null` where they go on with the one before. */
  opens: SegmentName | null = null;
  /** Somebody waits for durability. */
  isUrgent = false;
  callbacks: DiskCallback[] = [];

  constructor() {
    super(BATCH_BYTES_INITIAL, BATCH_BYTES_KEPT);
  }
}

/** Where batches go. */
export interface BatchSink {
  /** `batch` takes no more records; `next` does from now on. Called right before `writeBatch`. */
  sealed(batch: Batch, next: Batch): void;
  /** Makes the batch durable, then calls `done`. Never called again before that. */
  writeBatch(batch: Batch, done: DiskCallback): void;
}

export class GroupCommit {
  /** Takes the records saved now. */
  gathering = new Batch();
  /** Why nothing is written any more. */
  failure: Error | null = null;
  private flying = new Batch();
  private isFlying = false;
  private isScheduled = false;
  private isAnswering = false;
  /** Takes the place of a batch's list of callbacks while they are called, since they may save again. */
  private spareCallbacks: DiskCallback[] | null = [];
  private readonly sink: BatchSink;
  private readonly timers: Timers;

  constructor(sink: BatchSink, timers: Timers) {
    this.sink = sink;
    this.timers = timers;
  }

  /** Whether everybody who waited has been answered. */
  get isIdle(): boolean {
    return !this.isFlying && !this.isAnswering && this.gathering.callbacks.length === 0;
  }

  /**
   * Registers who waits for the records just put into `gathering`. Callbacks are called in the order of registration;
   * one that needs no durability is called at once if nobody is before it.
   */
  add(mustSync: boolean, done: DiskCallback): void {
    if (this.isIdle && (!mustSync || this.failure !== null)) {
      done(this.failure);
      return;
    }
    this.gathering.callbacks.push(done);
    if (!mustSync || this.gathering.isUrgent) return;
    this.gathering.isUrgent = true;
    if (this.isFlying || this.isScheduled) return;
    this.isScheduled = true;
    this.timers.endOfTurn(this.onEndOfTurn);
  }

  /** Starts writing what has been gathered, if somebody waits for it and the disk is free. */
  flush(): void {
    const batch = this.gathering;
    if (this.isFlying || this.failure !== null || !batch.isUrgent) return;
    this.isFlying = true;
    this.gathering = this.flying;
    this.flying = batch;
    this.sink.sealed(batch, this.gathering);
    this.sink.writeBatch(batch, this.onWritten);
  }

  private readonly onEndOfTurn = (): void => {
    this.isScheduled = false;
    this.flush();
  };

  private readonly onWritten = (error: Error | null): void => {
    this.isFlying = false;
    this.failure ??= error;
    const batch = this.flying;
    const callbacks = this.detachCallbacks(batch);
    batch.reset();
    batch.isUrgent = false;
    batch.opens = null;
    // The disk gets its next batch before the callbacks run: they have work to do while it is busy.
    this.flush();
    this.call(callbacks);
    this.settle();
  };

  /** Answers those who have nothing to wait for: all after a failure, otherwise those without urgency. */
  private settle(): void {
    while (!this.isFlying && !this.isAnswering && this.gathering.callbacks.length > 0) {
      if (this.failure === null && this.gathering.isUrgent) return;
      this.call(this.detachCallbacks(this.gathering));
    }
  }

  private detachCallbacks(batch: Batch): DiskCallback[] {
    const callbacks = batch.callbacks;
    batch.callbacks = this.spareCallbacks ?? [];
    this.spareCallbacks = null;
    return callbacks;
  }

  private call(callbacks: DiskCallback[]): void {
    const failure = this.failure;
    this.isAnswering = true;
    for (let index = 0; index < callbacks.length; index++) (callbacks[index] as DiskCallback)(failure);
    this.isAnswering = false;
    callbacks.length = 0;
    this.spareCallbacks = callbacks;
  }
}
