import type { Logger, U64 } from '@etsd/base';
import { ErrStopped, type EtcdError } from '@etsd/proto';
import type { ApiWaiter, TimerHandle } from '../context.ts';
import { haveAllReached, type MemberVersions } from './version-rules.ts';

export interface DowngradeMonitorParts {
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  /** Flag `downgrade-check-time`; 0 is never. */
  readonly intervalMs: number;
  readonly isLeader: () => boolean;
  readonly state: { readonly downgradeEnabled: boolean; readonly downgradeTarget: string };
  readonly askMembers: (done: (answers: ReadonlyMap<U64, MemberVersions | null>) => void) => void;
  /** Ends the downgrade through the log. */
  readonly cancel: (waiter: ApiWaiter) => void;
  readonly logger: Logger;
}

/** The leader's duty to declare a downgrade done, once every member says that the cluster has the version aimed at. */
export class DowngradeMonitor {
  private readonly parts: DowngradeMonitorParts;
  private timer: TimerHandle | null = null;
  private isBusy = false;

  constructor(parts: DowngradeMonitorParts) {
    this.parts = parts;
  }

  start(): void {
    if (this.parts.intervalMs > 0) this.timer ??= this.parts.every(this.parts.intervalMs, this.look);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private readonly look = (): void => {
    const { askMembers, isLeader, state } = this.parts;
    if (!state.downgradeEnabled || !isLeader() || this.isBusy) return;
    this.isBusy = true;
    const target = state.downgradeTarget;
    askMembers((answers) => {
      this.isBusy = false;
      if (!isLeader() || !state.downgradeEnabled || state.downgradeTarget !== target) return;
      if (haveAllReached(target, answers)) this.finish(target);
    });
  };

  private finish(target: string): void {
    const { cancel, logger } = this.parts;
    this.isBusy = true;
    cancel({
      done: () => {
        this.isBusy = false;
        logger.log('info', 'the cluster has been downgraded', { 'cluster-version': target });
      },
      fail: (error: EtcdError) => {
        this.isBusy = false;
        if (error !== ErrStopped) logger.log('warn', 'failed to cancel downgrade', { error: error.message });
      },
    });
  }
}
