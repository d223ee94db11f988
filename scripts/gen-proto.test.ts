import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generate, stale } from './gen-proto.ts';

test('goal: the committed classes are what the schema generates; method: generate and compare', () => {
  assert.deepEqual(stale(), []);
});

test('goal: generating twice gives the same bytes', () => {
  assert.deepEqual(generate(), generate());
});
