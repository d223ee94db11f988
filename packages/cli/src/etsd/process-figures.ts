import { readdirSync, readFileSync } from 'node:fs';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { ProcessFigures, RuntimeFigures, SystemFigures } from '@etsd/server';

/** What was read is good for so long: one page asks for it several times. */
const FRESH_MS = 500;
const PAGE_BYTES = 4096;

export function processFigures(): ProcessFigures {
  let known: SystemFigures | null = null;
  let knownMs = Number.NEGATIVE_INFINITY;
  return {
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds() {
      const { system, user } = process.cpuUsage();
      return (system + user) / 1e6;
    },
    commandLine: process.argv,
    startSeconds: Date.now() / 1000 - process.uptime(),
    system() {
      if (performance.now() - knownMs < FRESH_MS) return known;
      known = readSystem();
      knownMs = performance.now();
      return known;
    },
    runtime: runtimeFigures(),
  };
}

/** Linux tells in /proc; these are files of its memory, read in a tenth of a millisecond. */
function readSystem(): SystemFigures | null {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    const limit = (name: string): number => {
      const text = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1];
      return text === undefined || text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
    };
    const pages = readFileSync('/proc/self/statm', 'latin1').split(' ');
    const status = readFileSync('/proc/self/status', 'latin1');
    const [receivedBytes, sentBytes] = networkBytes(readFileSync('/proc/self/net/netstat', 'latin1'));
    return {
      openFiles: readdirSync('/proc/self/fd').length - 1,
      openFilesMax: limit('Max open files'),
      virtualBytes: Number(pages[0]) * PAGE_BYTES,
      virtualBytesMax: limit('Max address space'),
      receivedBytes,
      sentBytes,
      threads: Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]),
    };
  } catch {
    return null;
  }
}

/** Two lines belong together: names, and their values in the same order. */
function networkBytes(text: string): readonly [received: number, sent: number] {
  const [names = '', values = ''] = text.split('\n').filter((line) => line.startsWith('IpExt:'));
  const columns = names.split(' ');
  const value = (name: string): number => Number(values.split(' ')[columns.indexOf(name)] ?? 0);
  return [value('InOctets'), value('OutOctets')];
}

/** Upper bounds of pauses in seconds. */
const PAUSES = [0.001, 0.01, 0.1, 1, 2, 5];
const KINDS = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
]);

interface GcEntry {
  readonly duration: number;
  readonly detail?: { readonly kind?: number };
}

interface Pauses {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum: number;
  count: number;
}

function runtimeFigures(): RuntimeFigures {
  const collections = new Map<string, Pauses>();
  const observer = new PerformanceObserver((list) => {
    for (const { detail, duration } of list.getEntries() as GcEntry[]) {
      const kind = KINDS.get(detail?.kind ?? -1) ?? 'other';
      let pauses = collections.get(kind);
      if (pauses === undefined) {
        pauses = { bounds: PAUSES, counts: new Array<number>(PAUSES.length + 1).fill(0), sum: 0, count: 0 };
        collections.set(kind, pauses);
      }
      const seconds = duration / 1000;
      const bucket = PAUSES.findIndex((bound) => seconds <= bound);
      const place = bucket < 0 ? PAUSES.length : bucket;
      pauses.counts[place] = (pauses.counts[place] as number) + 1;
      pauses.sum += seconds;
      pauses.count++;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  return {
    version: process.version,
    heap() {
      const { used_heap_size, total_heap_size, heap_size_limit, external_memory } = getHeapStatistics();
      return { used: used_heap_size, total: total_heap_size, limit: heap_size_limit, external: external_memory };
    },
    collections: () => collections,
  };
}
