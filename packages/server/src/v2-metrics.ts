import type { V2Kind, V2Stats } from '@etsd/state';
import type { MetricRegistry } from './metrics.ts';

/** Etcd's words for what is counted. */
const ACTIONS: Readonly<Record<V2Kind, string>> = {
  gets: 'get',
  recursiveGets: 'getRecursive',
  sets: 'set',
  delete: 'delete',
  update: 'update',
  create: 'create',
  compareAndSwap: 'compareAndSwap',
  compareAndDelete: 'compareAndDelete',
};
const READS: readonly V2Kind[] = ['gets', 'recursiveGets'];
const WRITES: readonly V2Kind[] = ['sets', 'delete', 'update', 'create', 'compareAndSwap', 'compareAndDelete'];
/** Those that etcd shows from the start. */
const SHOWN: readonly V2Kind[] = ['recursiveGets', 'sets', 'create'];

/** Declares `etcd_debugging_store_*`: what happens to the keys of etcd 2. `watchers`: who waits for changes of them now. */
export function attachV2Metrics(registry: MetricRegistry, stats: V2Stats, watchers: () => number): void {
  const counts = (name: string, help: string, kinds: readonly V2Kind[], isSuccess: boolean): void =>
    registry.labelled('counter', `etcd_debugging_store_${name}`, help, () => {
      const shown = kinds.filter((kind) => (isSuccess && SHOWN.includes(kind)) || stats.of(kind, isSuccess) > 0);
      return new Map(shown.map((kind) => [`action="${ACTIONS[kind]}"`, stats.of(kind, isSuccess)]));
    });
  counts('reads_total', 'Total number of reads of v2 keys.', READS, true);
  counts('reads_failed_total', 'Reads of v2 keys that found nothing.', READS, false);
  counts('writes_total', 'Total number of writes of v2 keys.', WRITES, true);
  counts('writes_failed_total', 'Writes of v2 keys that were refused.', WRITES, false);
  const value = (type: 'counter' | 'gauge', name: string, help: string, read: () => number): void =>
    registry.value(type, `etcd_debugging_store_${name}`, help, read);
  value('counter', 'expires_total', 'Total number of v2 keys that expired.', () => stats.expirations);
  value('counter', 'watch_requests_total', 'Total number of waits for v2 keys.', () => stats.watches);
  value('gauge', 'watchers', 'Waits for v2 keys that go on now.', watchers);
}
