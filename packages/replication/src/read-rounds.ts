import type { RawNode } from '@etsd/raft';
import type { Timers } from '@etsd/runtime';
import type { Waiter } from './applier.ts';
import type { Reads } from './reads.ts';
import type { RequestIds } from './request-ids.ts';

/** Rounds that may be on their way at once; readers that come meanwhile gather for the next. */
const ROUNDS_MAX = 16;

interface ReadRoundsParts {
  readonly raft: RawNode;
  readonly reads: Reads;
  readonly requestIds: RequestIds;
  readonly timers: Timers;
  /** After how many ticks without an answer a round is asked for again. */
  readonly retryTicks: number;
  readonly appliedIndex: () => number;
  /** A round was asked for outside a tick: it is to be sent. */
  readonly asked: () => void;
}

/** Asks the leader on behalf of `Reads`: once for all readers of a turn, and again where no answer came. */
export class ReadRounds {
  private readonly parts: ReadRoundsParts;
  private tickCount = 0;

  constructor(parts: ReadRoundsParts) {
    this.parts = parts;
  }

  add(waiter: Waiter): void {
    const { reads, timers } = this.parts;
    if (!reads.isGathering) timers.endOfTurn(this.endOfTurn);
    reads.add(waiter);
  }

  private readonly endOfTurn = (): void => {
    const { reads, asked } = this.parts;
    if (!reads.isGathering || reads.rounds >= ROUNDS_MAX) return;
    this.start();
    asked();
  };

  private start(): void {
    const { raft, reads, appliedIndex } = this.parts;
    const index = raft.readIndexNow();
    if (index >= 0) {
      reads.confirmGathered(index, appliedIndex(), this.tickCount);
      return;
    }
    const context = this.freshContext();
    reads.startRound(context, this.tickCount);
    raft.readIndex(context);
  }

  /** A name that no other question of any member has. */
  private readonly freshContext = (): Buffer => {
    const id = this.parts.requestIds.next();
    const context = Buffer.allocUnsafe(8);
    context.writeUInt32BE(id.high, 0);
    context.writeUInt32BE(id.low, 4);
    return context;
  };

  tick(tickCount: number): void {
    const { reads, retryTicks } = this.parts;
    this.tickCount = tickCount;
    if (reads.isGathering) this.start();
    this.askAgain(tickCount - retryTicks);
  }

  /** Asks again for the rounds that were last asked for at that tick or before; by default for all. */
  askAgain(before: number = this.tickCount): void {
    const { raft, reads } = this.parts;
    for (const context of reads.overdue(before, this.tickCount, this.freshContext)) raft.readIndex(context);
  }
}
