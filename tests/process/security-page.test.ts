import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEFAULT_LIMITS } from '@etsd/rpc';
import { OPTIONS } from '@etsd/server';
import { FUZZ_TARGETS } from '../../scripts/fuzz-targets.ts';
import { ROOT } from '../support/binaries.ts';

const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');

/** Cells of the rows of a table whose heading begins with this word. */
function rows(heading: string): string[][] {
  const lines = page.split('\n');
  const found: string[][] = [];
  for (let at = 0; at < lines.length; at++) {
    if (!new RegExp(`^\\| ${heading} +\\|`).test(lines[at] as string)) continue;
    for (at += 2; (lines[at] ?? '').startsWith('|'); at++) {
      found.push(
        (lines[at] as string)
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      );
    }
  }
  assert.ok(found.length > 0, heading);
  return found;
}

// Goal: whoever sets up a member by the page finds the flags and defaults that there are, all of them.
test('the table of limits has every limit, with its flag and default', () => {
  const named = new Set<string>();
  for (const [what, value, where] of rows('limit') as [string, string, string][]) {
    const name = /^`(?:--)?([\w-]+)`$/.exec(where)?.[1] as string;
    if (!where.startsWith('`--')) {
      assert.equal(String(DEFAULT_LIMITS[name as keyof typeof DEFAULT_LIMITS]), value, what);
      continue;
    }
    const option = OPTIONS.find((each) => each.name === name);
    assert.ok(option !== undefined && option.status === 'active', where);
    const shown = /^`([^`]*)`/.exec(value)?.[1];
    assert.equal(shown, option.fallback, where);
    named.add(name);
  }
  const bounds = OPTIONS.filter(
    ({ name, section, status }) =>
      status === 'active' && (section === 'Limits and audit' || /^max-|-max$|^quota|handshake/.test(name)),
  );
  const elsewhere = ['audit-log', 'audit-level', 'audit-keys'];
  for (const { name } of bounds)
    assert.ok(named.has(name) || elsewhere.includes(name), `--${name} is not in the table`);
  for (const name of elsewhere) assert.ok(page.includes(`--${name}`));
});

test('each known hole of etcd has a test that names it', () => {
  for (const [advisory, , path] of rows('advisory') as [string, string, string][]) {
    assert.ok(existsSync(join(ROOT, path)), path);
    const id = /^(CVE|GHSA)-\S+$/.test(advisory) ? advisory : 'July';
    if (id === 'July')
      assert.match(readFileSync(join(ROOT, path), 'utf8'), /July (advisories of )?2026|July advisories/);
    else assert.ok(readFileSync(join(ROOT, path), 'utf8').includes(id), `${path} says nothing of ${id}`);
  }
});

test('the table of fuzzers is the list of targets', () => {
  assert.deepEqual(
    rows('target').map(([name]) => name?.replaceAll('`', '')),
    FUZZ_TARGETS.map(({ name }) => name),
  );
});
