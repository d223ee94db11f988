/**
 * What CI runs and anybody can: cheap checks first, so that a break shows in the first minute, then the build and every
 * test. Ends with one line of counts; each check counts as one.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { type Counts, runTests } from './test.ts';

const ROOT = join(import.meta.dirname, '..');

const STEPS: ReadonlyArray<readonly [name: string, command: string, ...args: string[]]> = [
  ['lint', 'biome', 'check', '.'],
  ['types', 'tsc', '--noEmit'],
  ['generated code is current', process.execPath, 'scripts/gen-proto.ts', '--check'],
  ['deploy/kubernetes is current', process.execPath, 'scripts/render-manifests.ts', '--check'],
  ['build', process.execPath, 'scripts/release.ts', '--out', 'dist'],
];

function runSteps(): Counts {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, command, ...args] of STEPS) {
    const started = Date.now();
    const program = command.includes('/') ? command : join(ROOT, 'node_modules', '.bin', command);
    const { status } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' });
    console.log(`${status === 0 ? 'ok' : 'FAILED'}: ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    if (status === 0) counts.passed++;
    else counts.failed++;
  }
  return counts;
}

/** Simulated time on fresh seeds. */
process.env['SIMULATE_MINUTES'] ??= '120';
/** Requests of random users that etcd and etsd are asked to judge: half a minute of two processors. */
process.env['ETSD_TEST_AUTH_COUNT'] ??= '50000';

const steps = runSteps();
const tests = steps.failed > 0 ? { passed: 0, failed: 0, skipped: 0 } : await runTests([]);
const failed = steps.failed + tests.failed;
console.log(`${steps.passed + tests.passed} passed, ${failed} failed, ${tests.skipped} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
