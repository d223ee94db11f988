import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE, ROOT } from '../support/binaries.ts';

/** Threads that allocate all the time: what a compiling one does seldom, waiting for a collection at the end, is frequent. */
const ALLOCATING = '--stress-concurrent-allocation';
const RUNS = 3;
/** Of a second's work, on a machine that does much else. */
const HANGING_MS = 240_000;

interface Ending {
  readonly status: number | null;
  readonly signal: string | null;
}

async function endOf(program: string, ...args: string[]): Promise<Ending> {
  const words = [ALLOCATING, join(ROOT, `packages/cli/bin/${program}.ts`), ...args];
  const child = spawn(NODE, words, { stdio: 'ignore', timeout: HANGING_MS, killSignal: 'SIGKILL' });
  const [status, signal] = await once(child, 'exit');
  return { status, signal };
}

// Goal: a program that has done its work ends, whatever V8's threads are doing. Method: they are made to do all the time
// what hangs; where the program joins them, at least one run in four does not end.
test('programs end, with their status', { timeout: 2.5 * HANGING_MS }, async () => {
  const expected = new Map([
    ['version', 0],
    ['unheard-of', 1],
  ]);
  for (const [command, status] of expected) {
    const ends = await Promise.all(Array.from({ length: RUNS }, () => endOf('etsdutl', command)));
    assert.deepEqual(ends, Array(RUNS).fill({ status, signal: null }), command);
  }
});
