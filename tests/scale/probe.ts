/**
 * Loaded into the server by `--import`: measures from inside what holds its event loop, and writes it to the file named by
 * ETSD_PROBE_FILE at every SIGUSR2. Each reading begins a new period.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';

export interface ProbeReading {
  /** Longest and 99.9th percentile of how long the loop was held, in milliseconds. */
  readonly loopMaxMs: number;
  readonly loopP999Ms: number;
  /** Longest pauses for garbage, by kind, in milliseconds, and all of them together. */
  readonly gcMaxMs: Readonly<Record<string, number>>;
  readonly gcTotalMs: number;
  readonly memory: NodeJS.MemoryUsage;
}

const RESOLUTION_MS = 1;
const GC_KINDS: Readonly<Record<number, string>> = { 1: 'minor', 4: 'major', 8: 'incremental', 16: 'weak' };
const file = process.env['ETSD_PROBE_FILE'];

if (file !== undefined) {
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  loop.enable();
  let gcMaxMs: Record<string, number> = {};
  let gcTotalMs = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = (entry as unknown as { detail: { kind: number } }).detail.kind;
      const name = GC_KINDS[kind] ?? String(kind);
      gcMaxMs[name] = Math.max(gcMaxMs[name] ?? 0, entry.duration);
      gcTotalMs += entry.duration;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  process.on('SIGUSR2', () => {
    const reading: ProbeReading = {
      loopMaxMs: loop.count === 0 ? 0 : Math.max(0, loop.max / 1e6 - RESOLUTION_MS),
      loopP999Ms: Math.max(0, loop.percentile(99.9) / 1e6 - RESOLUTION_MS),
      gcMaxMs,
      gcTotalMs,
      memory: process.memoryUsage(),
    };
    writeFileSync(`${file}.new`, JSON.stringify(reading));
    renameSync(`${file}.new`, file);
    loop.reset();
    gcMaxMs = {};
    gcTotalMs = 0;
  });
}
