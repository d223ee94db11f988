/** Whole outputs kept in files: compared in every run, written anew with `REWRITE=1` in the environment. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Compares `actual` with the file at `path`. A file that is missing is an error, so that none is forgotten. */
export function matchSnapshot(path: string, actual: string): void {
  const text = actual.endsWith('\n') ? actual : `${actual}\n`;
  if ((process.env['REWRITE'] ?? '') !== '') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return;
  }
  assert.ok(existsSync(path), `${path} is missing; run the test with REWRITE=1 to make it, and read it`);
  assert.equal(text, readFileSync(path, 'utf8'), `differs from ${path}; REWRITE=1 replaces it`);
}
