/** Goal: the examples of the client library run, and print what their comments promise. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { NODE, ROOT } from '../support/binaries.ts';
import { startServer } from '../support/server.ts';

async function run(name: string): Promise<string[]> {
  const server = await startServer({ product: 'etsd' });
  try {
    const program = join(ROOT, 'examples', name);
    const { stdout } = await promisify(execFile)(NODE, [program, server.address], { timeout: 60_000 });
    return stdout.trim().split('\n');
  } finally {
    await server.dispose();
  }
}

test('examples/lock.ts counts to nine, one after the other', async () => {
  const counts = (await run('lock.ts')).map((line) => Number(line.split(': ')[1]));
  assert.deepEqual(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('examples/election.ts: the second follows the first', async () => {
  const lines = await run('election.ts');
  assert.equal(lines.at(-1), 'leader: second');
  assert.ok(lines.every((line) => /^leader: (first|first, at work|second)$/.test(line)));
});

test('examples/config.ts: the configuration follows its keys', async () => {
  assert.deepEqual(await run('config.ts'), [
    'read: {"level":"info"}',
    'now: {"level":"debug"}',
    'now: {"level":"debug","color":"green"}',
    'now: {"color":"green"}',
  ]);
});

test('examples/testing.ts: tests of a program with a member in their own process', async () => {
  const program = join(ROOT, 'examples/testing.ts');
  // A test runner that finds itself inside of another one would report to that.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(NODE, ['--test', program], { timeout: 60_000, env });
  assert.match(stdout, /pass 2\b/);
  assert.match(stdout, /fail 0\b/);
});
