import { doubled, type MetricRegistry } from './metrics.ts';

/**
 * Figures of etcd about parts that a member of etsd does not have. They are there, and say that nothing happens: a rule or a
 * panel that asks for them should find its series, not a gap.
 */
export function attachAbsentMetrics(registry: MetricRegistry): void {
  const none = (type: 'counter' | 'gauge', name: string, help: string): void =>
    registry.value(type, name, `${help} Always 0: there is no such part.`, () => 0);
  none('gauge', 'etcd_grpc_proxy_cache_hits_total', 'Answers from the cache of a gRPC proxy.');
  none('gauge', 'etcd_grpc_proxy_cache_keys_total', 'Ranges in the cache of a gRPC proxy.');
  none('gauge', 'etcd_grpc_proxy_cache_misses_total', 'Questions that the cache of a gRPC proxy could not answer.');
  none('counter', 'etcd_grpc_proxy_events_coalescing_total', 'Events that a gRPC proxy joined.');
  none('gauge', 'etcd_grpc_proxy_watchers_coalescing_total', 'Watchers that a gRPC proxy joined.');
  none('counter', 'etcd_debugging_store_expires_total', 'Keys of the second version that expired.');
  none('counter', 'etcd_debugging_store_watch_requests_total', 'Watches of the second version.');
  none('gauge', 'etcd_debugging_store_watchers', 'Watchers of the second version.');
  const actions = (name: string, help: string, labels: readonly string[]): void =>
    registry.labelled(
      'counter',
      name,
      `${help} Always 0: there is no such part.`,
      () => new Map(labels.map((action) => [`action="${action}"`, 0])),
    );
  actions('etcd_debugging_store_reads_total', 'Reads of the second version.', ['getRecursive']);
  actions('etcd_debugging_store_writes_total', 'Writes of the second version.', ['create', 'set']);
  registry.histogram(
    'etcd_debugging_snap_save_marshalling_duration_seconds',
    'Encoding the small file of a snapshot: part of writing it, and nothing is counted here.',
    doubled(0.001, 14),
  );
}
