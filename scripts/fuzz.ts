/**
 * `npm run fuzz -- --target hpack --minutes 10`: runs one fuzzer (or `--target all`, one after the other) with seeds that
 * were not tried before, for so long. Fails on a crash, on a run that hangs, and on memory that grows. CI runs each of
 * them for a moment, as a test.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FUZZ_TARGETS, type FuzzTarget } from './fuzz-targets.ts';

const ROOT = join(import.meta.dirname, '..');
/** A run takes seconds; one that takes this long hangs. */
const RUN_MS_MAX = 600_000;
/** Resident memory of a run, in MiB. */
const MEMORY_MIB_MAX = 1500;

interface Run {
  readonly failure: string | null;
  readonly peakMiB: number;
  readonly output: string;
}

function runOnce({ file, pattern }: FuzzTarget, seed: number, factor: number): Promise<Run> {
  const chosen = pattern === undefined ? [] : ['--test-name-pattern', pattern];
  const env = {
    ...process.env,
    FUZZ_FIRST: String(seed),
    FUZZ_RUNS: String(factor),
    SEED: String(seed),
    ROUNDS: String(150 * factor),
    FUZZ_ROUNDS: String(400 * factor),
  };
  const child = spawn(process.execPath, ['--max-old-space-size=768', ...chosen, join(ROOT, file)], { cwd: ROOT, env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    });
  }
  let peakMiB = 0;
  let failure: string | null = null;
  const end = (reason: string) => {
    failure ??= reason;
    child.kill('SIGKILL');
  };
  const watch = setInterval(() => {
    peakMiB = Math.max(peakMiB, residentMiB(child.pid));
    if (peakMiB > MEMORY_MIB_MAX) end(`took ${peakMiB.toFixed(0)} MiB`);
  }, 250);
  const hang = setTimeout(() => end(`did not end in ${RUN_MS_MAX / 1000} s`), RUN_MS_MAX);
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearInterval(watch);
      clearTimeout(hang);
      resolve({ failure: failure ?? (code === 0 ? null : `ended with ${code}`), peakMiB, output });
    });
  });
}

function residentMiB(pid: number | undefined): number {
  try {
    const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

async function fuzz(target: FuzzTarget, minutes: number, firstSeed: number, factor: number): Promise<boolean> {
  const until = performance.now() + minutes * 60_000;
  let runs = 0;
  let peakMiB = 0;
  for (let seed = firstSeed; runs === 0 || performance.now() < until; seed += 1_000_000) {
    const run = await runOnce(target, seed, factor);
    runs++;
    peakMiB = Math.max(peakMiB, run.peakMiB);
    if (run.failure === null) continue;
    console.log(run.output);
    console.log(`${target.name}: FAILED, ${run.failure} (--seed ${seed} --factor ${factor} runs it again)`);
    return false;
  }
  console.log(`${target.name}: ${runs} runs from seed ${firstSeed}, at most ${peakMiB.toFixed(0)} MiB, nothing found`);
  return true;
}

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: '' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
    factor: { type: 'string', default: '5' },
  },
});
const chosen = FUZZ_TARGETS.filter(({ name }) => values.target === 'all' || values.target === name);
if (chosen.length === 0) {
  console.log('usage: npm run fuzz -- --target NAME|all --minutes 10 [--seed N] [--factor N]\n');
  for (const { name, reads } of FUZZ_TARGETS) console.log(`${name.padEnd(10)} ${reads}`);
  process.exitCode = 2;
}
for (const target of chosen) {
  if (!(await fuzz(target, Number(values.minutes), Number(values.seed), Number(values.factor)))) process.exitCode = 1;
}
