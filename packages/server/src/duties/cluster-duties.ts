/** What members of a cluster do for one another unasked: agree on a version, and look whether they still hold the same. */
import { type U64, u64ToHex } from '@etsd/base';
import { AlarmAction, AlarmRequest, AlarmType, DowngradeInfoSetRequest, RaftRequestField } from '@etsd/proto';
import { proposeRequest } from '../api/guards.ts';
import { SliceRunner } from '../api/slice-runner.ts';
import type { MemberContext } from '../context.ts';
import { proposeV2 } from '../publish.ts';
import { MIN_CLUSTER_VERSION } from '../version.ts';
import { ClusterVersionDuty } from './cluster-version.ts';
import { CorruptionCheck } from './corruption-check.ts';
import { CorruptionSchedule } from './corruption-schedule.ts';
import { DowngradeMonitor } from './downgrade-monitor.ts';
import { KvHashes } from './kv-hashes.ts';
import { MemberVersionsSource, type PeerRequests } from './member-versions.ts';
import { answerHash, type HashAnswer, PeerHashes } from './peer-hashes.ts';
import { leftBehind, type MemberVersions, NOT_DECIDED, shownVersion } from './version-rules.ts';

/** The operator's choices; milliseconds, 0 is never. */
export interface ClusterDutiesSettings {
  readonly downgradeCheckMs: number;
  readonly corruptCheckMs: number;
  readonly compactHashCheckMs: number;
}

export interface ClusterDutiesParts {
  readonly context: MemberContext;
  readonly peers: PeerRequests;
  readonly settings: ClusterDutiesSettings;
  /** What this member says it is. */
  readonly serverVersion: string;
  /** The cluster took a version that this member can not live with. */
  readonly fail: (error: unknown) => void;
}

const nobody = { done: () => {}, fail: () => {} };

export class ClusterDuties {
  /** Resolves once the cluster has a version. */
  readonly decided: Promise<void>;
  private markDecided: () => void = () => {};
  private readonly parts: ClusterDutiesParts;
  private readonly version: ClusterVersionDuty;
  private readonly downgrade: DowngradeMonitor;
  private readonly hashes: KvHashes;
  private readonly check: CorruptionCheck;
  private readonly schedule: CorruptionSchedule;

  constructor(parts: ClusterDutiesParts) {
    this.parts = parts;
    this.decided = new Promise((resolve) => {
      this.markDecided = resolve;
    });
    const { context, peers, settings } = parts;
    const { limits, logger, memberId, replication, state, store, world } = context;
    const every = (ms: number, callback: () => void) => world.timers.every(ms, callback);
    const isLeader = () => replication.isLeader;
    const members = () => state.members.list();
    const source = new MemberVersionsSource({ memberId, peers, members, own: () => this.versions(), logger });
    const askMembers = source.ask.bind(source);
    this.version = new ClusterVersionDuty({
      every,
      isLeader,
      current: () => state.version.version,
      askMembers,
      propose: (version, waiter) => proposeV2(replication, '/0/version', version, waiter),
      serverVersion: parts.serverVersion,
      minClusterVersion: MIN_CLUSTER_VERSION,
      logger,
    });
    this.downgrade = new DowngradeMonitor({
      every,
      intervalMs: settings.downgradeCheckMs,
      isLeader,
      state: state.version,
      askMembers,
      cancel: (waiter) => {
        const body = DowngradeInfoSetRequest.encode(new DowngradeInfoSetRequest());
        proposeRequest(
          context,
          RaftRequestField.DowngradeInfoSet,
          body,
          0,
          body.length,
          waiter,
          context.access.asRoot(),
        );
      },
      logger,
    });
    this.hashes = new KvHashes({ store, runner: new SliceRunner(world, limits.sliceMs) });
    this.check = new CorruptionCheck({
      memberId,
      own: this.hashes,
      peers: new PeerHashes({ memberId, peers, members, timeoutMs: limits.requestTimeoutMs, logger }),
      compactionHashes: () => store.compactionHashes.all(),
      readBarrier: (waiter) => replication.readBarrier(waiter),
      raise: (member) => this.raiseCorrupt(member),
      requestTimeoutMs: limits.requestTimeoutMs,
      logger,
    });
    this.schedule = new CorruptionSchedule({
      every,
      isLeader,
      check: this.check,
      periodicMs: settings.corruptCheckMs,
      compactionsMs: settings.compactHashCheckMs,
      logger,
    });
    this.followVersion();
  }

  start(): void {
    this.version.start();
    this.downgrade.start();
    this.schedule.start();
  }

  stop(): void {
    this.version.stop();
    this.downgrade.stop();
    this.schedule.stop();
  }

  /** The first entry of a leader's term was applied. */
  termBegan(): void {
    this.version.termBegan();
  }

  /** To be awaited before the log goes on and anybody is served; rejects where this member's data is not the others'. */
  initialCheck(): Promise<void> {
    return this.check.initial();
  }

  /** What `/version` answers. */
  versions(): MemberVersions {
    const { version } = this.parts.context.state.version;
    return { server: this.parts.serverVersion, cluster: version === '' ? NOT_DECIDED : version };
  }

  /** What `/downgrade/enabled` answers. */
  get isDowngrading(): boolean {
    return this.parts.context.state.version.downgradeEnabled;
  }

  /** Answers another member that asks for a hash. */
  answerHash(clusterHeader: string, body: Buffer, reply: (answer: HashAnswer) => void): void {
    const { clusterId, logger } = this.parts.context;
    answerHash({ hashes: this.hashes, clusterId, logger }, clusterHeader, body, reply);
  }

  private followVersion(): void {
    const { clusterId, logger, memberId, state } = this.parts.context;
    const who = { 'cluster-id': u64ToHex(clusterId), 'local-member-id': u64ToHex(memberId) };
    if (state.version.version !== '') this.markDecided();
    state.version.onChange = (version, previous) => {
      this.markDecided();
      const shown = shownVersion(version);
      if (previous === '') logger.log('info', 'set initial cluster version', { ...who, 'cluster-version': shown });
      else logger.log('info', 'updated cluster version', { ...who, from: shownVersion(previous), to: shown });
      if (version !== previous) logger.log('info', 'enabled capabilities for version', { 'cluster-version': shown });
      const reason = leftBehind(state.version, this.parts.serverVersion);
      if (reason !== null) this.parts.fail(reason);
    };
    state.version.onDowngrade = () => {
      if (!state.version.downgradeEnabled) return;
      logger.log('info', 'The server is ready to downgrade', {
        'target-version': state.version.downgradeTarget,
        'server-version': this.parts.serverVersion,
      });
    };
  }

  private raiseCorrupt(member: U64): void {
    const alarm = { action: AlarmAction.ACTIVATE, memberID: member, alarm: AlarmType.CORRUPT };
    const body = AlarmRequest.encode(AlarmRequest.create(alarm));
    const { context } = this.parts;
    proposeRequest(context, RaftRequestField.Alarm, body, 0, body.length, nobody, context.access.asRoot());
  }
}
