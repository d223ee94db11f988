import type { Logger } from '@etsd/base';
import type { RawNode } from '@etsd/raft';
import { DiskWatchdog, type WatchedWrites } from './disk-watchdog.ts';
import type { Transport } from './peers/transport.ts';
import { bestSuccessor } from './transfers.ts';

export interface DiskGuardParts {
  readonly raft: RawNode;
  readonly writes: WatchedWrites & { readonly oldestMs: number };
  readonly transport: Transport | null;
  readonly logger: Logger;
  readonly electionTicks: number;
  /** The disk has begun to hang. */
  readonly stalled: () => void;
}

/**
 * With a disk that hangs nothing can be promised: a leader hands over, for the others can commit without its disk, and if
 * nobody has taken over after an election time-out it just steps down. No campaign before the disk works again.
 */
export class DiskGuard {
  private readonly parts: DiskGuardParts;
  private readonly watchdog: DiskWatchdog;
  /** Ticks for which this member has led with a disk that hangs. */
  private ticks = 0;

  constructor(parts: DiskGuardParts) {
    this.parts = parts;
    this.watchdog = new DiskWatchdog(parts.electionTicks);
  }

  get isStalled(): boolean {
    return this.watchdog.isStalled;
  }

  /** Looks once a tick. */
  look(): void {
    const { raft, writes, transport, electionTicks } = this.parts;
    if (this.watchdog.look(writes)) this.changed(this.isStalled);
    if (!this.isStalled || !raft.isLeader || raft.isOnlyVoter) {
      this.ticks = 0;
      return;
    }
    const successor = bestSuccessor(raft, transport);
    if (successor !== null && this.ticks === 0) raft.transferLeader(successor);
    else if (successor === null || this.ticks >= electionTicks) raft.stepDown();
    this.ticks++;
  }

  private changed(isStalled: boolean): void {
    const { raft, logger, writes, stalled } = this.parts;
    raft.abstain(isStalled);
    if (!isStalled) {
      logger.log('info', 'the disk of the log works again');
      return;
    }
    logger.log('warn', 'the disk of the log hangs; this member gives leadership up and serves no linearizable reads', {
      oldestUnfinishedSyncMs: Math.round(writes.oldestMs),
    });
    stalled();
  }
}
