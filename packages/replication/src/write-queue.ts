import { assert, faultPoint, RingQueue } from '@etsd/base';
import { type Entry, type HardState, type RaftSnapshot, WalSnapshot } from '@etsd/proto';
import type { PendingWrite, Ready } from '@etsd/raft';
import type { Clock } from '@etsd/runtime';
import type { SnapshotInstaller } from './applier.ts';
import type { LogStore } from './log-store.ts';
import type { LogTimes } from './log-times.ts';

/** A write that waits for a snapshot to be installed. */
class HeldWrite {
  readonly write: PendingWrite;
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
  readonly snapshot: RaftSnapshot | null;

  constructor(write: PendingWrite, ready: Ready) {
    this.write = write;
    this.hardState = ready.hardState;
    this.entries = ready.entries.slice(ready.entriesFrom, ready.entriesTo);
    this.snapshot = write.snapshotIndex > 0 ? ready.snapshot : null;
  }
}

export interface WriteQueueParts {
  readonly log: LogStore;
  readonly clock: Clock;
  readonly installer: SnapshotInstaller | null;
  readonly times: LogTimes;
  /** The oldest write is durable. */
  readonly durable: (write: PendingWrite) => void;
  /** The state is that of a snapshot now. */
  readonly installed: (index: number) => void;
  readonly failed: (error: Error) => void;
}

/**
 * Gives raft's writes to the log, in order. Usually that is one call each; a write with a snapshot first has it
 * installed, and what follows waits: the log must not speak of entries behind a state that is not there yet.
 */
export class WriteQueue {
  private readonly parts: WriteQueueParts;
  /** Given to the log and not durable, oldest first. */
  private readonly underWay: RingQueue<PendingWrite> = new RingQueue();
  /** When they were given to it. */
  private readonly givenMs: RingQueue<number> = new RingQueue();
  /** Writes that became durable. */
  finished = 0;
  private readonly held: RingQueue<HeldWrite> = new RingQueue();
  private isInstalling = false;
  private isStopped = false;

  constructor(parts: WriteQueueParts) {
    this.parts = parts;
  }

  /** Writes given to the log and not durable. */
  get unfinished(): number {
    return this.underWay.length;
  }

  /** Whether writes wait for a snapshot to be installed and were not given to the log. */
  get isHolding(): boolean {
    return this.isInstalling || this.held.length > 0;
  }

  /** How long the oldest of them has taken so far, in milliseconds; 0 where there is none. */
  get oldestMs(): number {
    const givenMs = this.givenMs.peek();
    return givenMs === undefined ? 0 : Math.max(0, this.parts.clock.nowMs() - givenMs);
  }

  /** Takes the write of a hand-out. Nothing of it is needed when this returns. */
  add(write: PendingWrite, ready: Ready): void {
    if (this.isInstalling || write.snapshotIndex > 0) {
      this.held.push(new HeldWrite(write, ready));
      this.release();
      return;
    }
    faultPoint('raft.save.before');
    this.note(write);
    this.parts.log.save(ready.hardState, ready.entries, ready.entriesFrom, ready.entriesTo, this.onDurable);
  }

  private note(write: PendingWrite): void {
    this.underWay.push(write);
    this.givenMs.push(this.parts.clock.nowMs());
  }

  private readonly onDurable = (error: Error | null): void => {
    if (error !== null) {
      this.parts.failed(error);
      return;
    }
    const write = this.underWay.take();
    assert(write !== undefined, 'replication: the log reported a write it was not given');
    this.parts.times.written(write.lastIndex, this.givenMs.take() as number, this.parts.clock.nowMs());
    this.finished++;
    faultPoint('raft.save.after');
    this.parts.durable(write);
  };

  /** Nothing more is given to the log: what is on its way still ends, but nothing follows it. */
  stop(): void {
    this.isStopped = true;
  }

  /** Goes on with what is held, up to the next snapshot. */
  private release(): void {
    while (!this.isInstalling) {
      const next = this.held.take();
      if (next === undefined) return;
      if (next.snapshot === null) this.save(next.write, next.hardState, next.entries);
      else this.install(next, next.snapshot);
    }
  }

  private save(write: PendingWrite, hardState: HardState | null, entries: readonly Entry[]): void {
    this.note(write);
    this.parts.log.save(hardState, entries, 0, entries.length, this.onDurable);
    this.parts.log.flush();
  }

  /**
   * First the log says that a snapshot takes its place, with a commit index that makes the record count; then the state
   * is replaced. After a crash in between the record tells that the state, which came beside it, is still to be installed.
   */
  private install(held: HeldWrite, snapshot: RaftSnapshot): void {
    const { installer, log } = this.parts;
    assert(installer !== null, 'replication: a snapshot came, and nobody can install it');
    const metadata = snapshot.metadata;
    assert(metadata !== null, 'replication: a snapshot without a position');
    const { index, term, confState } = metadata;
    this.isInstalling = true;
    const installed = (error: Error | null): void => {
      if (error !== null) {
        this.parts.failed(error);
        return;
      }
      // The log is closed, or will be; its record of the snapshot tells the next start what there is to do.
      if (this.isStopped) return;
      this.isInstalling = false;
      this.parts.installed(index);
      this.save(held.write, null, held.entries);
      this.release();
    };
    log.saveSnapshot(WalSnapshot.create({ index, term, confState }), this.check);
    log.save(held.hardState, [], 0, 0, (error) => {
      if (error !== null) this.parts.failed(error);
      else if (!this.isStopped) installer.install(snapshot, installed);
    });
    log.flush();
  }

  private readonly check = (error: Error | null): void => {
    if (error !== null) this.parts.failed(error);
  };
}
