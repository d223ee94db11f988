/** Goal: what the README has a new user run prints what the README says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { NODE, ROOT } from '../support/binaries.ts';
import { startServer } from '../support/server.ts';

test('examples/first-steps.ts puts, watches and gets', async () => {
  const server = await startServer({ product: 'etsd' });
  try {
    const program = join(ROOT, 'examples/first-steps.ts');
    const { stdout } = await promisify(execFile)(NODE, [program, server.address], { timeout: 20_000 });
    const lines = stdout.trim().split('\n').sort();
    assert.deepEqual(lines, [
      'get: debug',
      'put: revision 2',
      'watch: /config/app1/log_level is now debug, at revision 2',
    ]);
  } finally {
    await server.dispose();
  }
});
