// Goal: on a terminal the line tells how much there is, how fast it comes and how long it will take; a pipe stays clean.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { Progress } from './progress.ts';

function shown(isTTY: boolean, run: (progress: Progress, at: (ms: number) => void) => void): string {
  const output = Object.assign(new PassThrough(), { isTTY });
  let nowMs = 0;
  run(new Progress(output, 'snapshot', { isBytes: true, nowMs: () => nowMs }), (ms) => {
    nowMs = ms;
  });
  return String(output.read() ?? '');
}

test('amount, rate and time left', () => {
  const text = shown(true, (progress, at) => {
    for (let second = 0; second <= 10; second++) {
      at(second * 1000);
      progress.show(second * 10_000_000, 100_000_000);
    }
    progress.done('fetched');
  });
  const lines = text.split('\r').slice(1);
  assert.match(lines[0] as string, /^snapshot ░{30} 0% 0 B of 100 MB/);
  assert.match(lines[5] as string, /^snapshot █{15}░{15} 50% 50 MB of 100 MB, 10 MB\/s, 5s left/);
  assert.match(lines[10] as string, /^snapshot █{30} 100% .* 0s left/);
  assert.match(lines[11] as string, /snapshot: fetched\n$/);
});

test('the rate follows a line that becomes slower', () => {
  const text = shown(true, (progress, at) => {
    for (let step = 0; step <= 60; step++) {
      at(step * 1000);
      progress.show(Math.min(step, 10) * 10_000_000 + Math.max(0, step - 10) * 1_000_000, 1_000_000_000);
    }
  });
  assert.match(text.split('\r').at(-1) as string, /, 1\.0 MB\/s, 14m1\ds left/);
});

test('a pipe gets nothing', () => {
  const text = shown(false, (progress) => {
    progress.show(5, 10);
    progress.done('fetched');
    progress.stop();
  });
  assert.equal(text, '');
});
