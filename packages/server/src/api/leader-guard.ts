/**
 * Calls that carry `hasleader: true` want to fail rather than hang on a member that has lost touch with its cluster: a
 * new one is refused where there is no leader, an open stream ends once there has been none for three election timeouts.
 */
import { U64_ZERO } from '@etsd/base';
import { ErrNoLeader } from '@etsd/proto';
import type { ApiCall, ApiReplication, ApiWorld, TimerHandle } from '../context.ts';

/** Checks in a row without a leader after which streams end; one check is made each election timeout. */
const CHECKS_WITHOUT_LEADER = 3;

export interface LeaderGuardParts {
  readonly world: ApiWorld;
  readonly replication: Pick<ApiReplication, 'leader'>;
  readonly electionMs: number;
}

export class LeaderGuard {
  private readonly parts: LeaderGuardParts;
  private readonly calls = new Set<ApiCall>();
  private timer: TimerHandle | null = null;
  private checksWithout = 0;

  constructor(parts: LeaderGuardParts) {
    this.parts = parts;
  }

  /** Whether the stream may go on; where it may not, it has been failed. */
  admit(call: ApiCall): boolean {
    if (call.header('hasleader') !== 'true') return true;
    if (this.parts.replication.leader === U64_ZERO) {
      call.fail(ErrNoLeader.code, ErrNoLeader.message);
      return false;
    }
    this.calls.add(call);
    this.timer ??= this.parts.world.timers.every(this.parts.electionMs, this.check);
    return true;
  }

  /** The call is over; it need not have been admitted. */
  forget(call: ApiCall): void {
    this.calls.delete(call);
    if (this.calls.size === 0) this.stop();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
    this.checksWithout = 0;
  }

  private readonly check = (): void => {
    if (this.parts.replication.leader !== U64_ZERO) {
      this.checksWithout = 0;
      return;
    }
    if (++this.checksWithout < CHECKS_WITHOUT_LEADER) return;
    const calls = [...this.calls];
    this.calls.clear();
    this.stop();
    for (const call of calls) if (call.isOpen) call.fail(ErrNoLeader.code, ErrNoLeader.message);
  };
}
