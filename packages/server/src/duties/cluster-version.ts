/**
 * The leader's duty to keep the version of the cluster: that of its oldest member, so that nobody writes into the log
 * what another one could not read. It goes up once the last member was replaced by a newer one.
 */
import { type Logger, type U64, u64ToHex } from '@etsd/base';
import { ErrStopped, type EtcdError } from '@etsd/proto';
import type { ApiWaiter, TimerHandle } from '../context.ts';
import { decideVersion, isNewer, isVersionChange, type MemberVersions, shownVersion } from './version-rules.ts';

/** How often members are asked for their version, as often as etcd does. */
const LOOK_INTERVAL_MS = 5000;

export interface ClusterVersionParts {
  readonly every: (ms: number, callback: () => void) => TimerHandle;
  readonly isLeader: () => boolean;
  /** The cluster's version as applied, empty where there is none. */
  readonly current: () => string;
  readonly askMembers: (done: (answers: ReadonlyMap<U64, MemberVersions | null>) => void) => void;
  /** Puts the version into the log. */
  readonly propose: (version: string, waiter: ApiWaiter) => void;
  readonly serverVersion: string;
  /** What a cluster begins with while a member can not be asked. */
  readonly minClusterVersion: string;
  readonly logger: Logger;
}

export class ClusterVersionDuty {
  private readonly parts: ClusterVersionParts;
  private timer: TimerHandle | null = null;
  private isBusy = false;

  constructor(parts: ClusterVersionParts) {
    this.parts = parts;
  }

  start(): void {
    this.timer ??= this.parts.every(LOOK_INTERVAL_MS, this.look);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** The first entry of a leader's term was applied: what the leader says now counts. */
  termBegan(): void {
    this.look();
  }

  private readonly look = (): void => {
    if (!this.parts.isLeader() || this.isBusy) return;
    this.isBusy = true;
    this.parts.askMembers((answers) => {
      this.isBusy = false;
      if (this.parts.isLeader()) this.decide(answers);
    });
  };

  private decide(answers: ReadonlyMap<U64, MemberVersions | null>): void {
    const { current, logger, minClusterVersion, serverVersion } = this.parts;
    for (const [member, answer] of answers) {
      if (answer === null || !isNewer(answer.server, serverVersion)) continue;
      logger.log('warn', 'leader found higher-versioned member', {
        'local-member-version': serverVersion,
        'remote-member-id': u64ToHex(member),
        'remote-member-version': answer.server,
      });
    }
    const decided = decideVersion(answers);
    if (current() === '') this.set(decided ?? minClusterVersion);
    else if (decided !== null && isVersionChange(current(), decided)) this.set(decided);
  }

  private set(version: string): void {
    const { current, logger, propose } = this.parts;
    const from = current();
    if (from === '') {
      logger.log('info', 'setting up initial cluster version', { 'cluster-version': shownVersion(version) });
    } else {
      logger.log('info', 'updating cluster version', { from: shownVersion(from), to: shownVersion(version) });
    }
    this.isBusy = true;
    propose(version, {
      done: () => {
        this.isBusy = false;
        logger.log('info', 'cluster version is updated', { 'cluster-version': shownVersion(version) });
      },
      fail: (error: EtcdError) => {
        this.isBusy = false;
        if (error === ErrStopped) return;
        logger.log('warn', 'failed to update cluster version', { error: error.message });
      },
    });
  }
}
