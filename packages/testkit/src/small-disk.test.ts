// Goal: no test leaves a file system mounted, however it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { makeSmallDisk, removeSmallDisk, sweepSmallDisks } from './small-disk.ts';

const probe = makeSmallDisk(1);
if (probe !== null) removeSmallDisk(probe);
const skip = probe === null && 'mounting is not permitted';

const isMounted = (folder: string): boolean => readFileSync('/proc/self/mounts', 'latin1').includes(` ${folder} `);

/** A process that mounts one, tells where, and waits to be ended. */
async function mounting(): Promise<{ folder: string; end: (signal: NodeJS.Signals) => Promise<void> }> {
  const module = JSON.stringify(new URL('./small-disk.ts', import.meta.url).href);
  const code = `const { makeSmallDisk } = await import(${module}); console.log(makeSmallDisk(1)); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  };
  return { folder: first.toString().trim(), end };
}

test('a process that is told to end unmounts its disk', { skip }, async () => {
  const { folder, end } = await mounting();
  assert.ok(isMounted(folder));
  await end('SIGTERM');
  assert.ok(!isMounted(folder));
  assert.ok(!existsSync(folder));
});

test('what a killed process has left is swept by the next one', { skip }, async () => {
  const { folder, end } = await mounting();
  const other = await mounting();
  await end('SIGKILL');
  assert.ok(isMounted(folder));
  sweepSmallDisks();
  assert.ok(!isMounted(folder));
  assert.ok(isMounted(other.folder), 'somebody who lives keeps his own');
  await other.end('SIGINT');
  assert.ok(!isMounted(other.folder));
});
