import { assert } from '@etsd/base';
import { type ConfState, type Entry, WalSnapshot } from '@etsd/proto';
import { type RawNode, SNAPSHOT } from '@etsd/raft';
import { CATCH_UP_BYTES, HELD_BYTES, HELD_ENTRIES, SNAPSHOT_BYTES } from './limits.ts';
import type { LogStore } from './log-store.ts';
import type { ReadyPump } from './ready-pump.ts';

export interface LogCutterParts {
  readonly raft: RawNode;
  readonly log: LogStore;
  readonly pump: ReadyPump;
  /** Applied entries after which the log is cut. */
  readonly snapshotCount: number;
  /** Entries kept in memory behind a cut. */
  readonly catchUpEntries: number;
  /** Up to which index the applied state would survive a crash now. Never falls. */
  readonly durableIndex: () => number;
  /** The log was cut at `index`. */
  readonly cut: (index: number) => void;
  /** Where the log was cut last: what the start read from. */
  readonly startIndex: number;
}

/**
 * Keeps the log from growing for ever. When enough was applied and the state that contains it is on disk, a snapshot
 * record says so; replay starts there, older segments go, and memory keeps only what a slow follower may need.
 *
 *     ──────────┬──────────────────┬───────────┬──────────────
 *      released │ catch-up (memory) │ durable   │ applied, not yet in the state on disk
 *               base                snapshot record
 */
export class LogCutter {
  private readonly parts: LogCutterParts;
  private lastIndex: number;
  private lastBytes = 0;
  private isCutting = false;

  constructor(parts: LogCutterParts) {
    this.parts = parts;
    this.lastIndex = parts.startIndex;
  }

  /** Index of the last snapshot record. */
  get snapshotIndex(): number {
    return this.lastIndex;
  }

  /** A snapshot of another member took the place of the log; its record is written by whoever installed it. */
  restartAt(index: number): void {
    this.lastIndex = Math.max(this.lastIndex, index);
    this.lastBytes = this.parts.pump.appliedBytes;
  }

  /** Cuts if it is time to. Cheap otherwise; called with every tick. */
  check(): void {
    const { raft, pump, snapshotCount } = this.parts;
    // While a snapshot is being installed, the log begins behind it already, and the state is still the one before.
    if (this.isCutting || raft.isInstalling) return;
    // Looking at what is applied first is cheaper than asking how much of it is on disk.
    const isLarge = pump.appliedBytes - this.lastBytes >= SNAPSHOT_BYTES;
    if (pump.appliedIndex - this.lastIndex < snapshotCount && !isLarge) return;
    const index = Math.min(this.parts.durableIndex(), raft.appliedIndex);
    if (index - this.lastIndex < snapshotCount && !isLarge) return;
    // The record names the configuration of its index; we only have the present one. Soon the state will be past it.
    if (index <= this.lastIndex || index < pump.confIndex) return;
    this.cutAt(index, raft.termAt(index), raft.confState);
  }

  private cutAt(index: number, term: number, confState: ConfState): void {
    const { raft, log, pump } = this.parts;
    assert(term >= 0, 'replication: the log is only cut where it has an entry');
    const snapshot = new WalSnapshot();
    snapshot.index = index;
    snapshot.term = term;
    snapshot.confState = confState;
    const bytes = pump.appliedBytes;
    this.isCutting = true;
    pump.saveSnapshot(snapshot, () => {
      this.isCutting = false;
      if (index < this.lastIndex) return;
      this.lastIndex = index;
      this.lastBytes = bytes;
      raft.compact(this.keepFrom(index) - 1);
      log.releaseTo(index);
      this.parts.cut(index);
    });
  }

  /**
   * The first entry to keep in memory: the catch-up entries before `index`, and what followers that are being served still
   * lack; fewer where they are large.
   */
  private keepFrom(index: number): number {
    const { raft, catchUpEntries } = this.parts;
    const caughtUp = index - catchUpEntries + 1;
    const needed = Math.min(this.neededFrom(), index + 1);
    const oldest = Math.max(raft.firstIndex, Math.min(caughtUp, needed));
    let from = index + 1;
    let bytes = 0;
    while (from > oldest) {
      bytes += (raft.entryAt(from - 1) as Entry).data.length;
      if (bytes > (from > needed ? HELD_BYTES : CATCH_UP_BYTES) || index - from >= HELD_ENTRIES) break;
      from--;
    }
    return from;
  }

  /**
   * A follower that answers, or takes a snapshot, gets on from where it is: were the log cut before its eyes, each
   * snapshot would be too old when it is installed, and only the next one would follow.
   */
  private neededFrom(): number {
    const { raft } = this.parts;
    let needed = Number.POSITIVE_INFINITY;
    if (!raft.isLeader) return needed;
    for (const progress of raft.progress.values()) {
      const { id, state, match, next, recentActive } = progress;
      if (id === raft.id || (!recentActive && state !== SNAPSHOT)) continue;
      // What is gone is gone: such a follower takes a snapshot, or has it and installs it. What follows that is behind next.
      const from = match + 1 >= raft.firstIndex ? match + 1 : next;
      needed = Math.min(needed, from);
    }
    return needed;
  }
}
