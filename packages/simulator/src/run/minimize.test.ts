/** Goal: what fails is made small without leaving out what makes it fail, in few tries. Method: failures with known causes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minimizeBySteps, minimizeList } from './minimize.ts';

const HUNDRED = Array.from({ length: 100 }, (_unused, number) => number);

test('of a hundred elements the two that matter are left, in order', async () => {
  let tries = 0;
  const left = await minimizeList(HUNDRED, async (items) => {
    tries++;
    return items.includes(17) && items.includes(83);
  });
  assert.deepEqual(left, [17, 83]);
  assert.ok(tries < 60, `${tries} tries`);
});

test('nothing is left where nothing matters, everything where everything does', async () => {
  assert.deepEqual(await minimizeList(HUNDRED, async () => true), []);
  assert.deepEqual(await minimizeList([1, 2, 3], async (items) => items.length === 3), [1, 2, 3]);
  assert.deepEqual(await minimizeList([1], async (items) => items.length === 1), [1]);
});

test('steps are taken as long as it still fails, whichever comes first', async () => {
  const half = (name: 'a' | 'b') => (thing: { a: number; b: number }) =>
    thing[name] > 0 ? { ...thing, [name]: Math.floor(thing[name] / 2) } : null;
  const left = await minimizeBySteps(
    { a: 64, b: 64 },
    [half('a'), half('b')],
    async ({ a, b }) => a >= 5 && a + b >= 20,
  );
  assert.deepEqual(left, { a: 8, b: 16 });
});
