import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { Histogram } from './histogram.ts';

test('goal: percentiles are right to 1 %; method: random latencies over six orders of magnitude beside a sorted list', () => {
  const random = new Prng(7);
  const histogram = new Histogram();
  const all: number[] = [];
  for (let index = 0; index < 20_000; index++) {
    const value = Math.round(10 ** (random.float() * 6));
    histogram.recordUs(value);
    all.push(value);
  }
  all.sort((a, b) => a - b);
  for (const percent of [1, 50, 90, 99, 99.9, 100]) {
    const exact = (all[Math.ceil((percent / 100) * all.length) - 1] as number) / 1000;
    const found = histogram.percentileMs(percent);
    assert.ok(Math.abs(found - exact) <= exact * 0.01 + 0.001, `${percent} %: ${found} for ${exact}`);
  }
  assert.equal(histogram.minMs, (all[0] as number) / 1000);
  assert.equal(histogram.maxMs, (all.at(-1) as number) / 1000);
});

test('goal: parts add up; method: two halves and the whole', () => {
  const whole = new Histogram();
  const halves = [new Histogram(), new Histogram()] as const;
  for (let value = 0; value < 5000; value++) {
    whole.recordUs(value * 3);
    halves[value & 1]?.recordUs(value * 3);
  }
  const sum = new Histogram();
  for (const half of halves) sum.add(half);
  for (const percent of [0.1, 50, 99]) assert.equal(sum.percentileMs(percent), whole.percentileMs(percent));
  assert.equal(sum.meanMs, whole.meanMs);
});

test('goal: nonsense does no harm: nothing recorded, below zero, beyond the ceiling', () => {
  const histogram = new Histogram();
  assert.equal(histogram.percentileMs(99), 0);
  assert.equal(histogram.meanMs, 0);
  histogram.recordUs(-5);
  assert.equal(histogram.percentileMs(100), 0);
  histogram.recordUs(1e12);
  assert.ok(histogram.maxMs > 2e6);
});
