import type { Logger } from '@etsd/base';
import type { TimerHandle } from '../context.ts';
import type { CorruptionCheck } from './corruption-check.ts';

export interface CorruptionScheduleParts {
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  readonly isLeader: () => boolean;
  readonly check: Pick<CorruptionCheck, 'periodic' | 'compactions'>;
  /** Flag `corrupt-check-time`; 0 is never. */
  readonly periodicMs: number;
  /** Flag `compact-hash-check-time` where `compact-hash-check-enabled`; 0 is never. */
  readonly compactionsMs: number;
  readonly logger: Logger;
}

/** Lets the leader look for corruption at the intervals that the operator chose; each check one at a time. */
export class CorruptionSchedule {
  private readonly parts: CorruptionScheduleParts;
  private timers: TimerHandle[] = [];
  private readonly busy = new Set<string>();

  constructor(parts: CorruptionScheduleParts) {
    this.parts = parts;
  }

  start(): void {
    const { compactionsMs, every, logger, periodicMs } = this.parts;
    if (periodicMs > 0) {
      logger.log('info', 'enabled corruption checking', { interval: `${periodicMs / 1000}s` });
      this.timers.push(every(periodicMs, () => this.look('periodic')));
    }
    if (compactionsMs > 0) {
      logger.log('info', 'enabled compaction hash checking', { interval: `${compactionsMs / 1000}s` });
      this.timers.push(every(compactionsMs, () => this.look('compactions')));
    }
  }

  stop(): void {
    for (const timer of this.timers) timer.cancel();
    this.timers = [];
  }

  private look(kind: 'periodic' | 'compactions'): void {
    const { check, isLeader, logger } = this.parts;
    if (this.busy.has(kind) || !isLeader()) return;
    this.busy.add(kind);
    check[kind]()
      .catch((error: Error) => logger.log('warn', 'failed to check hash KV', { error: error.message }))
      .finally(() => this.busy.delete(kind));
  }
}
