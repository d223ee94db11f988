import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressCounter, hostOf } from './address-counter.ts';

// Goal: an address has its share of the places, whichever ports it comes from, and gets them back.
test('connections are counted by host', () => {
  const counter = new AddressCounter(2);
  const enter = (peer: string) => counter.enter(peer);
  assert.deepEqual(['10.0.0.1:1', '10.0.0.1:2', '10.0.0.1:3', '10.0.0.2:1'].map(enter), [true, true, false, true]);
  counter.leave('10.0.0.1:1');
  assert.equal(counter.of('10.0.0.1:9'), 1);
  assert.equal(enter('10.0.0.1:4'), true);
  for (let count = 0; count < 5; count++) assert.equal(enter('@'), true, 'a unix socket has no address');
  assert.equal(hostOf('[fe80::1]:2379'), 'fe80::1');
});

test('without a bound nothing is counted', () => {
  const counter = new AddressCounter(0);
  for (let count = 0; count < 5; count++) assert.equal(counter.enter('10.0.0.1:1'), true);
  assert.equal(counter.of('10.0.0.1:1'), 0);
});
