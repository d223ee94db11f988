/** A round of each fault; `rounds.ts` runs as many as are asked for, on either product. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAULTS, runRounds } from './rounds/run.ts';

test('rounds of faults lose no event, repeat none, and give the lock to one at a time', {
  timeout: 180_000,
}, async () => {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? Date.now() % 1_000_000);
  const rounds = Number(process.env['ETSD_TEST_CLIENT_ROUNDS'] ?? FAULTS.length);
  console.log(`seed ${seed}`);
  const result = await runRounds({ product: 'etsd', rounds, seed });
  assert.deepEqual(result.violations, [], `seed ${seed}`);
  assert.ok(result.revisions > 0 && result.tenures >= rounds);
});
