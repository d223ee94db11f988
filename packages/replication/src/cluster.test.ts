/**
 * Goal: whatever happens to machines, disks and the network between them, members agree on every index, what was
 * acknowledged stays and is applied once, what was refused is not, every read on every member sees what was committed
 * when it was asked, and peace restores service. Method: three to seven whole members with real logs on simulated disks;
 * crashes, torn writes, partitions (also one-way), loss, repetition and overtaking of messages, slow and failing disks,
 * drifting clocks, stopped processes, membership changes and hand-overs, all drawn from a seed, under load on every member.
 *
 * Play one seed: `SEED=7 node --test packages/replication/src/cluster.test.ts`; `RUNS` sets how many.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimCluster } from './testing/sim-cluster.ts';

const FIRST_SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? (process.env['SEED'] === undefined ? 10 : 1));
const FAULTS_MS = Number(process.env['FAULTS_MS'] ?? 6000);

test('members agree through faults, and recover from them', async () => {
  const total = { acknowledged: 0, failed: 0, reads: 0, leaders: 0, snapshots: 0, changed: 0, wide: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    const cluster = new SimCluster(seed);
    try {
      await cluster.play(FAULTS_MS);
    } catch (error) {
      const { eventCount, nowMs } = cluster.universe.simulation;
      const where = `event ${eventCount}, ${nowMs.toFixed(1)} ms, plan ${JSON.stringify(cluster.plan)}`;
      const replay = `SEED=${seed} FAULTS_MS=${FAULTS_MS} node --test packages/replication/src/cluster.test.ts`;
      throw new Error(`${(error as Error).message} (${where}; again: ${replay})`, { cause: error });
    }
    const { model } = cluster;
    total.acknowledged += model.acknowledged;
    total.failed += model.failed;
    total.reads += model.reads;
    total.leaders += model.leaders.size;
    total.snapshots += model.snapshots;
    total.changed += model.changed;
    total.wide += model.wide;
  }
  console.log(`seeds ${FIRST_SEED}…${FIRST_SEED + RUNS - 1}: ${JSON.stringify(total)}`);
  assert.ok(total.acknowledged > RUNS * 50);
  assert.ok(total.reads > RUNS * 20);
  if (RUNS < 10) return;
  assert.ok(total.leaders > RUNS * 2);
  assert.ok(total.snapshots > 0);
  assert.ok(total.changed > 0);
  assert.ok(total.wide > 0);
});

test('a seed replays to the event', async () => {
  const runs: string[] = [];
  for (let run = 0; run < 2; run++) {
    const cluster = new SimCluster(FIRST_SEED);
    await cluster.play(1500);
    const { eventCount } = cluster.universe.simulation;
    runs.push(`${eventCount} events, ${cluster.model.applied.join()}`);
  }
  assert.equal(runs[0], runs[1]);
});
