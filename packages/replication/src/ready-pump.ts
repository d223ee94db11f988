import { EMPTY, faultPoint, U64_ZERO } from '@etsd/base';
import {
  ConfChange,
  ConfChangeV2,
  type ConfState,
  type Entry,
  EntryType,
  ErrTimeoutDueToLeaderFail,
  type WalSnapshot,
} from '@etsd/proto';
import { confChangeV2Of, type PendingWrite, type RawNode } from '@etsd/raft';
import type { Clock, Timers } from '@etsd/runtime';
import type { Applier, SnapshotInstaller } from './applier.ts';
import { type ForwardedProposals, wideChangeKey } from './forwarded.ts';
import { APPLY_SLICE_MS, COMMIT_DELAY_MS } from './limits.ts';
import type { LogStore } from './log-store.ts';
import { type EntryWatcher, LogTimes } from './log-times.ts';
import type { Transport } from './peers/transport.ts';
import type { Proposals } from './proposals.ts';
import type { Reads } from './reads.ts';
import { WriteQueue } from './write-queue.ts';

export interface PumpParts {
  readonly raft: RawNode;
  readonly log: LogStore;
  readonly applier: Applier;
  readonly proposals: Proposals;
  readonly forwarded: ForwardedProposals;
  readonly reads: Reads;
  readonly transport: Transport | null;
  readonly installer: SnapshotInstaller | null;
  /** The state and the log begin anew at this index. */
  readonly installed: (index: number) => void;
  readonly timers: Timers;
  readonly clock: Clock;
  /** At the end of a turn, before what was asked of raft in it is done: the last moment to ask for more. */
  readonly aboutToRun: () => void;
  /** Role, term or leader may have changed. */
  readonly stateChanged: () => void;
  /** What the state machine or the disk did makes going on unsafe. Called at most once. */
  readonly failed: (error: Error) => void;
}

/**
 * Moves what raft hands out, in the only legal orders: messages leave at once, writes go to the log in the order of
 * their hand-out with any number in flight, entries are applied one after the other when they are committed and durable.
 * It is run at the end of a turn in which something was asked of raft, and whenever the disk has finished something.
 *
 *     propose ─▶ raft ─▶ [end of turn] ─▶ log.save ─▶ (disk) ─▶ raft.written ─▶ commit ─▶ apply … apply, batchEnd
 *                  ▲                                                    └── all in the callback of the disk
 *                  └── goes on taking proposals meanwhile; they form the next batch
 */
export class ReadyPump {
  /** Bytes of entry data applied since the start. */
  appliedBytes = 0;
  /** Index of the last membership change applied. */
  confIndex = 0;
  readonly times = new LogTimes();
  /** Null costs nothing. */
  watcher: EntryWatcher | null = null;
  private readonly parts: PumpParts;
  private readonly raft: RawNode;
  /** What the log was given and has not written yet. */
  readonly writes: WriteQueue;
  /** Up to where raft allows applying. */
  private applyTarget: number;
  private applied: number;
  /** Nothing behind this index is applied for now. */
  private holdIndex = Number.POSITIVE_INFINITY;
  private onHeld: (() => void) | null = null;
  private isRunning = false;
  private isScheduled = false;
  private isStopped = false;
  /** A slice is to go on at the end of the turn. */
  private isResumed = false;
  /** A run follows as soon as the callback of the disk returns. */
  private isAwake = false;
  /** The followers will be told the commit index soon. */
  private isTelling = false;

  constructor(parts: PumpParts) {
    this.parts = parts;
    this.raft = parts.raft;
    this.applied = parts.raft.appliedIndex;
    this.applyTarget = this.applied;
    this.writes = new WriteQueue({
      log: parts.log,
      clock: parts.clock,
      installer: parts.installer,
      times: this.times,
      durable: (write) => this.durable(write),
      installed: (index) => this.installed(index),
      failed: (error) => this.fail(error),
    });
  }

  get appliedIndex(): number {
    return this.applied;
  }

  /** Runs at the end of this turn; asking again is free. */
  schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.parts.timers.endOfTurn(this.runScheduled);
  }

  private readonly runScheduled = (): void => {
    if (!this.isStopped) this.parts.aboutToRun();
    this.isScheduled = false;
    this.run();
  };

  /**
   * Applies up to `index` and no further; `reached` is called, not before this returns, once it is applied. Entries go on
   * being written and committed meanwhile. Asking again moves the place; nobody is told of the former one then.
   */
  holdApplying(index: number, reached: () => void): void {
    this.holdIndex = index;
    this.onHeld = reached;
    this.tellHeld();
    this.schedule();
  }

  /** Applies everything again. */
  resumeApplying(): void {
    this.holdIndex = Number.POSITIVE_INFINITY;
    this.onHeld = null;
    this.schedule();
  }

  private get mayApply(): boolean {
    return this.applied < Math.min(this.applyTarget, this.holdIndex);
  }

  private tellHeld(): void {
    const held = this.onHeld;
    if (held === null || this.applied < this.holdIndex) return;
    this.onHeld = null;
    this.parts.timers.endOfTurn(() => {
      if (!this.isStopped) held();
    });
  }

  /** Does everything that can be done now. */
  run(): void {
    if (this.isRunning || this.isStopped) return;
    this.isRunning = true;
    try {
      this.cycle();
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.isRunning = false;
    }
  }

  private cycle(): void {
    const { raft, parts } = this;
    let hasWritten = false;
    parts.stateChanged();
    while (!this.isStopped && raft.hasReady()) {
      const ready = raft.ready();
      if (ready.messages.length > 0) {
        faultPoint(raft.isLeader ? 'raft.send.leader' : 'raft.send.follower');
        parts.transport?.send(ready.messages);
      }
      for (const state of ready.readStates) parts.reads.confirmed(state.context, state.index, this.applied);
      if (ready.committedTo > this.applyTarget) this.times.committed(ready.committedTo, parts.clock.nowMs());
      this.applyTarget = ready.committedTo;
      if (ready.write !== null) {
        hasWritten = true;
        this.writes.add(ready.write, ready);
      }
      if (this.mayApply && !this.isResumed && !raft.isInstalling) this.applySlice();
      parts.stateChanged();
    }
    if (hasWritten) parts.log.flush();
    // What was handed out while applying was held back comes with no further hand-out.
    if (this.mayApply && !this.isResumed && !raft.isInstalling && !this.isStopped) {
      this.applySlice();
      this.schedule();
    }
    if (raft.hasUntoldCommit && !this.isTelling) {
      this.isTelling = true;
      parts.timers.after(COMMIT_DELAY_MS, this.tellCommits);
    }
  }

  private readonly tellCommits = (): void => {
    this.isTelling = false;
    if (this.isStopped) return;
    this.raft.tellCommits();
    this.run();
  };

  /** Several writes may become durable at once; what follows from them is done together. */
  private durable(write: PendingWrite): void {
    if (this.isStopped) return;
    this.raft.written(write);
    if (this.isRunning || this.isAwake) return;
    this.isAwake = true;
    this.parts.timers.soon(this.runAwake);
  }

  /** The state is that of a snapshot: what was to be applied before is part of it. */
  private installed(index: number): void {
    if (this.isStopped) return;
    this.applied = index;
    this.applyTarget = index;
    this.confIndex = index;
    this.tellHeld();
    this.parts.reads.appliedTo(index);
    this.parts.installed(index);
  }

  private readonly runAwake = (): void => {
    this.isAwake = false;
    this.run();
  };

  /** Applies until everything is or the slice is over; the rest follows at the end of the turn. */
  private applySlice(): void {
    const { parts, raft } = this;
    const { applier, clock } = parts;
    const { times } = this;
    const startMs = clock.nowMs();
    let nowMs = startMs;
    const target = Math.min(this.applyTarget, this.holdIndex);
    faultPoint('apply.before');
    let index = this.applied;
    while (index < target && !this.isStopped) {
      index++;
      times.applying = index;
      times.applyingSinceMs = nowMs;
      const entry = raft.entryAt(index);
      times.applyingData = entry.data;
      this.applyEntry(entry);
      this.applied = index;
      // After each: one may be a transaction, or delete thousands of keys, and a look costs a hundredth of a put.
      nowMs = clock.nowMs();
      applier.took?.(nowMs - times.applyingSinceMs);
      if (this.watcher !== null) this.watcher.applied(index, entry.data, times.applyingSinceMs, nowMs);
      if (nowMs - startMs > APPLY_SLICE_MS) break;
    }
    times.applying = 0;
    times.applyingData = EMPTY;
    faultPoint('apply.after');
    raft.appliedTo(index);
    parts.reads.appliedTo(index);
    applier.batchEnd();
    this.tellHeld();
    if (index < target) {
      this.isResumed = true;
      parts.timers.endOfTurn(this.resume);
    }
  }

  private readonly resume = (): void => {
    this.isResumed = false;
    if (this.isStopped || this.isRunning) return;
    this.isRunning = true;
    try {
      if (this.mayApply && !this.raft.isInstalling) this.applySlice();
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.isRunning = false;
    }
    this.run();
  };

  private applyEntry(entry: Entry): void {
    const { applier, proposals, forwarded } = this.parts;
    const { index, term, data } = entry;
    this.appliedBytes += data.length;
    if (entry.type === EntryType.EntryNormal) {
      let waiter = proposals.take(index, term, ErrTimeoutDueToLeaderFail);
      if (data.length > 0) {
        if (waiter === null && forwarded.size > 0) waiter = forwarded.take(data);
        applier.apply(index, term, data, waiter);
      } else {
        applier.applyEmpty(index, term);
        waiter?.fail(ErrTimeoutDueToLeaderFail);
      }
      return;
    }
    this.applyConfChange(entry);
  }

  private applyConfChange(entry: Entry): void {
    const { applier, proposals, forwarded } = this.parts;
    const { index, term } = entry;
    const own = proposals.take(index, term, ErrTimeoutDueToLeaderFail);
    this.confIndex = index;
    if (entry.type === EntryType.EntryConfChangeV2) {
      const wide = ConfChangeV2.decode(entry.data);
      applier.applyWideChange(index, term, wide, this.wideToRaft, own ?? forwarded.takeId(wideChangeKey(wide)));
      return;
    }
    const change = ConfChange.decode(entry.data);
    applier.applyConfChange(index, term, change, this.toRaft, own ?? forwarded.takeId(change.id));
  }

  /** What the state machine accepted becomes raft's configuration; what it refused changes nobody. */
  private readonly toRaft = (change: ConfChange | null): ConfState => {
    if (change !== null && change.nodeId !== U64_ZERO) return this.raft.applyConfChange(confChangeV2Of(change));
    return this.raft.confState;
  };

  private readonly wideToRaft = (change: ConfChangeV2 | null): ConfState =>
    change === null ? this.raft.confState : this.raft.applyConfChange(change);

  /**
   * Notes in the log that the state is durable up to `snapshot`. The commit index goes first where the log has not heard
   * of it: a record of something not known to be committed would not count.
   */
  saveSnapshot(snapshot: WalSnapshot, done: () => void): void {
    const report = (error: Error | null): void => {
      if (error !== null) {
        this.fail(error);
        return;
      }
      faultPoint('wal.snapshot.after');
      if (!this.isStopped) done();
    };
    faultPoint('wal.snapshot.before');
    this.saveCommit(this.onCommitSaved);
    this.parts.log.saveSnapshot(snapshot, report);
    this.parts.log.flush();
  }

  private readonly onCommitSaved = (error: Error | null): void => {
    if (error !== null) this.fail(error);
  };

  /** Going on is unsafe: stops, and says so. */
  fail(error: Error): void {
    if (this.isStopped) return;
    this.isStopped = true;
    this.parts.failed(error);
  }

  /** Nothing more is sent, written or applied. The commit index is left in the log for the next start. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    this.saveCommit(() => {});
    this.writes.stop();
  }

  /** Tells the log the commit index, unless entries that it speaks of are still held back from the log. */
  private saveCommit(done: (error: Error | null) => void): void {
    if (this.writes.isHolding || !this.raft.hasUnsavedCommit) return;
    this.parts.log.save(this.raft.takeHardState(), [], 0, 0, done);
  }
}
