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

/** How many handshakes an address that always wants one gets through in so many milliseconds. */
function opened(pace: HandshakePace, fromMs: number, ms: number, then: (nowMs: number) => void): number {
  let count = 0;
  for (let nowMs = fromMs; nowMs < fromMs + ms; nowMs++) {
    while (pace.allows('a', nowMs)) {
      pace.began('a', nowMs);
      pace.shaken('a', nowMs);
      then(nowMs);
      count++;
    }
  }
  return count;
}

test('who opens connections and asks for nothing has a tenth of the pace, after a quarter of a second of them', () => {
  const pace = new HandshakePace(50, 10);
  const silent = opened(pace, 0, 1000, () => {});
  assert.ok(silent >= 13 && silent <= 20, `${silent}`);
  const later = opened(pace, 1000, 4000, () => {});
  assert.ok(later >= 19 && later <= 21, `${later}`);
});

test('who asks has all of the pace, though each question comes late', () => {
  const pace = new HandshakePace(50, 10);
  const due: number[] = [];
  const asks = (nowMs: number): void => {
    due.push(nowMs + 50);
    while ((due[0] ?? Number.POSITIVE_INFINITY) <= nowMs) pace.asked('a', due.shift() as number);
  };
  const first = opened(pace, 0, 2000, asks);
  const later = opened(pace, 2000, 10_000, asks);
  assert.ok(first >= 95, `${first}`);
  assert.ok(later >= 490 && later <= 510, `${later}`);
});

test('a connection that ends without a question has cost four', () => {
  const pace = new HandshakePace(50, 10);
  const count = opened(pace, 0, 4000, (nowMs) => pace.endedUnasked('a', nowMs));
  assert.ok(count >= 50 && count <= 54, `${count}`);
});

test('an address is remembered while its connections have asked for nothing, and forgotten when they have', () => {
  const pace = new HandshakePace(50, 10);
  for (let nowMs = 0; nowMs < 50_000; nowMs += 1000) {
    pace.began('a', nowMs);
    pace.shaken('a', nowMs);
    pace.sweep(nowMs + 999);
  }
  const slow = opened(pace, 50_000, 4000, () => {});
  assert.ok(slow >= 28 && slow <= 32, `${slow}`);
  for (let count = 0; count < 50 + slow; count++) pace.asked('a', 54_000);
  pace.sweep(60_000);
  const fast = opened(pace, 60_000, 4000, (nowMs) => pace.asked('a', nowMs));
  assert.ok(fast >= 208 && fast <= 211, `${fast}`);
});
