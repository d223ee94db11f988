import { type EtcdError, RaftRequestField } from '@etsd/proto';
import { type Applier, PassingApplier, type Waiter } from '@etsd/replication';
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

/** Of one kind of request. */
class ApplyTimes {
  readonly succeeded = new Histogram(APPLY_BUCKETS);
  readonly failed = new Histogram(APPLY_BUCKETS);
}

/**
 * Stands between the log and what applies it, and counts how long each kind of request took. Whether a request failed is
 * known where somebody waits for it: on the member that proposed it.
 */
export class MeasuredApplier extends PassingApplier {
  /** Entries that took longer than they should. */
  slow = 0;
  private readonly source: FieldSource;
  private readonly slowMs: number;
  private readonly outcome = new Outcome();
  private readonly byField = new Map<number, ApplyTimes>();
  /** Those of the kind that was applied last: mostly the next one is of the same. */
  private times = new ApplyTimes();
  private timesField = NO_FIELD;
  private field = NO_FIELD;
  private hasFailed = false;

  constructor(inner: Applier, source: FieldSource, slowMs: number) {
    super(inner);
    this.source = source;
    this.slowMs = slowMs;
  }

  override apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void {
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

  override took(ms: number): void {
    if (ms > this.slowMs) this.slow++;
    const { field } = this;
    if (field === NO_FIELD) return;
    if (field !== this.timesField) this.turnTo(field);
    if (this.hasFailed) this.times.failed.observe(ms / 1000);
    else this.times.succeeded.observe(ms / 1000);
    this.field = NO_FIELD;
  }

  private turnTo(field: number): void {
    let times = this.byField.get(field);
    if (times === undefined) {
      times = new ApplyTimes();
      this.byField.set(field, times);
    }
    this.times = times;
    this.timesField = field;
  }

  attachMetrics(registry: MetricRegistry): void {
    registry.labelledHistogram(
      'etcd_server_apply_duration_seconds',
      'How long it took to apply an entry of the log, by kind of request.',
      () => {
        const views = new Map<string, DistributionView>();
        for (const [field, { succeeded, failed }] of this.byField) {
          const [op, version] = field === V2_FIELD ? ['PUT', 'v2'] : [OPERATIONS.get(field) ?? 'unknown', 'v3'];
          for (const [success, view] of [
            [true, succeeded.view()],
            [false, failed.view()],
          ] as const) {
            if (view.count > 0) views.set(`op="${op}",success="${success}",version="${version}"`, view);
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
