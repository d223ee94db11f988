import type { DistributionView, MetricRegistry } from './metrics.ts';

/** The process that a member runs in, as Prometheus' clients describe theirs. */
export interface ProcessFigures {
  residentBytes(): number;
  /** Of user and system together. */
  cpuSeconds(): number;
  /** As it was started: program and arguments. */
  readonly commandLine: readonly string[];
  /** Unix time. */
  readonly startSeconds: number;
  /** What only some systems tell; null elsewhere. */
  system(): SystemFigures | null;
  readonly runtime: RuntimeFigures;
}

/** What the system knows of the process. */
export interface SystemFigures {
  readonly openFiles: number;
  /** Infinite where there is no limit. */
  readonly openFilesMax: number;
  readonly virtualBytes: number;
  readonly virtualBytesMax: number;
  /** Of the network that the process is in. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly threads: number;
}

/** Node.js and its engine. */
export interface RuntimeFigures {
  /** `v24.21.0`. */
  readonly version: string;
  heap(): { readonly used: number; readonly total: number; readonly limit: number; readonly external: number };
  /** Pauses for collecting garbage in seconds, by kind. */
  collections(): ReadonlyMap<string, DistributionView>;
}

/** Under the names that dashboards know, and `etcdctl check datascale` reads. */
export function attachProcessMetrics(registry: MetricRegistry, figures: ProcessFigures): void {
  const gauge = (name: string, help: string, read: () => number): void => registry.value('gauge', name, help, read);
  const counter = (name: string, help: string, read: () => number): void => registry.value('counter', name, help, read);
  gauge('process_resident_memory_bytes', 'Memory that the process takes.', () => figures.residentBytes());
  counter('process_cpu_seconds_total', 'Processor time of the process, user and system together.', () =>
    figures.cpuSeconds(),
  );
  gauge('process_start_time_seconds', 'When the process was started, as Unix time.', () => figures.startSeconds);
  attachRuntimeMetrics(registry, figures.runtime);
  const { system } = figures;
  if (system.call(figures) === null) return;
  const read = (value: (known: SystemFigures) => number) => (): number => {
    const known = system.call(figures);
    return known === null ? Number.NaN : value(known);
  };
  const files = read(({ openFiles }) => openFiles);
  const filesMax = read(({ openFilesMax }) => openFilesMax);
  gauge('process_open_fds', 'Files and sockets that the process has open.', files);
  gauge('process_max_fds', 'Files and sockets that the process may have open.', filesMax);
  gauge('os_fd_used', 'The same as process_open_fds, under the name etcd has for it.', files);
  gauge('os_fd_limit', 'The same as process_max_fds, under the name etcd has for it.', filesMax);
  gauge(
    'process_virtual_memory_bytes',
    'Address space of the process.',
    read(({ virtualBytes }) => virtualBytes),
  );
  gauge(
    'process_virtual_memory_max_bytes',
    'Address space that the process may have.',
    read(({ virtualBytesMax }) => virtualBytesMax),
  );
  counter(
    'process_network_receive_bytes_total',
    'Bytes received by the network that the process is in, other processes of it included.',
    read(({ receivedBytes }) => receivedBytes),
  );
  counter(
    'process_network_transmit_bytes_total',
    'Bytes sent by the network that the process is in, other processes of it included.',
    read(({ sentBytes }) => sentBytes),
  );
  gauge(
    'go_threads',
    'Threads of the process. There is no Go here, but this means the same.',
    read(({ threads }) => threads),
  );
}

function attachRuntimeMetrics(registry: MetricRegistry, runtime: RuntimeFigures): void {
  const heap = (name: string, help: string, read: (heap: ReturnType<RuntimeFigures['heap']>) => number): void =>
    registry.value('gauge', `nodejs_${name}`, help, () => read(runtime.heap()));
  heap('heap_size_used_bytes', 'Memory of the JavaScript heap in use.', ({ used }) => used);
  heap('heap_size_total_bytes', 'Memory of the JavaScript heap.', ({ total }) => total);
  heap('heap_size_limit_bytes', 'How large the JavaScript heap may grow.', ({ limit }) => limit);
  heap(
    'external_memory_bytes',
    'Memory outside of the heap that JavaScript holds: buffers.',
    ({ external }) => external,
  );
  registry.labelledHistogram(
    'nodejs_gc_duration_seconds',
    'How long collections of garbage held everything.',
    () => new Map([...runtime.collections()].map(([kind, view]) => [`kind="${kind}"`, view])),
  );
  registry.labelled(
    'gauge',
    'nodejs_version_info',
    'The version of Node.js.',
    () => new Map([[`version="${runtime.version}"`, 1]]),
  );
  // Tools that read every figure of etcd find it; what it says is true, and nobody will take it for Go's.
  registry.labelled(
    'gauge',
    'etcd_server_go_version',
    'What runs the server in place of Go.',
    () => new Map([[`server_go_version="node ${runtime.version}"`, 1]]),
  );
}
