/**
 * What the client promises, as scripts to be run against either product and over either transport: each is given a server
 * of its own and a way to connect.
 */
import assert from 'node:assert/strict';
import {
  acquire,
  type CallInfo,
  type Client,
  type ClientOptions,
  campaign,
  DecodeError,
  EtcdError,
  from,
  GrpcCode,
  get,
  isError,
  json,
  key,
  LeaseLostError,
  leader,
  observe,
  prefix,
  put,
  text,
  WatchCanceledError,
} from '@etsd/client';
import { ErrLeaseNotFound, ErrPermissionDenied } from '@etsd/proto';
import { eventually, within } from '../support/conditions.ts';
import type { TestServer } from '../support/server.ts';

/** Makes a client of the transport under test. */
export type Connect = (options: Omit<ClientOptions, 'tls'>) => Client;

export async function everyday(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
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

export async function namespaces(server: TestServer, connect: Connect): Promise<void> {
  await using whole = connect({ endpoints: server.address });
  await using app = connect({ endpoints: server.address, namespace: 'app/' });
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
  assert.equal(await whole.kv.count(prefix('ap')), 2);
  await assert.rejects(app.kv.put('', 'x'), /key is not provided/);
}

const KILLS = 3;
const WRITES = 120;

export async function watchThroughKills(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
  await using writer = connect({ endpoints: server.address });
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
const ROUNDS = 4;

export async function lockThroughKills(server: TestServer, connect: Connect): Promise<void> {
  let holders = 0;
  let tenures = 0;
  let done = false;
  const fences: number[] = [];
  const owner = async (): Promise<void> => {
    await using client = connect({ endpoints: server.address });
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

export async function elections(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
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

interface Job {
  readonly name: string;
  readonly tries: number;
}

function job(value: unknown): Job {
  const { name, tries } = value as Record<string, unknown>;
  if (typeof name !== 'string' || typeof tries !== 'number') throw new TypeError('not a job');
  return { name, tries };
}

export async function typedValues(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
  const jobs = client.within('jobs/').as(json(job));
  await using watch = jobs.watch(prefix(''), { startRevision: 1, prevKv: true });
  await jobs.put('a', { name: 'ä', tries: 0 });
  const { previous } = await jobs.put('a', { name: 'ä', tries: 1 }, { prevKv: true });
  assert.deepEqual(previous?.value, { name: 'ä', tries: 0 });
  assert.equal((await client.as(text).get('jobs/a'))?.value, '{"name":"ä","tries":1}');
  assert.equal(await jobs.get('b'), null);
  // @ts-expect-error: a value of another type is refused by the compiler.
  const wrong = (): unknown => jobs.put('a', { name: 'a', tries: '1' });
  assert.equal(wrong.length, 0);

  // Ten at once each add one: no addition is lost.
  const add = (before: Job | undefined): Job => ({ name: 'ä', tries: (before?.tries ?? 0) + 1 });
  await Promise.all(Array.from({ length: 10 }, () => jobs.update('a', add)));
  const entry = await jobs.get('a');
  assert.deepEqual([entry?.key, entry?.value.tries, entry?.version], ['a', 11, 12]);

  const swap = jobs
    .transaction()
    .if(jobs.key('a').value.equals({ name: 'ä', tries: 11 }))
    .do(jobs.putting('b', { name: 'b', tries: 7 }), jobs.getting('b'), jobs.listing(prefix('')))
    .otherwise(jobs.getting('a'));
  const outcome = await swap.commit();
  if (!outcome.succeeded) assert.fail('the value is what was compared with');
  // The results' types follow the operations.
  const [, own, all] = outcome.results;
  assert.equal(own?.value.tries, 7);
  assert.deepEqual(
    all.map(({ value }) => value.tries),
    [11, 7],
  );
  assert.equal((await jobs.delete('b', { prevKv: true })).previous[0]?.value.name, 'b');

  const seen: string[] = [];
  for await (const change of watch) {
    seen.push(change.type === 'put' ? `${change.key}=${change.entry.value.tries}` : `-${change.key}`);
    if (change.type === 'delete') {
      assert.equal(change.previous?.value.tries, 7);
      break;
    }
  }
  assert.deepEqual(seen, [...Array.from({ length: 12 }, (_unused, i) => `a=${i}`), 'b=7', '-b']);

  await client.kv.put('jobs/broken', '{"name":1}');
  await assert.rejects(jobs.get('broken'), (error) => error instanceof DecodeError && error.key === 'broken');
}

const WATCHES = 1000;

export async function manyWatches(server: TestServer, connect: Connect): Promise<void> {
  const streams: CallInfo[] = [];
  await using client = connect({
    endpoints: server.address,
    interceptors: [
      (call, next) => {
        if (call.kind === 'stream') streams.push(call);
        return next();
      },
    ],
  });
  let standing = 0;
  const watches = Array.from({ length: WATCHES }, (_unused, i) =>
    client.watch(`m/${i}`, { onCreated: () => standing++ }),
  );
  const first = watches.map(async (watch) => {
    for await (const event of watch.events()) return event.kv?.key.toString();
    return undefined;
  });
  await eventually(30_000, 'all watches stand', () => (standing === WATCHES ? true : null));
  // One asks how far the server is; all are on its stream.
  assert.ok(watches[0]?.requestProgress());
  await Promise.all(Array.from({ length: WATCHES }, (_unused, i) => client.kv.put(`m/${i}`, '')));
  assert.deepEqual(
    await within(30_000, 'each has its event', Promise.all(first)),
    Array.from({ length: WATCHES }, (_unused, i) => `m/${i}`),
  );
  assert.equal(streams.length, 1);
}

const BIG = 200_000;
const BIG_EVENTS = 60;

export async function slowReader(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
  const startRevision = ((await client.kv.put('before', '')).header?.revision ?? 0) + 1;
  await using slow = client.watch(prefix('s/'), { startRevision });
  await using quick = client.watch('s/last', { startRevision });
  const iterator = slow.events()[Symbol.asyncIterator]();
  const value = Buffer.alloc(BIG, 'x');
  await client.kv.put('s/0', value);
  const seen = [(await iterator.next()).value?.kv?.modRevision];
  // Nobody reads meanwhile: more comes than a client holds.
  for (let i = 1; i < BIG_EVENTS; i++) await client.kv.put(`s/${i}`, value);
  await client.kv.put('s/last', '');
  for await (const event of quick.events()) {
    assert.equal(event.kv?.modRevision, startRevision + BIG_EVENTS);
    break;
  }
  while (seen.length <= BIG_EVENTS) seen.push((await iterator.next()).value?.kv?.modRevision);
  assert.deepEqual(
    seen,
    Array.from({ length: BIG_EVENTS + 1 }, (_unused, i) => i + startRevision),
  );
  await iterator.return?.();
}

export async function guarded(server: TestServer, connect: Connect): Promise<void> {
  await using admin = connect({ endpoints: server.address, user: { name: 'root', password: 'r' } });
  await using open = connect({ endpoints: server.address });
  await open.auth.addUser('root', 'r');
  await open.auth.grantRole('root', 'root');
  await open.auth.addUser('alice', 'a');
  await open.auth.addRole('reader');
  await open.auth.grantPermission('reader', 'READ', prefix('open/'));
  await open.auth.grantRole('alice', 'reader');
  await open.auth.enable();

  const { header } = await admin.kv.put('open/a', '1');
  await using alice = connect({ endpoints: server.address, user: { name: 'alice', password: 'a' } });
  assert.equal((await alice.kv.get('open/a'))?.value.toString(), '1');
  await assert.rejects(alice.kv.put('open/a', '2'), (error) => isError(error, ErrPermissionDenied));
  await assert.rejects(
    async () => {
      for await (const _event of alice.watch('secret').events()) assert.fail('it is not hers');
    },
    (error) => error instanceof WatchCanceledError && error.code === GrpcCode.PermissionDenied,
  );
  const wrong = connect({ endpoints: server.address, user: { name: 'alice', password: 'b' } });
  await assert.rejects(wrong.login(), (error) => error instanceof EtcdError && error.message.includes('invalid user'));
  await wrong.close();

  await using watch = alice.watch(prefix('open/'), { startRevision: header?.revision ?? 0 });
  const events = watch.events();
  assert.equal((await events.next()).value?.kv?.value.toString(), '1');
  // Simple tokens end a second after their last use here, and with the server's process.
  await server.kill();
  await server.start();
  await admin.kv.put('open/a', '3');
  assert.equal((await events.next()).value?.kv?.value.toString(), '3');
  assert.equal((await alice.kv.get('open/a'))?.value.toString(), '3');
  await events.return();
  await admin.auth.disable();
  await admin.kv.put('open/a', '4');
}

export async function upkeep(server: TestServer, connect: Connect): Promise<void> {
  await using client = connect({ endpoints: server.address });
  const status = await client.maintenance.status();
  const { members } = await client.cluster.list();
  assert.equal(members.length, 1);
  // Ids of 64 bits are exact over every transport.
  assert.deepEqual([members[0]?.ID, status.leader], [status.header?.memberId, status.header?.memberId]);
  assert.match(status.leader, /^[0-9a-f]{16}$/);
  const { header } = await client.kv.put('k', 'v');
  assert.notEqual((await client.maintenance.hashKv(0)).hash, 0);
  assert.deepEqual((await client.maintenance.alarms()).alarms, []);
  await client.maintenance.defragment();
  let bytes = 0;
  for await (const piece of client.maintenance.snapshot()) bytes += piece.blob.length;
  assert.ok(bytes > 4096);
  await client.kv.compact(header?.revision ?? 0, { physical: true });
  await assert.rejects(client.maintenance.moveLeader('00000000000000ff'), /bad leader transferee/);
  assert.deepEqual(await client.syncEndpoints(), members[0]?.clientURLs);
  const granted = await client.leases.grant(60, { id: 'fedcba9876543210' });
  assert.equal(granted.ID, 'fedcba9876543210');
  assert.deepEqual(
    (await client.leases.list()).leases.map(({ ID }) => ID),
    ['fedcba9876543210'],
  );
  const lease = await client.leases.hold(60);
  await client.leases.revoke(lease.id);
  await server.kill();
  // What is revoked shows with the next renewal; who is waiting for it gets the reason.
  await server.start();
  const short = await client.leases.hold(2);
  await client.leases.revoke(short.id);
  await eventually(10_000, 'the owner hears of it', () => (short.signal.aborted ? true : null));
  assert.ok(short.signal.reason instanceof LeaseLostError);
  assert.equal(short.signal.reason.why, 'revoked');
  await lease.abandon();
}

export async function intercepted(server: TestServer, connect: Connect): Promise<void> {
  const order: string[] = [];
  const calls: CallInfo[] = [];
  await using client = connect({
    endpoints: server.address,
    interceptors: [
      async (call, next) => {
        order.push('outer');
        calls.push(call);
        return next();
      },
      async (call, next) => {
        order.push('inner');
        if (call.method === 'DeleteRange') throw new EtcdError(7, 'not here');
        call.headers.set('x-request-id', '7');
        return next();
      },
    ],
  });
  await client.kv.put('a', '1');
  await assert.rejects(client.kv.delete('a'), { code: 7, message: 'not here' });
  assert.equal((await client.kv.get('a'))?.value.toString(), '1');
  assert.deepEqual(order.slice(0, 4), ['outer', 'inner', 'outer', 'inner']);
  assert.deepEqual(
    calls.map(({ attempts, kind, method, service }) => [service, method, kind, attempts]),
    [
      ['etcdserverpb.KV', 'Put', 'unary', 1],
      ['etcdserverpb.KV', 'DeleteRange', 'unary', 0],
      ['etcdserverpb.KV', 'Range', 'unary', 1],
    ],
  );
  assert.equal(calls[0]?.endpoint, server.address);
}
