import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

/**
 * What V8 is told before it starts, since later it does not listen. A run makes much garbage and keeps little: young objects
 * get room to die in (64 MiB), and a full collection, which costs as much as twenty simulated seconds, waits until old
 * objects take 2 GiB. Without that it would come with every 64 MB of buffers, long before. No threads for it: a run of its
 * own on another core makes better use of that core. And no marking bit by bit, which goes on most of the time and makes
 * every store dearer: nobody waits for an answer here.
 *
 * Dearer than a full collection is what follows it: compiled code that refers to objects of runs that are over goes with
 * them, which is a good part of what is hot, and is compiled again from the beginning. Code that was compiled for where
 * objects of one place come to lie is thrown away too when that changes; it changes from run to run, and is left alone.
 *
 * The program's own text lies in large pages where the system has them: it jumps about in tens of megabytes.
 */
export const V8_FLAGS: readonly string[] = [
  '--single-threaded-gc',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64',
  '--initial-old-space-size=2048',
  '--heap-growing-percent=800',
  '--external-memory-accounted-in-global-limit',
  '--no-incremental-marking',
  '--no-memory-reducer',
  '--no-allocation-site-pretenuring',
  '--use-largepages=silent',
];

const MAIN = join(import.meta.dirname, 'main.ts');

/** Starts the program with its flags, for the given share of all that it is asked to run: every so manieth, from one on. */
export function startShare(share: number, shares: number, args: readonly string[], isQuiet: boolean): ChildProcess {
  const flags = [...V8_FLAGS, MAIN, '--share', `${share}/${shares}`, ...args];
  return spawn(process.execPath, flags, { stdio: isQuiet ? ['ignore', 'pipe', 'inherit'] : 'inherit' });
}

/** Its exit code, once it has ended and all that it said was read; 1 where a signal has ended it. */
export function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}
