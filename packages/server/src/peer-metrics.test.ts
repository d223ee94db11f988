/** Goal: what happens on the links is on the metrics page under etcd's names and labels, and nothing that has not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkCounters } from '@etsd/replication';
import { MetricRegistry } from './metrics.ts';
import { attachPeerMetrics } from './peer-metrics.ts';

test('figures of links', () => {
  const registry = new MetricRegistry();
  const [near, far] = [new LinkCounters(), new LinkCounters()];
  const counters = new Map([
    ['00000000000000aa', near],
    ['00000000000000bb', far],
  ]);
  const activeSince = (id: string): number | null => (id.endsWith('aa') ? 5 : null);
  attachPeerMetrics(registry, { counters, activeSince }, '0000000000000001');
  near.sentBytes = 10;
  near.snapshotsSent = 1;
  near.roundTrips.observe(0.00015);
  far.sentFailures = 3;
  far.disconnects = 2;
  const lines = registry
    .render()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#') && !line.includes('_bucket'));
  assert.deepEqual(lines, [
    'etcd_network_active_peers{Local="1",Remote="aa"} 1',
    'etcd_network_active_peers{Local="1",Remote="bb"} 0',
    'etcd_network_disconnected_peers_total{Local="1",Remote="bb"} 2',
    'etcd_network_peer_round_trip_time_seconds_sum{To="aa"} 0.00015',
    'etcd_network_peer_round_trip_time_seconds_count{To="aa"} 1',
    'etcd_network_peer_round_trip_time_seconds_sum{To="bb"} 0',
    'etcd_network_peer_round_trip_time_seconds_count{To="bb"} 0',
    'etcd_network_peer_sent_bytes_total{To="aa"} 10',
    'etcd_network_peer_sent_failures_total{To="aa"} 0',
    'etcd_network_peer_sent_failures_total{To="bb"} 3',
    'etcd_network_snapshot_send_success{To="aa"} 1',
  ]);
  assert.match(registry.render(), /round_trip_time_seconds_bucket\{To="aa",le="0.0002"\} 1\n/);
});
