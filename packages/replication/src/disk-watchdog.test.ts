/** Goal: only a write that is not done for that many ticks counts as a hanging disk, and the first one done ends it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskWatchdog } from './disk-watchdog.ts';

test('a disk that finishes nothing for the given ticks hangs, until it finishes something', () => {
  const dog = new DiskWatchdog(3);
  const seen: string[] = [];
  const states: [unfinished: number, finished: number][] = [
    [0, 0],
    [1, 0],
    [1, 0],
    [2, 0],
    [2, 0],
    [1, 1],
    [1, 1],
  ];
  for (const [unfinished, finished] of states) {
    const changed = dog.look({ unfinished, finished });
    seen.push(`${dog.isStalled ? 'hangs' : 'works'}${changed ? '!' : ''}`);
  }
  assert.deepEqual(seen, ['works', 'works', 'works', 'hangs!', 'hangs', 'works!', 'works']);
});

test('a disk that is slow but goes on does not hang', () => {
  const dog = new DiskWatchdog(3);
  for (let tick = 0; tick < 100; tick++) {
    dog.look({ unfinished: 5, finished: Math.floor(tick / 2) });
    assert.equal(dog.isStalled, false);
  }
});
