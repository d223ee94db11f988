/**
 * Goal: a cluster goes up a release and down again without an interruption: nobody ends but who is told to, and at the end the
 * version is that of the members. Method: three members and their operator, who restarts one after the other.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '@etsd/base';
import { DowngradeAction, DowngradeRequest } from '@etsd/proto';
import { SimClient } from '../clients/client.ts';
import { NO_EXTRAS } from '../run/extras.ts';
import { drawPlan, type Plan } from '../run/plan.ts';
import { SimCluster } from './cluster.ts';
import type { SimMember } from './member.ts';
import { NEW_RELEASE, OLD_RELEASE } from './releases.ts';

const PLAN: Plan = {
  ...drawPlan(new Prng(1)),
  ...NO_EXTRAS,
  founders: 3,
  spares: 0,
  upgradeMs: 1000,
  heartbeatMs: 100,
  electionMs: 1000,
  network: { latencyMinMs: 0.1, latencyMaxMs: 1, lossRate: 0, copyRate: 0, reorderRate: 0, halfOpenRate: 0 },
};

class Operator {
  readonly cluster = new SimCluster({ seed: 1, plan: PLAN, keepsTrace: false });
  private readonly client = new SimClient(this.cluster, this.cluster.universe.addMachine('operator').world);

  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let waitedMs = 0; !isSo(); waitedMs += 100) {
      assert.ok(waitedMs < 60_000, `${what}: not within a minute\n${this.cluster.trace.lines.slice(-20).join('\n')}`);
      await this.client.sleep(100);
    }
  }

  async goTo(members: readonly SimMember[], release: string): Promise<void> {
    for (const member of members) {
      await this.until(`${member.name} serves`, () => member.isReady);
      member.stop(() => {
        member.become(release);
        member.boot();
      });
      await this.until(`${member.name} is ${release}`, () => member.isReady && member.version === release);
    }
  }

  async downgrade(): Promise<void> {
    const request = DowngradeRequest.create({ action: DowngradeAction.ENABLE, version: '3.5' });
    const { cluster } = this;
    cluster.releases.isDowngradeAsked = true;
    const path = '/etcdserverpb.Maintenance/Downgrade';
    const answer = await this.client.call(cluster.leader as SimMember, path, DowngradeRequest.encode(request), 3000);
    assert.equal(answer.message, '');
  }

  isAt(version: string, isGoingDown: boolean): () => boolean {
    return () =>
      this.cluster.members.every(
        ({ clusterVersion: it }) => it?.version === version && it.downgradeEnabled === isGoingDown,
      );
  }

  async story(): Promise<void> {
    const { cluster } = this;
    const { members } = cluster;
    cluster.start();
    await this.goTo(members, NEW_RELEASE);
    await this.until('the cluster is 3.6', this.isAt('3.6.0', false));
    await this.downgrade();
    await this.until('the way down begins', this.isAt('3.6.0', true));
    const [first, ...others] = members as [SimMember, ...SimMember[]];
    await this.goTo([first], OLD_RELEASE);
    // The version is that of the oldest member, and those that are newer go on.
    await this.until('the cluster is 3.5', this.isAt('3.5.0', true));
    assert.deepEqual(
      others.map(({ version, run }) => [version, run]),
      others.map(() => [NEW_RELEASE, 2]),
    );
    await this.goTo(others, OLD_RELEASE);
    await this.until('the way down is over', this.isAt('3.5.0', false));
    assert.deepEqual(
      members.map(({ run }) => run),
      [3, 3, 3],
    );
  }
}

test('a cluster goes up a release and down again without an interruption', async () => {
  const operator = new Operator();
  const { cluster } = operator;
  await cluster.universe.simulation.runToEnd(operator.story(), { eventsMax: 1e9, durationMs: 600_000 });
  assert.deepEqual(cluster.violations, []);
  assert.equal(cluster.universe.simulation.counts.get('release.refused'), 0);
});
