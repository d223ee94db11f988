import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandshakePace } from './handshake-pace.ts';

/** How many handshakes an address that always wants one begins in so many milliseconds. */
function begun(pace: HandshakePace, address: string, fromMs: number, ms: number, fails: boolean): number {
  let count = 0;
  for (let nowMs = fromMs; nowMs < fromMs + ms; nowMs++) {
    while (pace.allows(address, nowMs)) {
      pace.began(address, nowMs);
      if (fails) pace.failed(address);
      count++;
    }
  }
  return count;
}

test('so many at once, and then so many a second, each address for itself', () => {
  const pace = new HandshakePace(100);
  assert.equal(begun(pace, 'a', 0, 1, false), 100);
  const later = begun(pace, 'a', 1, 1000, false);
  assert.ok(later >= 99 && later <= 101, `${later}`);
  assert.equal(begun(pace, 'b', 1001, 1, false), 100);
});

test('at once may be fewer than in a second', () => {
  const pace = new HandshakePace(100, 20);
  assert.equal(begun(pace, 'a', 0, 1, false), 20);
  const later = begun(pace, 'a', 1, 1000, false);
  assert.ok(later >= 99 && later <= 101, `${later}`);
  pace.sweep(60_000);
  assert.equal(begun(pace, 'a', 60_000, 1, false), 20);
});

test('what fails costs four times as much, and no address is shut out for long', () => {
  const pace = new HandshakePace(100);
  begun(pace, 'a', 0, 1, true);
  const later = begun(pace, 'a', 1, 1000, true);
  assert.ok(later >= 24 && later <= 26, `${later}`);
  for (let count = 0; count < 10_000; count++) pace.failed('a');
  assert.ok(!pace.allows('a', 3000));
  assert.ok(pace.allows('a', 3100));
});

test('who has rested has all of it again, and more than that never', () => {
  const pace = new HandshakePace(100);
  begun(pace, 'a', 0, 1, false);
  pace.sweep(60_000);
  assert.equal(begun(pace, 'a', 60_000, 1, false), 100);
  assert.equal(begun(pace, 'a', 120_000, 1, false), 100);
});

test('without a bound nobody waits', () => {
  const pace = new HandshakePace(0);
  for (let count = 0; count < 10_000; count++) pace.began('a', 0);
  assert.ok(pace.allows('a', 0));
});
