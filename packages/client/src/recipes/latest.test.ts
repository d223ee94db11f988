/** Goal: a reader of the latest value sees the last one, none twice, and hears of the end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latest } from './latest.ts';

test('who reads slowly is given the latest, and each only once', async () => {
  const latest = new Latest(0);
  const changes = latest.changes();
  // From the call on, not from the first look.
  latest.set(1);
  assert.equal((await changes.next()).value, 1);
  for (const value of [2, 3, 4]) latest.set(value);
  assert.equal((await changes.next()).value, 4);
  const next = changes.next();
  latest.set(4);
  assert.equal((await next).value, 4, 'the same value set again is a change');
  const last = changes.next();
  latest.end();
  assert.deepEqual(await last, { done: true, value: undefined });
  assert.equal(latest.current, 4);
});

test('what was set before the end is still told, an abort ends at once, several read side by side', async () => {
  const latest = new Latest('a');
  const stop = new AbortController();
  const [one, two] = [latest.changes(), latest.changes({ signal: stop.signal })];
  const waiting = [one.next(), two.next()];
  stop.abort();
  assert.equal((await waiting[1])?.done, true);
  latest.set('b');
  latest.end();
  assert.equal((await waiting[0])?.value, 'b');
  assert.equal((await one.next()).done, true);
});
