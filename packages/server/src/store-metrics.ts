import type { Backend } from '@etsd/backend';
import type { Store, WatchHub } from '@etsd/mvcc';
import { DISK_BUCKETS, doubled, type Histogram, type MetricRegistry } from './metrics.ts';

/** How many of each, and how long in seconds: what `LeaseExpiry` keeps. */
export interface MeasuredLeases {
  readonly figures: {
    readonly granted: number;
    readonly revoked: number;
    readonly renewed: number;
    readonly ttls: Histogram;
  };
  readonly revokesProposed: number;
}

/** The keys, their history, and the file they rest in. What takes time tells it here as it happens. */
export class StoreMetrics {
  readonly hashTimes: { readonly whole: Histogram; readonly atRevision: Histogram };
  private readonly registry: MetricRegistry;
  private readonly compactionHeld: Histogram;
  private readonly compactionTook: Histogram;
  private readonly commits: Histogram;
  private readonly commitWrites: Histogram;
  private readonly defragmentations: Histogram;
  private compactedAtSeconds = 0;

  constructor(registry: MetricRegistry) {
    this.registry = registry;
    this.commits = registry.histogram(
      'etcd_disk_backend_commit_duration_seconds',
      'How long the engine took to take a batch into the file of the store.',
      DISK_BUCKETS,
    );
    this.commitWrites = registry.histogram(
      'etcd_debugging_disk_backend_commit_write_duration_seconds',
      'The part of a commit in which the file is written: all of it, with this engine.',
      DISK_BUCKETS,
    );
    for (const [phase, what] of [
      ['rebalance', 'merging pages'],
      ['spill', 'splitting pages'],
    ]) {
      registry.histogram(
        `etcd_debugging_disk_backend_commit_${phase}_duration_seconds`,
        `The part of a commit spent ${what}: this engine has none, so that nothing is ever counted.`,
        DISK_BUCKETS,
      );
    }
    this.defragmentations = registry.histogram(
      'etcd_disk_backend_defrag_duration_seconds',
      'How long it took to rewrite the file of the store without its holes.',
      doubled(0.1, 13),
    );
    this.hashTimes = {
      whole: registry.histogram(
        'etcd_mvcc_hash_duration_seconds',
        'How long the hash of the whole store took, its pauses included.',
        doubled(0.01, 15),
      ),
      atRevision: registry.histogram(
        'etcd_mvcc_hash_rev_duration_seconds',
        'How long the hash of the keys at a revision took, its pauses included.',
        doubled(0.01, 15),
      ),
    };
    this.compactionHeld = registry.histogram(
      'etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds',
      'How long a slice of a compaction held everything else.',
      doubled(1, 13),
    );
    this.compactionTook = registry.histogram(
      'etcd_debugging_mvcc_db_compaction_total_duration_milliseconds',
      'How long compactions took from the first slice to the last.',
      doubled(100, 14),
    );
    registry.histogram(
      'etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds',
      'How long compacting the index held everything: it goes with the slices, so that nothing is ever counted.',
      doubled(0.5, 14),
    );
  }

  compactionSlice(ms: number): void {
    this.compactionHeld.observe(ms);
  }

  compacted(tookMs: number, wallMs: number): void {
    this.compactionTook.observe(tookMs);
    this.compactedAtSeconds = Math.floor(wallMs / 1000);
  }

  attach(store: Store, backend: Backend, hub: WatchHub, leases: MeasuredLeases): void {
    backend.observer = {
      committed: (ms) => {
        this.commits.observe(ms / 1000);
        this.commitWrites.observe(ms / 1000);
      },
      defragmented: (ms) => this.defragmentations.observe(ms / 1000),
    };
    this.attachKeys(store, hub);
    this.attachLeases(leases);
    const { registry } = this;
    registry.value('gauge', 'etcd_disk_defrag_inflight', '1 while the file of the store is being rewritten.', () =>
      backend.isDefragmenting ? 1 : 0,
    );
    registry.value(
      'gauge',
      'etcd_mvcc_db_open_read_transactions',
      'Ranges and hashes that are read in slices now.',
      () => store.openReads,
    );
    registry.value(
      'counter',
      'etcd_debugging_mvcc_db_compaction_keys_total',
      'Records that compactions have removed.',
      () => store.figures.compactedRecords,
    );
    registry.value(
      'gauge',
      'etcd_debugging_mvcc_db_compaction_last',
      'When the last compaction was through, as Unix time; 0 where there was none since the start.',
      () => this.compactedAtSeconds,
    );
  }

  private attachKeys({ figures }: Store, hub: WatchHub): void {
    const { registry } = this;
    const counter = (name: string, help: string, read: () => number): void =>
      registry.value('counter', name, help, read);
    counter('etcd_mvcc_put_total', 'Puts applied by this member.', () => figures.puts);
    counter('etcd_mvcc_delete_total', 'Deletions applied by this member.', () => figures.deletes);
    counter('etcd_mvcc_range_total', 'Ranges read on this member.', () => figures.ranges);
    counter(
      'etcd_debugging_mvcc_range_total',
      'The same as etcd_mvcc_range_total, under its old name.',
      () => figures.ranges,
    );
    counter(
      'etcd_mvcc_txn_total',
      'Transactions of more than one operation applied by this member.',
      () => figures.transactions,
    );
    registry.value(
      'gauge',
      'etcd_debugging_mvcc_total_put_size_in_bytes',
      'Bytes of the keys and values put on this member since its start.',
      () => figures.putBytes,
    );
    registry.value(
      'gauge',
      'etcd_debugging_mvcc_pending_events_total',
      'Events that wait to be handed to a watcher: none do, who is behind is fed from history.',
      () => 0,
    );
    registry.value(
      'gauge',
      'etsd_watch_lag_revisions',
      'Revisions that the watcher furthest behind has still to be told of.',
      () => hub.lag,
    );
  }

  private attachLeases(leases: MeasuredLeases): void {
    const { figures } = leases;
    const { registry } = this;
    const counter = (name: string, help: string, read: () => number): void =>
      registry.value('counter', name, help, read);
    counter('etcd_debugging_lease_granted_total', 'Leases granted since the start.', () => figures.granted);
    counter('etcd_debugging_lease_revoked_total', 'Leases revoked since the start.', () => figures.revoked);
    counter(
      'etcd_debugging_lease_renewed_total',
      'Renewals of leases by this member as leader.',
      () => figures.renewed,
    );
    counter(
      'etcd_debugging_server_lease_expired_total',
      'Leases that this member as leader had revoked because their time was over.',
      () => leases.revokesProposed,
    );
    registry.labelledHistogram(
      'etcd_debugging_lease_ttl_total',
      'Times to live of the leases granted, in seconds.',
      () => new Map([['', figures.ttls.view()]]),
    );
  }
}
