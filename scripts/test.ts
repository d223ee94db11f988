/**
 * `npm test`: every test of the repository with node's runner, then one line with the counts. Words given behind it
 * choose files by part of their path: `npm test -- packages/wal`.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const PATTERNS = ['scripts/**/*.test.ts', 'packages/**/*.test.ts', 'tests/**/*.test.ts'];
const TEST_TIMEOUT_MS = 600_000;
/** Every file is a process of its own, many start others, and all of them compile the same modules. */
const COMPILE_CACHE = join(ROOT, 'node_modules', '.cache', 'compiled');

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs the chosen test files; what they print goes to our own output. */
export async function runTests(words: readonly string[]): Promise<Counts> {
  const files = PATTERNS.flatMap((pattern) =>
    globSync(pattern, { cwd: ROOT, exclude: (name) => name === 'node_modules' }),
  );
  const chosen = files.filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
  if (chosen.length === 0) throw new Error(`no test file has one of these in its path: ${words.join(' ')}`);
  const child = spawn(
    process.execPath,
    ['--test', '--test-concurrency=2', `--test-timeout=${TEST_TIMEOUT_MS}`, '--test-reporter=spec', ...chosen],
    {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env, FORCE_COLOR: '0' },
    },
  );
  let tail = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    process.stdout.write(text);
    tail = (tail + text).slice(-200_000);
  });
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
  const figure = (name: string): number =>
    Number([...tail.matchAll(new RegExp(`^ℹ ${name} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
  const counts = { passed: figure('pass'), failed: figure('fail') + figure('cancelled'), skipped: figure('skipped') };
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

if (import.meta.main) {
  const counts = await runTests(process.argv.slice(2));
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}
