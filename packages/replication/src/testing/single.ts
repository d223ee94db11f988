import { silentLogger } from '@etsd/base';
import { emptyState, type StoredState } from '@etsd/raft';
import { foundingEntry, identify } from '../membership.ts';
import { ReplicationNode } from '../node.ts';
import type { ReplicationOptions } from '../options.ts';
import { fixedRandom, ManualTime, MemoryLog, RecordingApplier, RecordingWaiter } from './fakes.ts';

export const MEMBERS = identify([{ name: 'one', peerUrls: ['http://127.0.0.1:23801'] }], 'tok-1');
export const SELF = MEMBERS[0] as (typeof MEMBERS)[0];

/** A member that is alone, with time and disk in the test's hands. */
export class Single {
  readonly time = new ManualTime();
  readonly log: MemoryLog;
  readonly applier: RecordingApplier;
  readonly node: ReplicationNode;
  readonly fatal: Error[] = [];
  /** Up to where the applied state is on disk; null: up to what is applied. */
  durableIndex: number | null = null;

  constructor(
    options: Partial<ReplicationOptions> = {},
    parts: { log?: MemoryLog; applier?: RecordingApplier; stored?: StoredState } = {},
  ) {
    this.log = parts.log ?? new MemoryLog();
    this.applier = parts.applier ?? new RecordingApplier();
    const isNew = parts.stored === undefined;
    this.node = new ReplicationNode({
      world: { clock: this.time, timers: this.time, random: fixedRandom },
      logger: silentLogger,
      log: this.log,
      start: {
        memberId: SELF.id,
        clusterId: SELF.id,
        stored: parts.stored ?? emptyState(),
        bootstrap: isNew ? [foundingEntry(SELF)] : null,
      },
      applier: this.applier,
      durableIndex: () => this.durableIndex ?? this.applier.appliedIndex,
      onFatal: (error) => this.fatal.push(error),
      ...options,
    });
  }

  /** Turns and finished syncs until nothing is left to do. */
  settle(): void {
    do {
      this.time.endTurn();
    } while (this.log.finish() || this.time.hasTurnWork);
  }

  started(): this {
    this.node.start();
    this.settle();
    return this;
  }

  propose(text: string): RecordingWaiter {
    const waiter = new RecordingWaiter();
    this.node.propose(Buffer.from(text), waiter);
    return waiter;
  }

  read(): RecordingWaiter {
    const waiter = new RecordingWaiter();
    this.node.readBarrier(waiter);
    return waiter;
  }

  /** What a new life finds when this one was cut off now. */
  reborn(applier: RecordingApplier, options: Partial<ReplicationOptions> = {}): Single {
    const log = new MemoryLog();
    log.durable = [...this.log.durable];
    log.hardState = this.log.hardState;
    const stored: StoredState = {
      hardState: log.hardState,
      baseIndex: 0,
      baseTerm: 0,
      entries: log.durable,
      applied: applier.appliedIndex,
      confState: applier.confState,
    };
    return new Single(options, { log, applier, stored });
  }
}
