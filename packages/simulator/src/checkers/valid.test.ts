import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHistory } from './check-history.ts';
import { makeHistory } from './history.fixture.ts';
import { checkRegisters } from './register.ts';

describe('histories of a right cluster', () => {
  // Goal: no false alarm, whatever overlaps, gets no answer or is read late.
  it('are accepted', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const unknown = seed % 3 === 0 ? 0.2 : 0.02;
      const made = makeHistory({ seed, operations: 600, clients: 1 + (seed % 12), keys: 1 + (seed % 8), unknown });
      const leases = { calmSince: made.endedAt, lateMs: 1000, lookedAt: made.endedAt + 1, alive: new Set<string>() };
      const { violations, counts } = checkHistory(made.records, { finalRevision: made.finalRevision, leases });
      assert.deepEqual(violations, [], `seed ${seed}: ${JSON.stringify(violations[0])}`);
      assert.equal(counts['operations'], 600);
    }
  });

  // Goal: ten minutes of chaos are judged in seconds.
  it('of 100,000 operations are checked within seconds', (context) => {
    const made = makeHistory({ seed: 7, operations: 100_000, clients: 20, keys: 10, unknown: 0.01 });
    const started = process.cpuUsage();
    assert.deepEqual(checkHistory(made.records, { finalRevision: made.finalRevision, leases: null }).violations, []);
    const whole = process.cpuUsage(started).user / 1e6;
    const again = process.cpuUsage();
    assert.deepEqual(checkRegisters(made.operations), []);
    context.diagnostic(
      `${whole.toFixed(1)} s, of these registers ${(process.cpuUsage(again).user / 1e6).toFixed(1)} s`,
    );
    assert.ok(whole < 30, `${whole} s of processor time`);
  });
});
