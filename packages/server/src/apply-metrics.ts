import { type ConfChange, type ConfChangeV2, type ConfState, type EtcdError, RaftRequestField } from '@etsd/proto';
import type { Applier, Waiter } from '@etsd/replication';
import { type DistributionView, doubled, Histogram, type MetricRegistry } from './metrics.ts';

/** Upper bounds in seconds: from a tenth of a millisecond, doubled. */
const APPLY_BUCKETS = doubled(0.0001, 20);

/** What etcd calls the requests of the log, by the field of `InternalRaftRequest`. */
const OPERATIONS: ReadonlyMap<number, string> = new Map(
  Object.entries(RaftRequestField).map(([name, field]) => [field, name]),
);

/** A request of the second version of the interface: what members write of themselves and of the cluster's version. */
const V2_FIELD = RaftRequestField.V2;
const NO_FIELD = -1;

/** What says of which kind the request was that was applied last. */
interface FieldSource {
  readonly lastField: number;
}

/** Passes on what failed, and remembers that it did. */
class Outcome implements Waiter {
  inner: Waiter | null = null;
  hasFailed = false;

  done(result: unknown): void {
    this.inner?.done(result);
  }

  fail(error: EtcdError): void {
    this.hasFailed = true;
    this.inner?.fail(error);
  }
}

/**
 * Stands between the log and what applies it, and counts how long each kind of request took. Whether a request failed is
 * known where somebody waits for it: on the member that proposed it.
 */
export class MeasuredApplier implements Applier {
  /** Entries that took longer than they should. */
  slow = 0;
  private readonly inner: Applier;
  private readonly source: FieldSource;
  private readonly slowMs: number;
  private readonly outcome = new Outcome();
  /** By field: succeeded, failed. */
  private readonly times = new Map<number, readonly [Histogram, Histogram]>();
  private field = NO_FIELD;
  private hasFailed = false;

  constructor(inner: Applier, source: FieldSource, slowMs: number) {
    this.inner = inner;
    this.source = source;
    this.slowMs = slowMs;
  }

  get appliedIndex(): number {
    return this.inner.appliedIndex;
  }

  get confState(): ConfState | null {
    return this.inner.confState;
  }

  apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void {
    const { inner, outcome } = this;
    outcome.hasFailed = false;
    if (waiter === null) inner.apply(index, term, data, null);
    else {
      outcome.inner = waiter;
      inner.apply(index, term, data, outcome);
      outcome.inner = null;
    }
    this.field = this.source.lastField;
    this.hasFailed = outcome.hasFailed;
  }

  took(ms: number): void {
    if (ms > this.slowMs) this.slow++;
    if (this.field === NO_FIELD) return;
    let times = this.times.get(this.field);
    if (times === undefined) {
      times = [new Histogram(APPLY_BUCKETS), new Histogram(APPLY_BUCKETS)];
      this.times.set(this.field, times);
    }
    times[this.hasFailed ? 1 : 0].observe(ms / 1000);
    this.field = NO_FIELD;
  }

  applyEmpty(index: number, term: number): void {
    this.inner.applyEmpty(index, term);
  }

  applyConfChange(
    index: number,
    term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.inner.applyConfChange(index, term, change, toRaft, waiter);
  }

  applyWideChange(
    index: number,
    term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    this.inner.applyWideChange(index, term, change, toRaft, waiter);
  }

  batchEnd(): void {
    this.inner.batchEnd();
  }

  attachMetrics(registry: MetricRegistry): void {
    registry.labelledHistogram(
      'etcd_server_apply_duration_seconds',
      'How long it took to apply an entry of the log, by kind of request.',
      () => {
        const views = new Map<string, DistributionView>();
        for (const [field, times] of this.times) {
          const [op, version] = field === V2_FIELD ? ['PUT', 'v2'] : [OPERATIONS.get(field) ?? 'unknown', 'v3'];
          for (const [place, histogram] of times.entries()) {
            const view = histogram.view();
            if (view.count > 0) views.set(`op="${op}",success="${place === 0}",version="${version}"`, view);
          }
        }
        return views;
      },
    );
    registry.value(
      'counter',
      'etcd_server_slow_apply_total',
      'Entries of the log whose application took longer than --warning-apply-duration.',
      () => this.slow,
    );
  }
}
