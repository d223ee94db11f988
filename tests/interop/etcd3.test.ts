/**
 * Goal: programs written for the npm package `etcd3`, the Node.js client that people have, work against etsd unchanged:
 * keys, transactions, watches, leases, locks, elections, users, namespaces, errors. Method: its own API, as its
 * documentation shows it, against a member on a port.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { type EmbeddedMember, startMember } from '@etsd/server';
import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdLeaseInvalidError,
  EtcdLockFailedError,
  EtcdPermissionDeniedError,
  EtcdRoleNotFoundError,
  type IOptions,
  Range,
  type SoftwareTransaction,
} from 'etcd3';

let member: EmbeddedMember;
let client: Etcd3;

function connect(options: Partial<IOptions> = {}, to = member): Etcd3 {
  return new Etcd3({ hosts: to.endpoint, ...options });
}

before(async () => {
  member = await startMember({ listen: '127.0.0.1:0' });
  client = connect();
});

after(async () => {
  client.close();
  await member.close();
});

/** Resolves when it holds. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`still not so: ${what}`);
}

test('keys: put, get in every form, ranges, delete', async () => {
  await client.put('kv/text').value('bar');
  await client.put('kv/number').value(7);
  await client.put('kv/bytes').value(Buffer.from([0, 255, 10]));
  await client.put('kv/json').value(JSON.stringify({ a: 1 }));
  assert.equal(await client.get('kv/text').string(), 'bar');
  assert.equal(await client.get('kv/number').number(), 7);
  assert.deepEqual(await client.get('kv/bytes').buffer(), Buffer.from([0, 255, 10]));
  assert.deepEqual(await client.get('kv/json').json(), { a: 1 });
  assert.equal(await client.get('kv/none').string(), null);
  assert.equal(await client.get('kv/text').exists(), true);
  assert.deepEqual(await client.getAll().prefix('kv/').keys(), ['kv/bytes', 'kv/json', 'kv/number', 'kv/text']);
  assert.deepEqual(Object.keys(await client.getAll().prefix('kv/').strings()).length, 4);
  assert.equal(await client.getAll().prefix('kv/').count(), 4);
  const sorted = await client.getAll().prefix('kv/').sort('Key', 'Descend').limit(1).keys();
  assert.deepEqual(sorted, ['kv/text']);
  const previous = await client.put('kv/text').value('baz').getPrevious();
  assert.equal(previous.value.toString(), 'bar');
  const old = await client.get('kv/text').revision(previous.mod_revision).string();
  assert.equal(old, 'bar');
  assert.equal((await client.delete().key('kv/text').getPrevious()).length, 1);
  assert.equal((await client.delete().prefix('kv/')).deleted, '3');
});

test('transactions: both branches, and software transactional memory', async () => {
  const once = () =>
    client.if('txn/a', 'Create', '==', 0).then(client.put('txn/a').value('first')).else(client.get('txn/a')).commit();
  const first = await once();
  assert.equal(first.succeeded, true);
  const second = await once();
  assert.equal(second.succeeded, false);
  assert.equal(second.responses[0]?.response_range.kvs[0]?.value.toString(), 'first');
  const compared = await client.if('txn/a', 'Value', '==', 'first').then(client.delete().key('txn/a')).commit();
  assert.equal(compared.succeeded, true);

  await client.put('stm/n').value(0);
  const increment = () =>
    client.stm({ retries: 100 }).transact(async (tx: SoftwareTransaction) => {
      const n = await tx.get('stm/n').number();
      await tx.put('stm/n').value((n ?? 0) + 1);
    });
  await Promise.all(Array.from({ length: 8 }, increment));
  assert.equal(await client.get('stm/n').number(), 8);
});

test('watches: a key, a prefix, with what was before, from a revision; and the end of one', async () => {
  const watcher = await client.watch().prefix('w/').withPreviousKV().create();
  const seen: string[] = [];
  watcher.on('put', (kv, previous) => seen.push(`put ${kv.key} ${kv.value} ${previous?.value ?? ''}`));
  watcher.on('delete', (kv) => seen.push(`delete ${kv.key}`));
  await client.put('w/a').value('1');
  await client.put('w/a').value('2');
  await client.put('other').value('x');
  await client.delete().key('w/a');
  await until('three events', () => seen.length >= 3);
  assert.deepEqual(seen, ['put w/a 1 ', 'put w/a 2 1', 'delete w/a']);
  await watcher.cancel();

  const { header } = await client.put('w/b').value('1');
  await client.put('w/b').value('2');
  const late = await client.watch().key('w/b').startRevision(header.revision).create();
  const values: string[] = [];
  late.on('put', (kv) => values.push(kv.value.toString()));
  await until('the history', () => values.length === 2);
  assert.deepEqual(values, ['1', '2']);
  await late.cancel();
});

test('leases: keys go with them, they are kept alive, and tell when they are lost', async () => {
  const lease = client.lease(10);
  await lease.put('lease/a').value('1');
  assert.equal(await client.get('lease/a').string(), '1');
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.equal(await client.get('lease/a').string(), null);

  const lost = client.lease(10);
  const id = await lost.grant();
  const isLost = once(lost, 'lost');
  await client.leaseClient.leaseRevoke({ ID: id });
  await assert.rejects(lost.keepaliveOnce(), EtcdLeaseInvalidError);
  await isLost;
});

test('a lock is held by one at a time', async () => {
  const held = await client.lock('lock').ttl(10).acquire();
  await assert.rejects(client.lock('lock').ttl(10).acquire(), EtcdLockFailedError);
  await held.release();
  assert.equal(await client.lock('lock').do(() => 'inside'), 'inside');
});

test('an election: one leads, the other follows when it resigns, an observer sees both', async () => {
  const election = client.election('scheduler', 10);
  const first = election.campaign('one');
  await once(first, 'elected');
  const observer = await election.observe();
  assert.equal(observer.leader(), 'one');
  const second = election.campaign('two');
  await first.resign();
  await once(second, 'elected');
  await until('the observer sees the second', () => observer.leader() === 'two');
  assert.equal(await election.leader(), 'two');
  await second.proclaim('two, at work');
  await until('the observer sees the new value', () => observer.leader() === 'two, at work');
  await observer.cancel();
  await second.resign();
});

test('a namespace shows its own keys only', async () => {
  const app = client.namespace('app/');
  await app.put('a').value('inside');
  await client.put('a').value('outside');
  assert.equal(await app.get('a').string(), 'inside');
  assert.equal(await client.get('app/a').string(), 'inside');
  assert.deepEqual(await app.getAll().keys(), ['a']);
  assert.equal((await app.delete().all()).deleted, '1');
  assert.equal(await client.get('a').string(), 'outside');
});

test('cluster and maintenance calls', async () => {
  const { members } = await client.cluster.memberList({});
  assert.deepEqual(members[0]?.clientURLs, [member.endpoint]);
  const status = await client.maintenance.status();
  assert.match(status.version, /^3\.\d+\.\d+$/);
  assert.equal(status.leader, members[0]?.ID);
});

test('errors: a revision that is compacted, a request that is too large, nobody there', async () => {
  const { header } = await client.put('old').value('1');
  await client.put('old').value('2');
  await client.kv.compact({ revision: String(Number(header.revision) + 1) });
  await assert.rejects(
    async () => await client.get('old').revision(header.revision).string(),
    /required revision has been compacted/,
  );
  await assert.rejects(async () => await client.put('big').value(Buffer.alloc(1_600_000)), /request is too large/);
  await using gone = await startMember({ listen: '127.0.0.1:0' });
  const lonely = connect({}, gone);
  await gone.close();
  await assert.rejects(async () => await lonely.get('a').string(), /UNAVAILABLE|ECONNREFUSED|No connection/);
  lonely.close();
});

describe('users and roles', () => {
  test('are made, asked for a password, and held to their permissions', async () => {
    await using locked = await startMember({ listen: '127.0.0.1:0' });
    const open = connect({}, locked);
    const root = await open.user('root').create('rootpw');
    await open.role('root').create();
    await root.addRole('root');
    const reader = await open.role('reader').create();
    await reader.grant({ permission: 'Read', range: Range.prefix('public/') });
    const alice = await open.user('alice').create('pw');
    await alice.addRole('reader');
    assert.deepEqual(
      (await alice.roles()).map((role) => role.name),
      ['reader'],
    );
    assert.deepEqual(
      (await reader.permissions()).map(({ permission }) => permission),
      ['Read'],
    );
    await assert.rejects(
      open
        .user('bob')
        .create('x')
        .then((bob) => bob.addRole('nobody')),
      EtcdRoleNotFoundError,
    );
    await open.auth.authEnable();
    open.close();

    const asRoot = connect({ auth: { username: 'root', password: 'rootpw' } }, locked);
    await asRoot.put('public/a').value('1');
    await asRoot.put('secret').value('2');
    const asAlice = connect({ auth: { username: 'alice', password: 'pw' } }, locked);
    assert.equal(await asAlice.get('public/a').string(), '1');
    await assert.rejects(async () => await asAlice.get('secret').string(), EtcdPermissionDeniedError);
    await assert.rejects(async () => await asAlice.put('public/a').value('3'), EtcdPermissionDeniedError);
    const asMallory = connect({ auth: { username: 'alice', password: 'wrong' } }, locked);
    await assert.rejects(async () => await asMallory.get('public/a').string(), EtcdAuthenticationFailedError);
    for (const each of [asRoot, asAlice, asMallory]) each.close();
  });
});
