/** Upper bounds of round trip times in seconds, as etcd's: 0.1 ms doubled fifteen times. */
export const ROUND_TRIP_BUCKETS: readonly number[] = Array.from({ length: 16 }, (_, power) => 0.0001 * 2 ** power);

/** Upper bounds of the time a snapshot takes, in seconds, as etcd's: 0.1 s doubled nine times. */
export const SNAPSHOT_BUCKETS: readonly number[] = Array.from({ length: 10 }, (_, power) => 0.1 * 2 ** power);

/** A distribution over fixed bounds; `counts` has one place more than there are bounds. Seconds. */
export class Distribution {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  sumOfSquares = 0;
  count = 0;
  /** The last one, the least and the most. */
  last = 0;
  least = 0;
  most = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(seconds: number): void {
    const place = this.bounds.findIndex((bound) => seconds <= bound);
    this.counts[place < 0 ? this.bounds.length : place]!++;
    this.sum += seconds;
    this.sumOfSquares += seconds * seconds;
    this.last = seconds;
    this.least = this.count === 0 ? seconds : Math.min(this.least, seconds);
    this.most = Math.max(this.most, seconds);
    this.count++;
  }
}

/** What happened on the links to one member since the start: the `etcd_network_*` figures. They only grow, but for those of now. */
export class LinkCounters {
  /** Streams that are up now, of four. */
  streams = 0;
  sentBytes = 0;
  receivedBytes = 0;
  sentFailures = 0;
  /** Messages that carry entries, or could. */
  sentAppends = 0;
  receivedAppends = 0;
  receivedFailures = 0;
  disconnects = 0;
  readonly roundTrips = new Distribution(ROUND_TRIP_BUCKETS);
  snapshotsSent = 0;
  snapshotSendFailures = 0;
  snapshotsReceived = 0;
  snapshotReceiveFailures = 0;
  /** Under way now. */
  snapshotsSending = 0;
  snapshotsReceiving = 0;
  readonly snapshotSendTimes = new Distribution(SNAPSHOT_BUCKETS);
  readonly snapshotReceiveTimes = new Distribution(SNAPSHOT_BUCKETS);
}
