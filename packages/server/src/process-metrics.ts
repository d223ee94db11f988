import type { MetricRegistry } from './metrics.ts';

/** The process that a member runs in, as Prometheus' clients describe theirs. */
export interface ProcessFigures {
  residentBytes(): number;
  /** Of user and system together. */
  cpuSeconds(): number;
  /** Unix time. */
  readonly startSeconds: number;
}

/** Under the names that dashboards know, and `etcdctl check datascale` reads. */
export function attachProcessMetrics(registry: MetricRegistry, figures: ProcessFigures): void {
  registry.value('gauge', 'process_resident_memory_bytes', 'Resident memory size in bytes.', () =>
    figures.residentBytes(),
  );
  registry.value('counter', 'process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', () =>
    figures.cpuSeconds(),
  );
  registry.value(
    'gauge',
    'process_start_time_seconds',
    'Start time of the process since unix epoch in seconds.',
    () => figures.startSeconds,
  );
}
