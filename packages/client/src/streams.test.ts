/** Goal: watches share a stream, leases share another, and neither disturbs its neighbours. Method: a scripted member. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Event, KeyValue, type WatchRequest, type WatchResponse } from '@etsd/proto';
import { LeaseLostError } from './errors.ts';
import * as methods from './methods.ts';
import { type Asked, headerAt, Neighbourhood } from './testing/neighbours.ts';
import type { Watcher } from './watch.ts';

type WatchCall = Asked<WatchRequest, WatchResponse>;

function eventAt(revision: number, value = Buffer.alloc(0)): Event {
  return Event.create({ kv: KeyValue.create({ key: Buffer.from('k'), modRevision: revision, value }) });
}

/** A member that numbers watches as etcd does and keeps what it was asked. */
async function watched() {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const streams: { call: WatchCall; keys: string[]; starts: number[]; cancelled: number[]; progress: number }[] = [];
  member.on(methods.Watch, 'stream', (call) => {
    let stream = streams.find((each) => each.call.call === call.call);
    if (stream === undefined) {
      stream = { call, keys: [], starts: [], cancelled: [], progress: 0 };
      streams.push(stream);
    }
    const { cancelRequest, createRequest, progressRequest } = call.request;
    if (createRequest !== null) {
      const watchId = stream.keys.push(createRequest.key.toString()) - 1;
      stream.starts.push(createRequest.startRevision);
      call.send({ watchId, created: true, header: headerAt(10) });
    }
    if (cancelRequest !== null) stream.cancelled.push(cancelRequest.watchId);
    if (progressRequest !== null) stream.progress++;
  });
  return { around, member, streams, client: around.client(['m']) };
}

/** Reads a watch into a list. */
function reading(watch: Watcher): { readonly seen: number[]; readonly end: Promise<void> } {
  const seen: number[] = [];
  const end = (async () => {
    for await (const response of watch) for (const event of response.events) seen.push(event.kv?.modRevision ?? 0);
  })();
  end.catch(() => {});
  return { seen, end };
}

test('watches come and go on one stream, which ends with the last', async () => {
  const { around, client, streams } = await watched();
  const watches = ['a', 'b', 'c'].map((name) => client.watch(name));
  const readers = watches.map(reading);
  await around.pass(100);
  assert.deepEqual(
    streams.map(({ keys }) => keys),
    [['a', 'b', 'c']],
  );
  const [stream] = streams;
  stream?.call.send({ watchId: 1, header: headerAt(11), events: [eventAt(11)] });
  stream?.call.send({ watchId: 2, header: headerAt(12), events: [eventAt(12)] });
  await around.pass(100);
  assert.deepEqual(
    readers.map(({ seen }) => seen),
    [[], [11], [12]],
  );
  watches[1]?.close();
  await around.pass(100);
  assert.deepEqual(stream?.cancelled, [1]);
  assert.ok(watches[0]?.requestProgress());
  await around.pass(100);
  assert.equal(stream?.progress, 1);
  // What is said of all watches moves every place.
  stream?.call.send({ watchId: -1, header: headerAt(50) });
  await around.pass(100);
  assert.deepEqual([watches[0]?.resumeRevision, watches[2]?.resumeRevision], [51, 51]);

  stream?.call.fail(14, 'etcdserver: no leader');
  await around.pass(500);
  assert.deepEqual(
    [streams[1]?.keys, streams[1]?.starts],
    [
      ['a', 'c'],
      [51, 51],
    ],
  );
  watches[0]?.close();
  watches[2]?.close();
  await around.outcome(Promise.all(readers.map(({ end }) => end)));
  await around.pass(100);
  assert.equal(streams[1]?.call.call.isOpen, false);
  await client.close();
});

test('a watch that the server refuses ends alone', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  let asked = 0;
  member.on(methods.Watch, 'stream', (call) => {
    const cancelReason = 'rpc error: code = PermissionDenied desc = etcdserver: permission denied';
    if (++asked === 2) call.send({ watchId: -1, created: true, canceled: true, cancelReason, header: headerAt(10) });
    else call.send({ watchId: asked === 1 ? 0 : 1, created: true, header: headerAt(10) });
    if (asked === 3) for (const id of [0, 1]) call.send({ watchId: id, header: headerAt(11), events: [eventAt(11)] });
  });
  const client = around.client(['m']);
  const [first, second, third] = ['a', 'b', 'c'].map((name) => reading(client.watch(name)));
  await assert.rejects(around.outcome(second?.end as Promise<void>), { code: 7, message: /permission denied/ });
  await around.pass(100);
  assert.deepEqual([first?.seen, third?.seen], [[11], [11]]);
  await client.close();
  for (const reader of [first, third]) await assert.rejects(around.outcome(reader?.end as Promise<void>), /canceled/);
});

test('what onCreated throws is for the reader of that watch alone', async () => {
  const { around, client, streams } = await watched();
  const well = reading(client.watch('well'));
  const onCreated = (): void => {
    throw new RangeError('my own mistake');
  };
  await assert.rejects(around.outcome(reading(client.watch('ill', { onCreated })).end), RangeError);
  streams[0]?.call.send({ watchId: 0, header: headerAt(11), events: [eventAt(11)] });
  await around.pass(100);
  assert.deepEqual([well.seen, streams.length, streams[0]?.cancelled], [[11], 1, [1]]);
  await client.close();
});

test('a watch that nobody reads goes to a stream of its own, from where it was', async () => {
  const { around, client, streams } = await watched();
  const slow = client.watch('slow');
  const iterator = slow[Symbol.asyncIterator]();
  const first = iterator.next();
  const quick = reading(client.watch('quick'));
  await around.pass(100);
  const value = Buffer.alloc(200_000);
  for (let revision = 11; revision < 31; revision++) {
    streams[0]?.call.send({ watchId: 0, header: headerAt(revision), events: [eventAt(revision, value)] });
  }
  streams[0]?.call.send({ watchId: 1, header: headerAt(31), events: [eventAt(31)] });
  await around.pass(1000);
  assert.deepEqual(quick.seen, [31], 'the other one is not held up');
  assert.deepEqual(streams[0]?.cancelled, [0]);
  const got = [(await around.outcome(first)).value?.events[0]?.kv?.modRevision];
  while (streams.length === 1) {
    got.push((await around.outcome(iterator.next())).value?.events[0]?.kv?.modRevision);
    await around.pass(50);
  }
  const last = got.at(-1) as number;
  assert.deepEqual(
    got,
    Array.from({ length: last - 10 }, (_unused, i) => i + 11),
  );
  assert.ok(last < 31, 'not everything was kept');
  assert.deepEqual([streams[1]?.keys, streams[1]?.starts], [['slow'], [last + 1]]);
  await iterator.return?.(undefined);
  await client.close();
  await assert.rejects(around.outcome(quick.end), /canceled/);
});

test('all leases are renewed on one stream; the reason of a loss is told', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const streams = new Set<unknown>();
  const known = new Set<string>();
  member.on(methods.LeaseGrant, 'unary', (call) => {
    const ID = String(known.size + 1).padStart(16, '0');
    known.add(ID);
    call.answer({ ID, TTL: 9 });
  });
  member.on(methods.LeaseKeepAlive, 'stream', (call) => {
    streams.add(call.call);
    const { ID } = call.request;
    call.send({ ID, TTL: known.has(ID) ? 9 : 0 });
  });
  member.on(methods.LeaseRevoke, 'unary', (call) => call.answer({}));
  const client = around.client(['m']);
  const leases = await around.outcome(Promise.all(Array.from({ length: 50 }, () => client.leases.hold(9))));
  await around.pass(20_000);
  assert.ok(leases.every((lease) => lease.isAlive && lease.remainingMs > 5000));
  assert.equal(streams.size, 1);
  known.delete(leases[7]?.id ?? '');
  await around.pass(4000);
  const lost = leases.filter((lease) => !lease.isAlive);
  assert.deepEqual(lost, [leases[7]]);
  const reason: unknown = lost[0]?.signal.reason;
  assert.ok(reason instanceof LeaseLostError && reason.why === 'revoked');
  member.kill();
  await around.pass(10_000);
  assert.ok(leases.every(({ signal }) => signal.aborted));
  const after: unknown = leases[0]?.signal.reason;
  assert.ok(after instanceof LeaseLostError && after.why === 'expired');
  await client.close();
});
