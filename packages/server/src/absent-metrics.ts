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
  registry.histogram(
    'etcd_debugging_snap_save_marshalling_duration_seconds',
    'Encoding the small file of a snapshot: part of writing it, and nothing is counted here.',
    doubled(0.001, 14),
  );
}
