/**
 * Goal: whatever happens to messages, disks and members, the safety properties of the Raft paper (figure 3) hold, and a
 * healed cluster goes on. Method: three to five members in a network and on disks ruled by a seed, membership changes and
 * transfers among the events; the properties are checked after every event. Run one seed again with
 * `RAFT_SEED=… node --test packages/raft/src/simulation.test.ts`; `RAFT_RUNS` sets how many seeds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { Simulation } from './testing/simulation.ts';

const firstSeed = Number(process.env['RAFT_SEED'] ?? 1);
const runs = Number(process.env['RAFT_RUNS'] ?? (process.env['RAFT_SEED'] === undefined ? 100 : 1));

test('safety under faults, liveness once they stop', () => {
  let elections = 0;
  let applied = 0;
  let snapshots = 0;
  let changes = 0;
  let reads = 0;
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const simulation = new Simulation(new Prng(seed));
    try {
      simulation.run(3000);
      simulation.heal();
    } catch (error) {
      throw new Error(`seed ${seed}, after event ${simulation.events}: ${(error as Error).message}`, { cause: error });
    }
    elections += simulation.leaders.size;
    applied += simulation.agreed.size;
    snapshots += simulation.snapshots;
    changes += simulation.changes;
    reads += simulation.readsConfirmed;
  }
  // The runs must have exercised what they claim to check.
  assert.ok(elections > runs, `elections: ${elections}`);
  assert.ok(applied > runs * 10, `applied: ${applied}`);
  if (runs >= 50) {
    assert.ok(snapshots > 10, `snapshots: ${snapshots}`);
    assert.ok(changes > 10, `membership changes: ${changes}`);
    assert.ok(reads > 100, `reads: ${reads}`);
  }
  console.log(
    `seeds ${firstSeed}…${firstSeed + runs - 1}: ${elections} leaders, ${applied} entries, ${snapshots} snapshots, ` +
      `${changes} membership changes, ${reads} reads`,
  );
});
