import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusals } from './refusals.ts';

test('the same refusal is said once a minute, others at once', () => {
  const refusals = new Refusals();
  assert.ok(refusals.isNews('a', 0));
  assert.ok(!refusals.isNews('a', 59_999));
  assert.ok(refusals.isNews('b', 59_999));
  assert.ok(refusals.isNews('a', 60_000));
  assert.ok(!refusals.isNews('a', 100_000));
});

test('ever new refusals do not fill the log', () => {
  const refusals = new Refusals();
  let lines = 0;
  for (let time = 0; time < 120_000; time++) if (refusals.isNews(`${time}`, time)) lines++;
  assert.ok(lines >= 128 && lines <= 192, `${lines} lines in two minutes`);
});
