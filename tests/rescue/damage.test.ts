import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDamage } from './damage.ts';

const RUNS = 25;

// Goal: a changed byte or a cut file is never served: see damage.ts, which does the same for as long as one likes.
test('damaged data directories', { timeout: 400_000 }, async () => {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? 5);
  const { outcomes, byFile } = await runDamage(seed, RUNS);
  console.log(`seed ${seed}: ${JSON.stringify(outcomes)} ${JSON.stringify(byFile)}`);
  assert.equal(
    Object.values(outcomes).reduce((sum, count) => sum + count, 0),
    RUNS,
  );
  assert.ok(outcomes.harmless < RUNS, 'some damage was found');
});
