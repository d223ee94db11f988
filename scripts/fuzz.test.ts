import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FUZZ_TARGETS } from './fuzz-targets.ts';

const ROOT = join(import.meta.dirname, '..');
/** They try what is done with good input. */
const NO_READERS = ['packages/mvcc/src/store.fuzz.test.ts', 'packages/mvcc/src/watch-hub.fuzz.test.ts'];

// Goal: a fuzzer that is added can be run for minutes as well, and none is run that is not there.
test('every fuzzer is a target', () => {
  const files = globSync('packages/**/*.fuzz.test.ts', { cwd: ROOT, exclude: (name) => name === 'node_modules' });
  const targets = new Set(FUZZ_TARGETS.map(({ file }) => file));
  assert.deepEqual([...targets].sort(), files.filter((file) => !NO_READERS.includes(file)).sort());
  assert.equal(new Set(FUZZ_TARGETS.map(({ name }) => name)).size, FUZZ_TARGETS.length);
});
