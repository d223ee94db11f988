// Goal: wherever a member dies while it is sent a snapshot or installs it, it starts again and ends up the same as the
// others. Method: a member that lags is started and killed at random moments, again and again, while keys change.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Prng } from '@etsd/base';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';

const CYCLES = Number(process.env['ETSD_TEST_SNAPSHOT_KILLS'] ?? 4);
const SEED = Number(process.env['ETSD_TEST_SEED'] ?? Date.now() % 1_000_000);
const KEYS = 400;
const VALUE_BYTES = 40_000;
const FLAGS = ['--snapshot-count', '100', '--experimental-snapshot-catchup-entries', '5', '--unsafe-no-fsync'];

describe('a member killed while it catches up', () => {
  test(`comes to the same state, seed ${SEED}`, async (context) => {
    context.diagnostic(`seed ${SEED}`);
    const prng = new Prng(SEED);
    const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], flags: FLAGS });
    const write = async (from: number, count: number): Promise<void> => {
      for (let i = from; i < from + count; i++) {
        const key = Buffer.from(`key${i % KEYS}`);
        await cluster.ask('KV/Put', { key, value: Buffer.alloc(VALUE_BYTES, i) });
      }
    };
    try {
      const [leader, , away] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
      await cluster.agreed();
      await cluster.moveLeader(leader);
      await away.kill();
      await write(0, KEYS);
      const stages = new Map<string, number>();
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        await write(KEYS + cycle * 150, 150);
        away.logs = [];
        away.launch();
        await stageReached(away, prng.pick(STAGES));
        await new Promise((resolve) => setTimeout(resolve, prng.below(40)));
        await away.kill();
        const stage = STAGES.findLast((text) => away.logs.some((line) => line.includes(text))) ?? 'before';
        stages.set(stage, (stages.get(stage) ?? 0) + 1);
      }
      context.diagnostic(`killed at ${JSON.stringify([...stages])}`);
      await away.start();
      const { revision } = await eventually(20_000, 'a status', () => cluster.status(leader));
      const hashes = [...(await cluster.hashes(revision)).values()].map(({ hash }) => hash);
      assert.equal(new Set(hashes).size, 1, JSON.stringify(hashes));
    } finally {
      await cluster.dispose();
    }
  });
});

/** What the member prints on its way, in order. */
const STAGES = ['"receiving database snapshot"', '"applying snapshot"', '"applied snapshot"'];

/** Waits until the member has printed this; one that had nothing to be sent is told by its being up. */
async function stageReached(member: ClusterMember, text: string): Promise<void> {
  await eventually(
    30_000,
    text,
    () => {
      if (!member.isRunning) throw new Error(`the member ended by itself:\n${member.tail(10)}`);
      const isThere = member.logs.some((line) => line.includes(text) || line.includes('ready to serve'));
      return isThere ? true : null;
    },
    2,
  );
}
