/**
 * Goal: the protocols of watches and of leases keep their promises in every state that a small model of them can get into,
 * and from every state there is a way to the end. And the models can fail: with a known bug in them the way to it is found.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explore } from './explore.ts';
import { leaseModel } from './lease-model.ts';
import { watchModel } from './watch-model.ts';

for (const start of [1, 3]) {
  test(`a watch from revision ${start} is ordered, unique, complete and resumable`, () => {
    const result = explore(watchModel({ revisions: 4, wireMax: 2, start }));
    assert.equal(result.problem, null, result.path.join(', '));
    assert.ok(result.states > 10_000, `${result.states} states`);
  });
}

for (const [bug, start] of [
  ['bookmark while behind', 1],
  ['back in time', 1],
  ['gap after compaction', 1],
  ['future forgotten', 3],
  ['bookmark of the past', 3],
] as const) {
  test(`the model of a watch finds the bug "${bug}"`, () => {
    const { problem, path } = explore(watchModel({ revisions: 4, wireMax: 2, start, bug }));
    assert.ok(problem !== null && path.length < 14, `${problem}: ${path.join(', ')}`);
  });
}

test('a lease ends neither before its time nor never, whoever leads', () => {
  const result = explore(leaseModel({ ttl: 2, timeMax: 5, termMax: 3 }));
  assert.equal(result.problem, null, result.path.join(', '));
  assert.ok(result.states > 1000, `${result.states} states`);
});

for (const bug of ['counts from the election', 'renews without asking', 'revokes without asking'] as const) {
  test(`the model of a lease finds the bug "${bug}"`, () => {
    const { problem, path } = explore(leaseModel({ ttl: 2, timeMax: 5, termMax: 3, bug }));
    assert.ok(problem !== null, 'found');
    assert.ok(path.length < 20, path.join(', '));
  });
}
