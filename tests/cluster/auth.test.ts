/**
 * Goal: with authentication on, members of both products make the same of one log: users, roles, keys, leases. Method: root
 * and others ask the members of etcd, whoever leads; then the hash over all buckets is equal on all members.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

const bytes = (text: string) => Buffer.from(text);

/** Calls that go to the members of etcd in turn, as one user after the other. */
class Caller {
  private readonly cluster: TestCluster;
  private readonly members: readonly ClusterMember[];
  private turn = 0;
  private headers: Record<string, string> = {};

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
    this.members = cluster.members.filter(({ product }) => product === 'etcd');
  }

  async become(name: string, password: string): Promise<void> {
    this.headers = {};
    const [member] = this.members as [ClusterMember];
    const { token } = await this.cluster.client(member).expect('Auth/Authenticate', { name, password });
    this.headers = { token: token as string };
  }

  /** The error's text; empty where there was none. */
  async ask(method: string, request: object = {}): Promise<string> {
    const member = this.members[this.turn++ % this.members.length] as ClusterMember;
    // A token is known to a member once that has applied the entry it came with.
    return eventually(10_000, method, async () => {
      const { message } = await this.cluster.client(member).call(method, { ...request }, 5000, this.headers);
      return /invalid auth token/.test(message) ? null : message.replace('etcdserver: ', '');
    });
  }

  /** Hash over everything but how far a member is. */
  async hash(member: ClusterMember): Promise<string> {
    const { response } = await this.cluster.client(member).call('Maintenance/Hash', {}, 5000, this.headers);
    return `${response?.['hash']}`;
  }

  async hashesAreEqual(): Promise<void> {
    await eventually(20_000, 'all members hash to the same', async () => {
      const hashes = await Promise.all(this.cluster.members.map((member) => this.hash(member)));
      return !hashes.includes('undefined') && new Set(hashes).size === 1 ? true : null;
    });
  }
}

async function makeUsers(caller: Caller): Promise<void> {
  const ok = async (method: string, request: object = {}) =>
    assert.equal(await caller.ask(method, request), '', method);
  for (const name of ['root', 'ann', 'bob']) await ok('Auth/UserAdd', { name, password: `${name}'s` });
  await ok('Auth/UserAdd', { name: 'cert', options: { no_password: true } });
  await ok('Auth/UserGrantRole', { user: 'root', role: 'root' });
  for (const name of ['reader', 'writer']) await ok('Auth/RoleAdd', { name });
  const perm = (permType: string, key: string, end: string) => ({ permType, key: bytes(key), range_end: bytes(end) });
  await ok('Auth/RoleGrantPermission', { name: 'reader', perm: perm('READ', 'a', 'd') });
  await ok('Auth/RoleGrantPermission', { name: 'writer', perm: perm('WRITE', 'b', 'e') });
  await ok('Auth/RoleGrantPermission', { name: 'writer', perm: perm('READWRITE', 'x', '\0') });
  await ok('Auth/UserGrantRole', { user: 'ann', role: 'reader' });
  for (const role of ['reader', 'writer']) await ok('Auth/UserGrantRole', { user: 'bob', role });
  assert.equal(await caller.ask('Auth/RoleAdd', { name: 'writer' }), 'role name already exists');
  await ok('Lease/LeaseGrant', { ID: '77', TTL: '1000' });
  await ok('KV/Put', { key: bytes('a'), value: bytes('1'), lease: '77' });
  await ok('Auth/AuthEnable');
}

async function useThem(caller: Caller): Promise<void> {
  const key = (name: string) => ({ key: bytes(name), value: bytes('2') });
  const denied = 'permission denied';
  assert.equal(await caller.ask('KV/Put', key('c')), 'user name is empty');
  await caller.become('ann', "ann's");
  assert.equal(await caller.ask('KV/Put', key('c')), denied);
  assert.equal(await caller.ask('Auth/RoleAdd', { name: 'mine' }), denied);
  await caller.become('bob', "bob's");
  assert.equal(await caller.ask('KV/Put', key('c')), '');
  assert.equal(await caller.ask('KV/Put', { ...key('d'), prev_kv: true }), denied);
  assert.equal(await caller.ask('KV/Put', { ...key('c'), lease: '77' }), denied);
  assert.equal(await caller.ask('Lease/LeaseRevoke', { ID: '77' }), denied);
  assert.equal(await caller.ask('KV/DeleteRange', { key: bytes('b'), range_end: bytes('f') }), denied);
  const nested = (name: string) => ({ success: [{ request_txn: { success: [{ request_put: key(name) }] } }] });
  assert.equal(await caller.ask('KV/Txn', nested('f')), denied);
  assert.equal(await caller.ask('KV/Txn', nested('y')), '');
  assert.equal(await caller.ask('KV/DeleteRange', { key: bytes('c'), prev_kv: true }), '');
  await caller.become('root', "root's");
  assert.equal(await caller.ask('Auth/UserDelete', { name: 'root' }), 'invalid auth management');
  assert.equal(await caller.ask('Auth/RoleDelete', { role: 'reader' }), '');
  assert.equal(await caller.ask('Auth/UserChangePassword', { name: 'ann', password: 'new' }), '');
  assert.equal(await caller.ask('Lease/LeaseRevoke', { ID: '77' }), '');
}

for (const [products, leads] of [
  [['etcd', 'etcd', 'etsd'], 'etcd'],
  [['etcd', 'etcd', 'etsd'], 'etsd'],
  [['etsd', 'etsd', 'etcd'], 'etsd'],
] as [Product[], Product][]) {
  test(`${products.join(', ')}, led by ${leads}: one log, the same users and keys`, {
    skip: needsPeer('etcd'),
  }, async () => {
    const cluster = await TestCluster.start({ products, flags: ['--bcrypt-cost', '4'] });
    try {
      await cluster.moveLeader(cluster.members.find(({ product }) => product === leads) as ClusterMember);
      const caller = new Caller(cluster);
      await makeUsers(caller);
      await useThem(caller);
      await caller.hashesAreEqual();
      assert.equal(await caller.ask('Auth/AuthDisable'), '');
      await caller.hashesAreEqual();
      await cluster.hashes(await cluster.caughtUp());
    } finally {
      await cluster.dispose();
    }
  });
}
