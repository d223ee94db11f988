import { enableCompileCache, flushCompileCache } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/**
 * Megabytes of each half of the young generation. V8's own choice grows to four times as much and keeps it; a server
 * whose requests leave little behind is as fast with less (measured: docs/performance.md).
 */
const SEMI_SPACE_FLAG = '--max-semi-space-size';
const SEMI_SPACE_MB = 4;
/**
 * How much the old generation grows until all of it is gone through again, in per cent. V8 chooses by how fast it fills: up
 * to 300 under load, 8 MB where little happens. Connections over TLS that somebody opens and leaves, fifty a second, then
 * were a collection every few seconds, and puts that met one waited for it (measured: docs/security.md).
 */
const GROWTH_FLAG = '--heap-growing-percent=300';
/**
 * Threads of V8 that mark, sweep and compile beside the event loop: half of the processors. Four of them, V8's own choice,
 * take both processors of a small machine for 10 to 20 ms at a time, from this process and from its neighbours; with one
 * the p99 of puts with 1000 clients falls by a quarter (measured: docs/performance.md).
 */
const POOL_FLAG = '--v8-pool-size';
const POOL_MAX = 4;

/**
 * Starts this program anew, in the same process, with the flags of V8 it is meant to run with; they are read once, before
 * the first line. Does nothing where they are given, or where the system cannot replace a process.
 */
export function adoptRuntimeFlags(): void {
  const given = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ').replaceAll('_', '-');
  if (given.includes(SEMI_SPACE_FLAG) || process.execve === undefined || process.platform === 'win32') return;
  const pool = Math.min(POOL_MAX, Math.max(1, availableParallelism() >> 1));
  const flags = [`${SEMI_SPACE_FLAG}=${SEMI_SPACE_MB}`, GROWTH_FLAG, `${POOL_FLAG}=${pool}`, ...process.execArgv];
  process.execve(process.execPath, [process.argv0, ...flags, ...process.argv.slice(1)]);
}

/**
 * Keeps compiled code beside the installed packages: a start then costs a third of the time, for which a member under
 * restart is missed. Where nothing can be written, everything is compiled anew.
 */
export function useCompileCache(): void {
  const packages = join(import.meta.dirname, '..', '..', '..');
  const isInstalled = /[\\/]node_modules[\\/]/.test(import.meta.dirname);
  enableCompileCache(join(packages, ...(isInstalled ? [] : ['node_modules']), '.cache', 'etsd'));
}

/** Saves what was compiled so far; what is saved already costs nothing. A member that is killed would not do it itself. */
export function saveCompileCache(): void {
  flushCompileCache();
}
