import type { V2Kind, V2Stats } from '@etsd/state';
import type { MetricRegistry } from './metrics.ts';

/** What etcd calls the writes. */
const WRITES: ReadonlyArray<readonly [kind: V2Kind, action: string]> = [
  ['compareAndDelete', 'compareAndDelete'],
  ['compareAndSwap', 'compareAndSwap'],
  ['create', 'create'],
  ['delete', 'delete'],
  ['sets', 'set'],
  ['update', 'update'],
];
/** Shown from the start, since etcd keeps its members there and does these by itself. */
const ALWAYS = new Set(['create', 'getRecursive', 'set']);

/** The keys of the second version, under etcd's names; all 0 where they are not served. */
export function attachV2Metrics(registry: MetricRegistry, stats: V2Stats, watchers: () => WatchedTree | null): void {
  const actions = (
    name: string,
    help: string,
    kinds: typeof WRITES,
    isSuccess: boolean,
    always: ReadonlySet<string>,
  ): void =>
    registry.labelled(
      'counter',
      name,
      help,
      () =>
        new Map(
          kinds
            .map(([kind, action]) => [action, stats.total(kind, isSuccess)] as const)
            .concat(kinds === WRITES ? [] : [['getRecursive', 0]])
            .filter(([action, count]) => count > 0 || always.has(action))
            .map(([action, count]) => [`action="${action}"`, count]),
        ),
    );
  const reads: typeof WRITES = [['gets', 'get']];
  actions('etcd_debugging_store_reads_total', 'Reads of the second version, recursive or not.', reads, true, ALWAYS);
  actions('etcd_debugging_store_writes_total', 'Writes of the second version.', WRITES, true, ALWAYS);
  const never = new Set<string>();
  actions('etcd_debugging_store_reads_failed_total', 'Reads of the second version that failed.', reads, false, never);
  actions(
    'etcd_debugging_store_writes_failed_total',
    'Writes of the second version that failed.',
    WRITES,
    false,
    never,
  );
  registry.value(
    'counter',
    'etcd_debugging_store_expires_total',
    'Keys of the second version that expired.',
    () => stats.expiredTotal,
  );
  registry.value(
    'counter',
    'etcd_debugging_store_watch_requests_total',
    'Watches of the second version.',
    () => watchers()?.watchesTotal ?? 0,
  );
  registry.value(
    'gauge',
    'etcd_debugging_store_watchers',
    'Watches of the second version that wait.',
    () => watchers()?.watcherCount ?? 0,
  );
}

/** What knows of those who wait. */
export interface WatchedTree {
  readonly watcherCount: number;
  readonly watchesTotal: number;
}
