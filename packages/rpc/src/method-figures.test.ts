/** What is counted of calls, at the level of the parts: the transport's own tests have no figures. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CALL_SECONDS, CallersByHeader, MethodFigures, TIMED_EVERY } from './method-figures.ts';

describe('figures of a method', () => {
  it('time one call in many, the first one among them, or all', () => {
    const some = new MethodFigures('/a/B', false);
    const timed = Array.from({ length: 2 * TIMED_EVERY }, () => some.begin());
    assert.deepEqual(
      timed.flatMap((isTimed, call) => (isTimed ? [call] : [])),
      [0, TIMED_EVERY],
    );
    assert.equal(some.started, 2 * TIMED_EVERY);
    const all = new MethodFigures('/a/B', true);
    assert.ok([all.begin(), all.begin(), all.begin()].every((isTimed) => isTimed));
  });

  it('put times into the bucket whose bound they reach at most', () => {
    const { times } = new MethodFigures('/a/B', false);
    for (const seconds of [0, 0.005, 0.006, 10, 11]) times.observe(seconds);
    assert.equal(times.counts[0], 2);
    assert.equal(times.counts[1], 1);
    assert.equal(times.counts[CALL_SECONDS.length - 1], 1);
    assert.equal(times.counts[CALL_SECONDS.length], 1);
    assert.equal(times.count, 5);
  });

  it('tell few callers apart, whatever clients send', () => {
    const callers = new CallersByHeader('client-api-version');
    const known = callers.of('unary', '3.5');
    assert.equal(callers.of('unary', '3.5'), known);
    assert.notEqual(callers.of('stream', '3.5'), known);
    const unknown = callers.of('unary', undefined);
    for (const odd of ['', 'a b', '"', 'x'.repeat(33)]) assert.equal(callers.of('unary', odd), unknown);
    for (let version = 0; version < 1000; version++) callers.of('unary', `v${version}`);
    assert.ok(callers.unary.size <= 32);
    assert.equal(callers.of('unary', 'one more'), unknown);
    assert.equal(callers.of('unary', 'v1001'), unknown);
  });
});
