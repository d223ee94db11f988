import type { Backend } from '@etsd/backend';
import { U64_ZERO } from '@etsd/base';
import type { Store, WatchHub } from '@etsd/mvcc';
import type { ReplicationNode } from '@etsd/replication';
import type { Lessor } from '@etsd/state';
import { attachAbsentMetrics } from './absent-metrics.ts';
import { PromotionFigures } from './api/promotion.ts';
import type { LoopDelay } from './duties/loop-delay.ts';
import { shownVersion } from './duties/version-rules.ts';
import { DISK_BUCKETS, type Histogram, labelText, MetricRegistry } from './metrics.ts';
import { StoreMetrics } from './store-metrics.ts';
import { ETSD_VERSION, PROTOCOL_VERSION } from './version.ts';

export interface MeasuredParts {
  readonly replication: ReplicationNode;
  readonly store: Store;
  readonly backend: Backend;
  readonly lessor: Lessor;
  readonly hub: WatchHub;
  readonly quotaBytes: number;
  /** Empty until it is decided. */
  readonly clusterVersion: () => string;
  readonly auth: { readonly revision: number };
  readonly loopDelay: LoopDelay;
}

/** The log's histogram exists before the member does: the log is opened first. */
export class MemberMetrics {
  readonly registry = new MetricRegistry();
  readonly walSync: Histogram;
  readonly walWrite: Histogram;
  readonly store: StoreMetrics;
  readonly promotions = new PromotionFigures();
  /** Bytes written to the log since the start. */
  walBytes = 0;

  constructor() {
    this.walSync = this.registry.histogram(
      'etcd_disk_wal_fsync_duration_seconds',
      'How long writes to the log took until they were on the disk.',
      DISK_BUCKETS,
    );
    this.walWrite = this.registry.histogram(
      'etcd_disk_wal_write_duration_seconds',
      'How long writes to the log took: each ends with the data on the disk, so that this is the same as its sync.',
      DISK_BUCKETS,
    );
    this.store = new StoreMetrics(this.registry);
    attachAbsentMetrics(this.registry);
    this.registry.value(
      'gauge',
      'etcd_disk_wal_write_bytes_total',
      'Bytes written to the log since the start.',
      () => this.walBytes,
    );
  }

  /** Declares everything that is read from the running parts. */
  attach(parts: MeasuredParts): void {
    const { auth, replication, store, backend, lessor, hub, quotaBytes, clusterVersion, loopDelay } = parts;
    const { registry } = this;
    let leaderChanges = 0;
    let leader = U64_ZERO;
    replication.onLeadership((_isLeader, now) => {
      if (now !== U64_ZERO && now !== leader) leaderChanges++;
      leader = now;
    });
    const gauge = (name: string, help: string, read: () => number): void => registry.value('gauge', name, help, read);
    const counter = (name: string, help: string, read: () => number): void =>
      registry.value('counter', name, help, read);
    gauge('etcd_server_has_leader', '1 while this member knows a leader.', () =>
      replication.leader === U64_ZERO ? 0 : 1,
    );
    gauge('etcd_server_is_leader', '1 while this member leads.', () => (replication.isLeader ? 1 : 0));
    gauge('etcd_server_is_learner', '1 while this member does not vote yet.', () => (replication.isLearner ? 1 : 0));
    counter('etcd_server_leader_changes_seen_total', 'Changes of leader that this member saw.', () => leaderChanges);
    gauge(
      'etcd_server_proposals_committed_total',
      'The index of the last entry of the log that is committed.',
      () => replication.commitIndex,
    );
    gauge(
      'etcd_server_proposals_applied_total',
      'The index of the last entry of the log that was applied.',
      () => replication.appliedIndex,
    );
    gauge(
      'etcd_server_proposals_pending',
      'Proposals of this member whose outcome is not known yet.',
      () => replication.pendingProposals,
    );
    counter(
      'etcd_server_proposals_failed_total',
      'Proposals of this member that failed.',
      () => replication.failedProposals,
    );
    counter(
      'etcd_server_heartbeat_send_failures_total',
      'Heartbeats that this member as leader sent too late.',
      () => replication.lateHeartbeats,
    );
    counter(
      'etcd_server_slow_read_indexes_total',
      'Rounds for linearizable reads that were not confirmed in time.',
      () => replication.readRoundsTimedOut,
    );
    counter(
      'etcd_server_read_indexes_failed_total',
      'Rounds for linearizable reads that failed.',
      () => replication.readRoundsFailed,
    );
    counter(
      'etcd_server_learner_promote_successes',
      'Learners that this member as leader made voters.',
      () => this.promotions.successes,
    );
    registry.labelled(
      'counter',
      'etcd_server_learner_promote_failures',
      'Learners that this member as leader did not make voters, by reason.',
      () => new Map([...this.promotions.failures].map(([reason, count]) => [`Reason="${labelText(reason)}"`, count])),
    );
    gauge('etcd_server_quota_backend_bytes', 'The quota of the store in bytes; 0 where there is none.', () =>
      Number.isFinite(quotaBytes) ? quotaBytes : 0,
    );
    gauge('etcd_mvcc_db_total_size_in_bytes', 'Size of the file of the store.', () => backend.sizeBytes());
    gauge('etcd_mvcc_db_total_size_in_use_in_bytes', 'What of the file of the store is taken by live data.', () =>
      backend.inUseBytes(),
    );
    gauge('etcd_debugging_auth_revision', 'The revision of users, roles and permissions.', () => auth.revision);
    gauge('etcd_debugging_mvcc_keys_total', 'Keys that exist.', () => store.count('\0', '\0', 0));
    gauge('etcd_debugging_mvcc_current_revision', 'The revision of the last change.', () => store.revision);
    gauge(
      'etcd_debugging_mvcc_compact_revision',
      'The revision up to which history was compacted; -1 where it never was.',
      () => store.compactRevision,
    );
    gauge('etcd_debugging_mvcc_watch_stream_total', 'Streams that watches run on.', () => hub.streamCount);
    gauge('etcd_debugging_mvcc_watcher_total', 'Watchers, those that are behind included.', () => hub.watcherCount);
    gauge(
      'etcd_debugging_mvcc_slow_watcher_total',
      'Watchers that are behind and fed from history.',
      () => hub.slowCount,
    );
    counter('etcd_debugging_mvcc_events_total', 'Events handed to watchers.', () => hub.eventsTotal);
    gauge(
      'etsd_wal_oldest_unfinished_sync_seconds',
      'Age of the oldest write to the log that is not durable yet; 0 if there is none.',
      () => replication.oldestUnfinishedSyncMs / 1000,
    );
    gauge('etsd_disk_stalled', '1 while a write to the log has not come back for an election time-out.', () =>
      replication.isDiskStalled ? 1 : 0,
    );
    gauge('etsd_leases', 'Leases that exist.', () => lessor.size);
    gauge('etsd_watch_unsynced_watchers', 'Watchers that are behind and fed from history.', () => hub.slowCount);
    const one =
      (labels: string): (() => Map<string, number>) =>
      () =>
        new Map([[labels, 1]]);
    registry.labelled(
      'gauge',
      'etcd_server_version',
      'The version of etcd that this member is compatible with.',
      one(`server_version="${PROTOCOL_VERSION}"`),
    );
    registry.labelled(
      'gauge',
      'etcd_cluster_version',
      'The version that the members of the cluster have agreed on.',
      () => {
        const version = clusterVersion();
        return version === '' ? new Map() : new Map([[`cluster_version="${shownVersion(version)}"`, 1]]);
      },
    );
    registry.labelled(
      'gauge',
      'etcd_server_id',
      'The id of the member, in hexadecimal digits.',
      one(`server_id="${replication.memberId.replace(/^0+/, '')}"`),
    );
    registry.labelled(
      'gauge',
      'etsd_version',
      'The version of etsd that is running.',
      one(`version="${ETSD_VERSION}"`),
    );
    registry.labelled(
      'gauge',
      'etsd_event_loop_delay_seconds',
      'How long the event loop was held since the last scrape.',
      () => {
        const { median, p99, max } = loopDelay.read();
        return new Map([
          ['quantile="0.5"', median],
          ['quantile="0.99"', p99],
          ['quantile="1"', max],
        ]);
      },
    );
  }
}
