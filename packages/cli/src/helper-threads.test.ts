/** Goal: V8's threads do not take the processor from the event loop. Method: the system's own list of a process's threads. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { putHelpersBehind } from './helper-threads.ts';

test('V8 compiles and collects behind the event loop, which keeps its priority', {
  skip: process.platform !== 'linux',
}, () => {
  const before = getPriority();
  const count = putHelpersBehind();
  assert.ok(count > 0, 'Node has such threads, by the name they are looked for');
  assert.equal(getPriority(), before);
  const threads = readdirSync('/proc/self/task').filter((thread) =>
    readFileSync(`/proc/self/task/${thread}/comm`, 'latin1').startsWith('V8Worker'),
  );
  assert.equal(threads.length, count);
  for (const thread of threads) assert.equal(getPriority(Number(thread)), Math.min(19, before + 10));
  assert.equal(putHelpersBehind(), count, 'again changes nothing');
  for (const thread of threads) assert.equal(getPriority(Number(thread)), Math.min(19, before + 10));
});
