import { DISK_BUCKETS, doubled, type Histogram, type MetricRegistry } from '../metrics.ts';

/** Upper bounds in seconds of what takes as long as a whole store: from 10 ms and from 100 ms, doubled, as etcd's. */
const SNAPSHOT_BUCKETS = doubled(0.01, 17);
const SAVE_BUCKETS = doubled(0.1, 10);

/** The figures of snapshots, under etcd's names; the transport has those of what is on its way. */
export class SnapshotMetrics {
  /** Making a file of the store. */
  readonly made: Histogram;
  /** Syncing a received file. */
  readonly receivedSync: Histogram;
  /** Receiving, syncing and checking a file. */
  readonly received: Histogram;
  /** Writing the small file of an installed snapshot. */
  readonly fileSync: Histogram;
  /** The same, under the name etcd has for the whole of it. */
  readonly fileSaved: Histogram;
  isInstalling = false;

  constructor(registry: MetricRegistry) {
    this.made = registry.histogram(
      'etcd_disk_backend_snapshot_duration_seconds',
      'How long it took to make a snapshot of the store.',
      SNAPSHOT_BUCKETS,
    );
    this.receivedSync = registry.histogram(
      'etcd_snap_db_fsync_duration_seconds',
      'How long a received snapshot took until it was on the disk.',
      DISK_BUCKETS,
    );
    this.received = registry.histogram(
      'etcd_snap_db_save_total_duration_seconds',
      'How long it took to receive a snapshot, sync and check it.',
      SAVE_BUCKETS,
    );
    this.fileSync = registry.histogram(
      'etcd_snap_fsync_duration_seconds',
      'How long the small file of an installed snapshot took until it was on the disk.',
      DISK_BUCKETS,
    );
    this.fileSaved = registry.histogram(
      'etcd_debugging_snap_save_total_duration_seconds',
      'How long it took to write the small file of an installed snapshot.',
      DISK_BUCKETS,
    );
    registry.value(
      'gauge',
      'etcd_server_snapshot_apply_in_progress_total',
      '1 while a snapshot of another member takes the place of the state.',
      () => (this.isInstalling ? 1 : 0),
    );
  }
}
