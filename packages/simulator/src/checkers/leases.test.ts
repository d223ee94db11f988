import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LeaseOperation } from './history.ts';
import { checkLeases, type LeaseLimits } from './leases.ts';

const operation = (fields: Partial<LeaseOperation>): LeaseOperation => ({
  type: 'lease',
  do: 'grant',
  lease: '7',
  ttl: 2,
  start: 100,
  end: 110,
  outcome: 'ok',
  error: '',
  ...fields,
});
const calm = (lookedAt: number, ...alive: string[]): LeaseLimits => ({
  calmSince: 0,
  lateMs: 500,
  lookedAt,
  alive: new Set(alive),
});
const end = (seenAt: number) => [{ lease: '7', revision: 9, seenAt }];
const rulesOf = (...args: Parameters<typeof checkLeases>): string[] => checkLeases(...args).map((one) => one.rule);

describe('leases', () => {
  it('end no sooner than their time after the last renewal began', () => {
    const renewed = [operation({}), operation({ do: 'renew', start: 1000, end: 1010 })];
    assert.deepEqual(rulesOf(renewed, end(3000), calm(0)), []);
    assert.deepEqual(rulesOf(renewed, end(2999), calm(0)), ['lease early']);
    assert.deepEqual(rulesOf([operation({})], end(2100), calm(0)), []);
    assert.deepEqual(rulesOf([operation({})], end(2099), calm(0)), ['lease early']);
  });

  it('end at any time once somebody asked for it, answered or not', () => {
    for (const outcome of ['ok', 'unknown'] as const) {
      const operations = [operation({}), operation({ do: 'revoke', outcome, start: 200, end: 210 })];
      assert.deepEqual(rulesOf(operations, end(205), calm(0)), []);
    }
    const refused = [operation({}), operation({ do: 'revoke', outcome: 'failed', start: 200, end: 210 })];
    assert.deepEqual(rulesOf(refused, end(205), calm(0)), ['lease early']);
  });

  it('are not renewed once they ended', () => {
    const operations = [operation({}), operation({ do: 'renew', start: 5000, end: 5001 })];
    assert.deepEqual(rulesOf(operations, end(4000), calm(0)), ['lease']);
    // The answer that there is no such lease is the right one.
    const told = [operation({}), operation({ do: 'renew', start: 5000, end: 5001, ttl: 0 })];
    assert.deepEqual(rulesOf(told, end(4000), calm(0)), []);
  });

  it('do not outlive their time by more than the bound', () => {
    assert.deepEqual(rulesOf([operation({})], [], calm(2610, '7')), []);
    assert.deepEqual(rulesOf([operation({})], [], calm(2611, '7')), ['lease late']);
    // A renewal without an answer may have been granted, and a new leader counts anew.
    const unknown = [operation({}), operation({ do: 'renew', outcome: 'unknown', start: 1000, end: 1500 })];
    assert.deepEqual(rulesOf(unknown, [], calm(3900, '7')), []);
    assert.deepEqual(rulesOf([operation({})], [], { ...calm(4400, '7'), calmSince: 2000 }), []);
  });

  it('that nobody asked for do not exist', () => {
    assert.deepEqual(rulesOf([], end(10), calm(0)), ['lease']);
  });
});
