import { type U64, u64ToHex } from '@etsd/base';
import type { LinkCounters } from '@etsd/replication';
import type { DistributionView, MetricRegistry } from './metrics.ts';

/** The figures of the links to the other members; what `HttpTransport` keeps. */
export interface MeasuredLinks {
  readonly counters: ReadonlyMap<U64, LinkCounters>;
  activeSince(id: U64): number | null;
}

/** Declares `etcd_network_*` of the peer side. Labels are etcd's: `To` what goes out, `From` what comes in. */
export function attachPeerMetrics(registry: MetricRegistry, links: MeasuredLinks, memberId: U64): void {
  const local = u64ToHex(memberId);
  const both = (id: U64): string => `Local="${local}",Remote="${u64ToHex(id)}"`;
  const to = (id: U64): string => `To="${u64ToHex(id)}"`;
  const from = (id: U64): string => `From="${u64ToHex(id)}"`;

  function each<T>(label: (id: U64) => string, read: (counters: LinkCounters, id: U64) => T): () => Map<string, T> {
    return () => new Map([...links.counters].map(([id, counters]) => [label(id), read(counters, id)]));
  }
  /** Only members with which it has happened. */
  const seen =
    (label: (id: U64) => string, read: (counters: LinkCounters) => number): (() => Map<string, number>) =>
    () =>
      new Map([...each(label, read)()].filter(([, value]) => value > 0));
  const seenTimes =
    (label: (id: U64) => string, read: (counters: LinkCounters) => DistributionView) =>
    (): Map<string, DistributionView> =>
      new Map([...each(label, read)()].filter(([, view]) => view.count > 0));

  const counter = (name: string, help: string, read: () => Map<string, number>): void =>
    registry.labelled('counter', `etcd_network_${name}`, help, read);
  const gauge = (name: string, help: string, read: () => Map<string, number>): void =>
    registry.labelled('gauge', `etcd_network_${name}`, help, read);

  gauge(
    'active_peers',
    '1 while the streams with that member are up.',
    each(both, (_counters, id) => (links.activeSince(id) === null ? 0 : 1)),
  );
  counter(
    'disconnected_peers_total',
    'How often the streams with that member broke.',
    seen(both, (counters) => counters.disconnects),
  );
  counter(
    'peer_sent_bytes_total',
    'Bytes sent to that member.',
    seen(to, (counters) => counters.sentBytes),
  );
  counter(
    'peer_received_bytes_total',
    'Bytes received from that member.',
    seen(from, (counters) => counters.receivedBytes),
  );
  counter(
    'peer_sent_failures_total',
    'Messages that could not be sent to that member.',
    each(to, (counters) => counters.sentFailures),
  );
  counter(
    'peer_received_failures_total',
    'Failures of receiving from that member.',
    seen(from, (counters) => counters.receivedFailures),
  );
  registry.labelledHistogram(
    'etcd_network_peer_round_trip_time_seconds',
    'How long a question to that member and its answer took.',
    each(to, (counters) => counters.roundTrips),
  );
  attachSnapshotMetrics(registry, { to, from, seen, seenTimes });
}

interface Selectors {
  readonly to: (id: U64) => string;
  readonly from: (id: U64) => string;
  seen(label: (id: U64) => string, read: (counters: LinkCounters) => number): () => Map<string, number>;
  seenTimes(
    label: (id: U64) => string,
    read: (counters: LinkCounters) => DistributionView,
  ): () => Map<string, DistributionView>;
}

function attachSnapshotMetrics(registry: MetricRegistry, { to, from, seen, seenTimes }: Selectors): void {
  const declare = (
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    label: (id: U64) => string,
    read: (counters: LinkCounters) => number,
  ): void => registry.labelled(type, `etcd_network_snapshot_${name}`, help, seen(label, read));
  declare('counter', 'send_success', 'Snapshots sent to that member.', to, (link) => link.snapshotsSent);
  declare(
    'counter',
    'send_failures',
    'Snapshots that could not be sent to that member.',
    to,
    (l) => l.snapshotSendFailures,
  );
  declare('gauge', 'send_inflights_total', 'Snapshots on their way to that member.', to, (l) => l.snapshotsSending);
  declare('counter', 'receive_success', 'Snapshots received from that member.', from, (l) => l.snapshotsReceived);
  declare(
    'counter',
    'receive_failures',
    'Snapshots from that member that did not arrive whole.',
    from,
    (link) => link.snapshotReceiveFailures,
  );
  declare(
    'gauge',
    'receive_inflights_total',
    'Snapshots on their way from that member.',
    from,
    (link) => link.snapshotsReceiving,
  );
  registry.labelledHistogram(
    'etcd_network_snapshot_send_total_duration_seconds',
    'How long sending a snapshot to that member took.',
    seenTimes(to, (link) => link.snapshotSendTimes),
  );
  registry.labelledHistogram(
    'etcd_network_snapshot_receive_total_duration_seconds',
    'How long receiving a snapshot from that member took.',
    seenTimes(from, (link) => link.snapshotReceiveTimes),
  );
}
