/** Goal: the list of our own figures is whole and true. Method: it is held against the names in the sources. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { ROOT } from '../support/binaries.ts';
import { documentedFigures } from './documented.ts';

/** Names as they stand in the sources; those of the heap are put together. */
const NAMES = /'((?:etsd|nodejs)_[a-z0-9_]+|go_threads)'/g;
const HEAP = /^\s+heap\(\s*'([a-z_]+)'/gm;

it('docs/metrics.md lists each figure of ours, and no other', () => {
  const names = new Set<string>();
  for (const file of globSync('packages/server/src/**/*.ts', { cwd: ROOT })) {
    if (/\.(?:test|bench|fixture)\.ts$/.test(file)) continue;
    const text = readFileSync(join(ROOT, file), 'utf8');
    for (const [, name] of text.matchAll(NAMES)) names.add(name as string);
    if (file.endsWith('process-metrics.ts')) for (const [, name] of text.matchAll(HEAP)) names.add(`nodejs_${name}`);
  }
  const documented = [...documentedFigures().keys()];
  assert.deepEqual(documented.sort(), [...names].sort());
});
