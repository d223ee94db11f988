/** Goal: the helpers of `@etsd/server/testing` work in vitest as docs/embedding.md shows. Method: vitest runs such tests. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { NODE } from '../support/binaries.ts';

test('vitest runs tests with a member in their own process', async () => {
  const program = join(import.meta.dirname, 'run-vitest.ts');
  const env = { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' };
  const { stdout } = await promisify(execFile)(NODE, [program], { timeout: 120_000, env });
  assert.match(stdout, /Tests\s+4 passed \(4\)/);
});
