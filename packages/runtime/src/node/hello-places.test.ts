/** Goal: of one address so many are listened to, each gets its turn, and who is silent gives way. Method: numbers for connections. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HelloPlaces } from './hello-places.ts';

function setUp(): { places: HelloPlaces<number>; begun: number[]; gone: Set<number> } {
  const begun: number[] = [];
  const gone = new Set<number>();
  const parts = {
    perAddress: 3,
    crowdedMs: 1000,
    begin: (n: number) => begun.push(n),
    isGone: (n: number) => gone.has(n),
  };
  return { places: new HelloPlaces<number>(parts), begun, gone };
}

test('so many of an address at a time, the next when one is begun with or left, and others by themselves', () => {
  const { places, begun, gone } = setUp();
  for (let entry = 0; entry < 6; entry++) places.add('a', entry, 0);
  places.add('b', 100, 0);
  assert.deepEqual(begun, [0, 1, 2, 100]);
  gone.add(3);
  places.leave('a', 1, 10);
  assert.deepEqual(begun, [0, 1, 2, 100, 4], 'who is gone is passed over');
  places.leave('a', 1, 10);
  places.leave('a', 5, 10);
  assert.equal(begun.length, 5, 'who has no place leaves none');
});

test('who is silent gives way where others wait, and only then', () => {
  const { places } = setUp();
  for (let entry = 0; entry < 3; entry++) places.add('a', entry, entry * 100);
  assert.deepEqual(places.overdue(60_000), [], 'nobody waits');
  places.add('a', 3, 500);
  assert.deepEqual(places.overdue(999), []);
  assert.deepEqual(places.overdue(5000), [0], 'one waits, one gives way');
  places.leave('a', 0, 5000);
  assert.deepEqual(places.overdue(5000), []);
});

test('who has spoken keeps its place until its turn, and does not give way', () => {
  const { places, begun } = setUp();
  for (let entry = 0; entry < 5; entry++) places.add('a', entry, 0);
  for (let entry = 0; entry < 3; entry++) places.spoke('a', entry);
  places.spoke('a', 3);
  assert.deepEqual(begun, [0, 1, 2], 'nobody else is listened to');
  assert.deepEqual(places.overdue(60_000), []);
  places.leave('a', 1, 10);
  assert.deepEqual(begun, [0, 1, 2, 3]);
  assert.deepEqual(places.overdue(5000), [3]);
});
