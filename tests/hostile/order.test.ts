import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerOrder } from './order.ts';

// Goal: under overload leases come before administration, this before writes, these before reads of a key, these before
// scans. Method: all at once on one connection, in the opposite order; and the same without lanes, where it comes out
// otherwise, so that it is the lanes which make the order.
test('what comes at once is answered by lanes, though it was sent the other way round', async (context) => {
  const { last, failures } = await answerOrder(true);
  const shown = (order: ReadonlyMap<string, number>) =>
    [...order].map(([lane, place]) => `${lane} ${place}`).join(', ');
  context.diagnostic(`last answers with lanes: ${shown(last)}`);
  assert.deepEqual(failures, []);
  const lanes = [...last].sort(([, left], [, right]) => left - right).map(([lane]) => lane);
  assert.deepEqual(lanes, ['lease', 'admin', 'write', 'read', 'scan']);
});

test('without lanes scans that came first hold up all others', async (context) => {
  const { last, failures } = await answerOrder(false);
  context.diagnostic(`last answers without: ${[...last].map(([lane, place]) => `${lane} ${place}`).join(', ')}`);
  assert.deepEqual(failures, []);
  const lanes = [...last].sort(([, left], [, right]) => left - right).map(([lane]) => lane);
  assert.deepEqual(lanes, ['scan', 'read', 'write', 'admin', 'lease'], 'as they were sent');
});
