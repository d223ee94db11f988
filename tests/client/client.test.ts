/**
 * Goal: the client library keeps its promises on both servers, also while these are killed and started again. Method: a
 * member on disk, its clients in this process, SIGKILL in between.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  acquire,
  campaign,
  EtcdClient,
  from,
  get,
  isError,
  key,
  leader,
  observe,
  prefix,
  put,
  WatchCanceledError,
} from '@etsd/client';
import { ErrLeaseNotFound } from '@etsd/proto';
import { needsPeer } from '../support/binaries.ts';
import { eventually, within } from '../support/conditions.ts';
import { type Product, startServer, type TestServer } from '../support/server.ts';

for (const product of ['etsd', 'etcd'] as const) {
  const skip = product === 'etcd' && needsPeer('etcd');
  describe(`@etsd/client against ${product}`, { skip, timeout: 180_000 }, () => {
    test('keys, pages, transactions, leases', () => onServer(product, everyday));
    test('a namespace hides its prefix, and what lies outside', () => onServer(product, namespaces));
    test('watches go on where they were, through kills of the server', () => onServer(product, watchThroughKills));
    test('a lock is held by one at a time, through kills of the server', () => onServer(product, lockThroughKills));
    test('an election has one leader, whom observers see', () => onServer(product, elections));
  });
}

async function onServer(product: Product, script: (server: TestServer) => Promise<void>): Promise<void> {
  const server = await startServer({ product });
  try {
    await script(server);
  } finally {
    await server.dispose();
  }
}

async function everyday(server: TestServer): Promise<void> {
  await using client = new EtcdClient({ endpoints: server.address });
  const { kv } = client;
  for (let i = 0; i < 30; i++) await kv.put(`p/${String(i).padStart(2, '0')}`, `value ${i}`);
  assert.equal(await kv.count(prefix('p/')), 30);
  const seen: string[] = [];
  for await (const record of kv.list(prefix('p/'), { pageSize: 7 })) {
    seen.push(record.value.toString());
    // What is written meanwhile does not show.
    if (seen.length === 3) await kv.put('p/29', 'changed');
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 30 }, (_unused, i) => `value ${i}`),
  );

  const swap = kv
    .transaction()
    .if(key('p/00').value.equals('value 0'))
    .do(put('p/00', 'swapped'), get(prefix('p/0')))
    .otherwise(get('p/00'));
  const first = await swap.commit();
  assert.ok(first.succeeded && first.results[1].kvs.length === 10);
  const second = await swap.commit();
  assert.ok(!second.succeeded && second.results[0].kvs[0]?.value.toString() === 'swapped');

  const lease = await client.leases.hold(5);
  await kv.put('leased', 'x', { lease: lease.id });
  assert.deepEqual((await client.leases.timeToLive(lease.id, { keys: true })).keys.map(String), ['leased']);
  await lease.release();
  assert.equal(await kv.get('leased'), null);
  await assert.rejects(client.leases.keepAliveOnce(lease.id), (error) => isError(error, ErrLeaseNotFound));

  const { header } = await kv.delete(prefix('p/'));
  await kv.compact(header?.revision ?? 0);
  await assert.rejects(async () => {
    for await (const _event of client.watch('p/00', { startRevision: 2 }).events()) assert.fail('it is compacted');
  }, WatchCanceledError);
}

async function namespaces(server: TestServer): Promise<void> {
  await using whole = new EtcdClient({ endpoints: server.address });
  await using app = new EtcdClient({ endpoints: server.address, namespace: 'app/' });
  await whole.kv.put('apo', 'before');
  await whole.kv.put('apq', 'behind');
  await app.kv.put('a', '1');
  await app.kv.put('b', '2');
  assert.equal((await whole.kv.get('app/a'))?.value.toString(), '1');
  const listed: string[] = [];
  for await (const kv of app.kv.list(prefix(''), { pageSize: 1 })) listed.push(kv.key.toString());
  assert.deepEqual(listed, ['a', 'b']);
  const outcome = await app.kv
    .transaction()
    .if(key('a').value.equals('1'), key('apo').isMissing)
    .do(put('a', '3', { prevKv: true }), get(from('a')))
    .commit();
  assert.ok(outcome.succeeded);
  assert.equal(outcome.results[0].prevKv?.key.toString(), 'a');
  assert.deepEqual(
    outcome.results[1].kvs.map((kv) => kv.key.toString()),
    ['a', 'b'],
  );
  await using watch = app.watch(prefix(''), { startRevision: 2, prevKv: true });
  const seen: string[] = [];
  for await (const { kv } of watch.events()) if (seen.push(`${kv?.key} ${kv?.value}`) === 3) break;
  assert.deepEqual(seen, ['a 1', 'b 2', 'a 3']);
  assert.equal((await app.kv.delete(prefix(''))).deleted, 2);
  assert.equal(await whole.kv.count(prefix('')), 2);
  await assert.rejects(app.kv.put('', 'x'), /key is not provided/);
}

const KILLS = 5;
const WRITES = 200;

async function watchThroughKills(server: TestServer): Promise<void> {
  await using client = new EtcdClient({ endpoints: server.address });
  await using writer = new EtcdClient({ endpoints: server.address });
  let isWatching: () => void = () => {};
  const created = new Promise<void>((resolve) => {
    isWatching = resolve;
  });
  const watch = client.watch(prefix('w/'), { onCreated: isWatching });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const event of watch.events()) {
      seen.push(event.kv?.modRevision ?? 0);
      if (event.kv?.key.toString() === 'w/end') return;
    }
  })();
  await within(10_000, 'the watch stands', created);
  for (let round = 0; round < KILLS; round++) {
    for (let i = 0; i < WRITES / KILLS; i++) await writer.kv.put(`w/${i}`, `${round}`);
    await server.kill();
    await server.start();
  }
  // A write that a kill met may have happened or not; what is stored says.
  await eventually(10_000, 'the last write', () => writer.kv.put('w/end', '').catch(() => null));
  await within(30_000, 'the last event', reading);
  const stored = (await writer.kv.get('w/end'))?.modRevision ?? 0;
  assert.deepEqual(
    seen,
    Array.from({ length: stored - 1 }, (_unused, index) => index + 2),
  );
}

const OWNERS = 3;
const ROUNDS = 6;

async function lockThroughKills(server: TestServer): Promise<void> {
  let holders = 0;
  let tenures = 0;
  let done = false;
  const fences: number[] = [];
  const owner = async (): Promise<void> => {
    await using client = new EtcdClient({ endpoints: server.address });
    while (!done) {
      try {
        await using lease = await client.leases.hold(30);
        await using lock = await acquire(client, 'lock', lease);
        assert.equal(++holders, 1, 'one at a time');
        fences.push(lock.revision);
        // What is written under the lock is written only while it is held.
        await client.kv
          .transaction()
          .if(lock.held)
          .do(put('owner', String(lock.revision)))
          .commit()
          .catch(() => {});
        tenures++;
        holders--;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
      }
    }
  };
  const owners = Array.from({ length: OWNERS }, owner);
  for (let round = 0; round < ROUNDS; round++) {
    const before = tenures;
    await eventually(40_000, 'three more owners', () => (tenures >= before + 3 ? true : null));
    if (round % 2 === 0) {
      await server.kill();
      await server.start();
    }
  }
  done = true;
  await within(60_000, 'the owners end', Promise.all(owners));
  assert.deepEqual(
    fences,
    [...fences].sort((left, right) => left - right),
    'later owners have larger numbers',
  );
}

async function elections(server: TestServer): Promise<void> {
  await using client = new EtcdClient({ endpoints: server.address });
  const stop = new AbortController();
  const seen: string[] = [];
  const observing = (async () => {
    for await (const kv of observe(client, 'e', { signal: stop.signal })) seen.push(kv.value.toString());
  })();
  assert.equal(await leader(client, 'e'), null);
  await using firstLease = await client.leases.hold(20);
  await using secondLease = await client.leases.hold(20);
  const first = await campaign(client, 'e', firstLease, 'first');
  const waiting = campaign(client, 'e', secondLease, 'second');
  await first.proclaim('first again');
  await eventually(10_000, 'the observer sees it', () => (seen.includes('first again') ? true : null));
  assert.equal((await leader(client, 'e'))?.value.toString(), 'first again');
  await first.resign();
  const second = await within(10_000, 'the second is elected', waiting);
  await assert.rejects(first.proclaim('too late'), /election: not leader/);
  await eventually(10_000, 'the observer sees it', () => (seen.at(-1) === 'second' ? true : null));
  await second.resign();
  stop.abort();
  await within(10_000, 'the observer ends', observing);
}
