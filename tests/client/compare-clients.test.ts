/** A short run of `compare-clients.ts` against its bound. Its ratios are several times the bound, so noise does not matter. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE } from '../support/binaries.ts';

test('three times the requests of other clients per second of processor time', { timeout: 120_000 }, () => {
  const script = join(import.meta.dirname, 'compare-clients.ts');
  const args = [script, '--seconds', '0.5', '--rounds', '1', '--bound', '3'];
  const { status, stderr, stdout } = spawnSync(NODE, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  console.log(stdout);
});
