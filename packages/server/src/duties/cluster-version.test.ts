/** The leader's two duties about versions, on a timer that the test moves by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, u64FromNumber } from '@etsd/base';
import { ErrTimeout } from '@etsd/proto';
import type { ApiWaiter } from '../context.ts';
import { ClusterVersionDuty } from './cluster-version.ts';
import { DowngradeMonitor } from './downgrade-monitor.ts';
import { MemberVersionsSource, type PeerRequests } from './member-versions.ts';
import type { MemberVersions } from './version-rules.ts';

const [ONE, TWO, THREE] = [u64FromNumber(1), u64FromNumber(2), u64FromNumber(3)];
const IDS = [ONE, TWO, THREE];

/** Three members, the first of which is under test; the others answer what the test says, or refuse. */
class Bench {
  leader = true;
  current = '';
  readonly server = new Map([
    [TWO, '3.5.30'],
    [THREE, '3.5.30'],
  ]);
  readonly proposed: { version: string; waiter: ApiWaiter }[] = [];
  readonly cancelled: ApiWaiter[] = [];
  readonly downgrade = { downgradeEnabled: false, downgradeTarget: '' };
  asked = 0;
  tick: () => void = () => {};
  readonly every = (_ms: number, callback: () => void) => {
    this.tick = callback;
    return { cancel: () => {} };
  };
  readonly peers: PeerRequests = {
    request: (member, method, path, _body, _type, _timeout, done) => {
      assert.deepEqual([method, path], ['GET', '/version']);
      this.asked++;
      const server = this.server.get(member);
      if (server === undefined) done(new Error('connection refused'), 0, Buffer.alloc(0));
      else done(null, 200, Buffer.from(JSON.stringify({ etcdserver: server, etcdcluster: this.current })));
    },
  };
  readonly source = new MemberVersionsSource({
    memberId: ONE,
    peers: this.peers,
    members: () => IDS.map((id) => ({ id, peerURLs: ['http://h:1'] })),
    own: (): MemberVersions => ({ server: '3.5.30', cluster: this.current }),
    logger: silentLogger,
  });
  readonly duty = new ClusterVersionDuty({
    every: this.every,
    isLeader: () => this.leader,
    current: () => this.current,
    askMembers: (done) => this.source.ask(done),
    propose: (version, waiter) => this.proposed.push({ version, waiter }),
    serverVersion: '3.5.30',
    minClusterVersion: '3.0.0',
    logger: silentLogger,
  });

  /** Applies what was proposed last. */
  apply(): void {
    const { version, waiter } = this.proposed.at(-1) as { version: string; waiter: ApiWaiter };
    this.current = version;
    waiter.done(null);
  }

  get versions(): string[] {
    return this.proposed.map(({ version }) => version);
  }
}

// Goal: what etcd decides step by step: the least version while somebody is missing, then that of the oldest.
test('a cluster begins with the least version where a member is missing, and goes up when it is there', () => {
  const bench = new Bench();
  bench.server.delete(THREE);
  bench.duty.start();
  bench.duty.termBegan();
  assert.deepEqual(bench.versions, ['3.0.0']);
  bench.apply();
  bench.tick();
  assert.deepEqual(bench.versions, ['3.0.0'], 'nothing is decided as long as one is missing');
  bench.server.set(THREE, '3.4.30');
  bench.tick();
  bench.apply();
  bench.server.set(THREE, '3.5.2');
  bench.tick();
  bench.apply();
  bench.tick();
  assert.deepEqual(bench.versions, ['3.0.0', '3.4.0', '3.5.0']);
});

test('only the leader decides, one proposal at a time, again after a failure', () => {
  const bench = new Bench();
  bench.duty.start();
  bench.leader = false;
  bench.tick();
  assert.equal(bench.asked, 0, 'a follower asks nobody');
  bench.leader = true;
  bench.tick();
  bench.tick();
  assert.deepEqual(bench.versions, ['3.5.0'], 'the first one is still under way');
  bench.proposed[0]?.waiter.fail(ErrTimeout);
  bench.tick();
  assert.deepEqual(bench.versions, ['3.5.0', '3.5.0']);
});

test('a downgrade ends once every member has the version aimed at', () => {
  const bench = new Bench();
  const monitor = new DowngradeMonitor({
    every: bench.every,
    intervalMs: 5000,
    isLeader: () => bench.leader,
    state: bench.downgrade,
    askMembers: (done) => bench.source.ask(done),
    cancel: (waiter) => bench.cancelled.push(waiter),
    logger: silentLogger,
  });
  monitor.start();
  bench.current = '3.4.0';
  bench.tick();
  assert.equal(bench.asked, 0, 'no downgrade, no questions');
  bench.downgrade.downgradeEnabled = true;
  bench.downgrade.downgradeTarget = '3.4.0';
  bench.current = '3.5.0';
  bench.tick();
  assert.equal(bench.cancelled.length, 0);
  bench.current = '3.4.0';
  bench.leader = false;
  bench.tick();
  assert.equal(bench.cancelled.length, 0);
  bench.leader = true;
  bench.tick();
  bench.tick();
  assert.equal(bench.cancelled.length, 1);
});
