import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { lockFile } from './file-lock.ts';
import { SpareFiles } from './spare-files.ts';

const MODE = 0o600;

function directory(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'etsd-spare-'));
  t.after(() => rmSync(root, { recursive: true }));
  return root;
}

test('goal: a file that was taken is empty, locked and in the place of what was there', async (t) => {
  const root = directory(t);
  const files = new SpareFiles(root, MODE);
  const path = join(root, 'a');
  writeFileSync(path, 'old');
  const lock = await files.take(path);
  assert.equal(statSync(path).size, 0);
  await assert.rejects(lockFile(path, MODE), /ELOCKED/);
  await lock.release();
  await (await lockFile(path, MODE)).release();
  await files.close();
  assert.deepEqual(readdirSync(root), ['a'], 'nothing that was made ready is left');
});

test('goal: a file that was removed comes back empty and locked, without a program being started', async (t) => {
  const root = directory(t);
  const files = new SpareFiles(root, MODE);
  const first = join(root, 'first');
  let lock = await files.take(first);
  const { ino } = statSync(first);
  writeFileSync(first, 'content');
  await files.remove(first, lock);
  assert.ok(!readdirSync(root).includes('first'));
  const second = join(root, 'second');
  lock = await files.take(second);
  assert.equal(statSync(second).ino, ino, 'it is the same file');
  assert.equal(statSync(second).size, 0);
  await assert.rejects(lockFile(second, MODE), /ELOCKED/);
  await lock.release();
  await files.close();
});

test('goal: what a killed process left is removed', async (t) => {
  const root = directory(t);
  writeFileSync(join(root, 'spare-77.tmp'), 'left');
  const files = new SpareFiles(root, MODE);
  const lock = await files.take(join(root, 'a'));
  assert.ok(!readdirSync(root).includes('spare-77.tmp'));
  await lock.release();
  await files.close();
});
