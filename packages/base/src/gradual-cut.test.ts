import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutGradually } from './gradual-cut.ts';

const MIB = 1024 * 1024;

/** What cutting a file from `size` to `length` does, in order: cuts in MiB, rests as their milliseconds with a colon. */
async function course(size: number, length: number): Promise<string> {
  const done: string[] = [];
  const cut = async (to: number): Promise<void> => void done.push(`${to / MIB}`);
  const rest = async (ms: number): Promise<void> => void done.push(`:${ms}`);
  await cutGradually(size, length, cut, rest);
  return done.join(' ');
}

test('a large file goes in steps, with a rest between two of them', async () => {
  assert.equal(await course(10 * MIB, 0), '6 :20 2 :20 0');
  assert.equal(await course(9 * MIB, MIB), '5 :20 1');
  assert.equal(await course(MIB, 0), '0');
  assert.equal(await course(MIB, MIB), '');
  assert.equal(await course(0, MIB), '', 'nothing is made longer');
});

test('a cut that fails ends it', async () => {
  const failing = (): Promise<void> => Promise.reject(new Error('EIO'));
  await assert.rejects(
    cutGradually(MIB, 0, failing, async () => {}),
    /EIO/,
  );
});
