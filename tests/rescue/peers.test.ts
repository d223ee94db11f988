import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import { prepareServer } from '../support/server.ts';
import { Acknowledged, damagedPeers, directoryOf, tool } from './peers.ts';

const PATIENT_MS = 120_000;
const RUNS = 1;

// Goal: a member whose files were damaged never serves anything wrong, and has everything again after its start, or after
// one command. Method: see peers.ts, which does the same for as long as one likes.
test('damaged members with peers', { timeout: 300_000 }, async () => {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? 2);
  const outcomes = await damagedPeers(seed, RUNS);
  console.log(`seed ${seed}: ${JSON.stringify(outcomes)}`);
  assert.equal(outcomes.started + outcomes.rebuilt, RUNS);
  assert.ok(outcomes.rebuilt > 0, 'one of them refused, and was rebuilt');
});

// Goal: after two of three members are lost, one command makes a cluster of the third, with everything that it had, and
// others can join it. Method: real processes; the plan is looked at first, and with a majority at hand nothing is done.
test('a lost majority', { timeout: 300_000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'etsd-lost-'));
  const cluster = await TestCluster.start({ products: ['etsd', 'etsd', 'etsd'], dataRoot: root });
  try {
    const told = new Acknowledged();
    const [first, second] = cluster.members as [(typeof cluster.members)[0], (typeof cluster.members)[0]];
    await cluster.agreed(PATIENT_MS);
    await told.write(cluster, first, new Prng(3), 120);
    await cluster.caughtUp();
    for (const member of cluster.members) await member.kill();

    const enough = await tool('etsdutl', 'recover', directoryOf(first), directoryOf(second), '--execute');
    assert.notEqual(enough.exit, 0);
    assert.match(enough.stderr, /2 of 3 voting members are here: a majority/);

    const plan = await tool('etsdutl', 'recover', directoryOf(first));
    assert.equal(plan.exit, 0, plan.stderr);
    assert.match(plan.stdout, /1 of 3 voting members/);
    assert.match(plan.stdout, /with --execute it is done/);
    assert.deepEqual(readdirSync(first.dataDir), ['member.etcd'], 'a plan makes nothing');

    const dataDir = join(root, 'recovered');
    const target = join(dataDir, 'member.etcd');
    const done = await tool(
      'etsdutl',
      'recover',
      directoryOf(first),
      '--target-dir',
      target,
      '--execute',
      '-w',
      'json',
    );
    assert.equal(done.exit, 0, done.stderr);
    const { clientPort, peerPort, membership } = first;
    const alone = await prepareServer({
      product: 'etsd',
      dataDir,
      clientPort,
      peerPort,
      membership,
      readyMs: PATIENT_MS,
    });
    try {
      await alone.start();
      await eventually(PATIENT_MS, 'it leads', async () =>
        (await cluster.status(alone))?.leader !== '0' ? true : null,
      );
      assert.equal(await told.judge(cluster, alone), told.revision, 'everything that was acknowledged is there');
      await told.write(cluster, alone, new Prng(4), 30);
      await joined(cluster, alone, root, told);
    } finally {
      await alone.dispose();
    }
  } finally {
    await cluster.dispose();
    rmSync(root, { recursive: true, force: true });
  }
});

/** One more member joins as the printed commands say, and gets everything. */
async function joined(
  cluster: TestCluster,
  alone: Awaited<ReturnType<typeof prepareServer>>,
  root: string,
  told: Acknowledged,
): Promise<void> {
  const member = await prepareServer({ product: 'etsd', dataDir: join(root, 'joined'), readyMs: PATIENT_MS });
  try {
    const { name } = alone.membership;
    const url = `http://127.0.0.1:${member.peerPort}`;
    const added = await tool(
      'etsdctl',
      '--endpoints',
      alone.address,
      'member',
      'add',
      'late',
      '--learner',
      `--peer-urls=${url}`,
    );
    assert.equal(added.exit, 0, added.stderr);
    member.membership = {
      ...alone.membership,
      name: 'late',
      advertisePeerUrl: url,
      initialCluster: `${name}=${alone.membership.advertisePeerUrl},late=${url}`,
      state: 'existing',
    };
    await member.start();
    await eventually(PATIENT_MS, 'it has everything', async () =>
      (await told.judge(cluster, member).catch(() => 0)) === told.revision ? true : null,
    );
  } finally {
    await member.dispose();
  }
}
