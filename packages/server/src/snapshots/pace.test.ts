// Goal: a client is sent a snapshot no faster than the rate while others are busy, and not much slower, whatever timers do.
// Method: a clock of the test's own, with timers that are early by most of a millisecond, or late.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock, Timers } from '@etsd/runtime';
import { pacer } from './pace.ts';

const MIB = 1024 * 1024;

/** Bytes that a receiver who takes everything at once is given in so many milliseconds. */
async function given(forMs: number, offMs: (waitMs: number) => number): Promise<number> {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs } as Clock;
  const timers = {
    after(ms: number, fire: () => void) {
      nowMs += Math.max(0.1, ms + offMs(ms));
      fire();
      return { cancel() {} };
    },
  } as unknown as Timers;
  const pace = pacer({ clock, timers }, () => true);
  let bytes = 0;
  while (nowMs < forMs) bytes += await pace();
  return bytes;
}

for (const [name, offMs] of [
  ['right', () => 0],
  ['early', () => -0.9],
  ['late', () => 1.7],
] as const) {
  test(`the rate holds where timers are ${name}`, async () => {
    const rate = (await given(10_000, offMs)) / 10 / MIB;
    assert.ok(rate > 14.5 && rate < 16, `${rate} MiB a second`);
  });
}

test('after a long pause no more is made up for than a few pieces', async () => {
  let isFirst = true;
  const bytes = await given(10_000, () => {
    const offMs = isFirst ? 9000 : 0;
    isFirst = false;
    return offMs;
  });
  assert.ok(bytes < 17 * MIB, `${bytes / MIB} MiB`);
});
