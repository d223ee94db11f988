/**
 * Goal: recipes work within a namespace and over fetch as they do anywhere, and keep the keys that etcd's Go recipes have.
 * Method: one scenario of all recipes through each kind of client; keys put by hand as Go's recipes put them.
 */
import assert from 'node:assert/strict';
import { CanceledError, type Client, put } from '@etsd/client';
import { EtcdClient as FetchClient } from '@etsd/client/fetch';
import {
  acquire,
  atomically,
  Barrier,
  Counter,
  campaign,
  DoubleBarrier,
  LiveConfig,
  leader,
  PriorityQueue,
  Queue,
  ReadWriteLock,
  Resolver,
  register,
  Semaphore,
} from '@etsd/client/recipes';
import { eventually, within } from '../../support/conditions.ts';
import { type Field, onBothProducts, stillWaits } from './field.ts';

const TTL = 30;

/** Each recipe once, with somebody who waits where there is something to wait for. */
async function everyRecipe(client: Client): Promise<void> {
  await using lease = await client.leases.hold(TTL);
  await using other = await client.leases.hold(TTL);
  const lock = await acquire(client, 'l', lease);
  const nextLock = acquire(client, 'l', other);
  const rw = new ReadWriteLock(client, 'rw');
  const writer = await rw.write(lease);
  const reading = rw.read(other);
  const semaphore = new Semaphore(client, 's', { limit: 1 });
  const slot = await semaphore.acquire({ holder: 'one', lease });
  const nextSlot = semaphore.acquire({ holder: 'two', lease });
  const first = await campaign(client, 'e', lease, 'first');
  const second = campaign(client, 'e', other, 'second');
  const barrier = await new Barrier(client, 'b').hold();
  const lifted = new Barrier(client, 'b').wait();
  const queue = new Queue(client, 'q');
  const taking = queue.take(lease);
  await stillWaits(Promise.race([nextLock, reading, nextSlot, second, lifted, taking]));
  assert.deepEqual(
    (await semaphore.list()).map((each) => each.holder),
    ['one', 'two'],
  );
  for (const held of [lock, writer, slot, first, barrier]) {
    await held.write(put('last', held.key));
    await held.release();
  }
  await queue.enqueue('work');
  const all = [nextLock, reading, nextSlot, second] as const;
  for (const held of await within(20_000, 'their turns', Promise.all(all))) await held.write(put('last', held.key));
  await within(20_000, 'lifted', lifted);
  assert.equal((await leader(client, 'e'))?.value.toString(), 'second');
  const item = await within(20_000, 'an item', taking);
  await item.complete(put('done', item.value));
  const round = new DoubleBarrier(client, 'd', 2);
  const crossings = await within(20_000, 'both', Promise.all([round.enter(lease), round.enter(other)]));
  await within(20_000, 'left', Promise.all(crossings.map((crossing) => crossing.leave())));
  const urgent = new PriorityQueue(client, 'p');
  await urgent.enqueue('later', 2);
  await urgent.enqueue('now', 1);
  assert.equal((await urgent.dequeue()).value.toString(), 'now');
  assert.equal(await new Counter(client, 'c').add(3), 3);
  const sum = await atomically(client, async (memory) => {
    memory.put('c', String(Number(await memory.text('c')) + 1));
    return memory.text('c');
  });
  assert.equal(sum, '4');
  await using _instance = await register(client, 'svc', { id: 'i', address: 'h:1' });
  await using resolver = await Resolver.open(client, 'svc');
  assert.deepEqual(
    resolver.instances.map(({ address, id }) => `${id} ${address}`),
    ['i h:1'],
  );
  await using config = await LiveConfig.open(client, 'svc/', { parse: (entries) => Object.keys(entries) });
  assert.deepEqual(config.current, ['i']);
}

/** Waits until so many keys are under a name. */
async function has(field: Field, rest: string, count: number): Promise<void> {
  await eventually(10_000, `${count} under ${rest}`, async () =>
    (await field.keys(rest)).length === count ? true : null,
  );
}

onBothProducts('recipes of other clients', {
  'in a namespace': async (field) => {
    await everyRecipe(field.client.within(field.name));
    const outside = (await field.keys()).map((key) => key.split('/')[0]);
    assert.ok(outside.includes('last') && outside.includes('__p'));
  },

  'over fetch': async (field) => {
    await using client = new FetchClient({ endpoints: `http://${field.server.address}`, namespace: field.name });
    await everyRecipe(client);
    assert.ok((await field.keys()).includes('last'));
  },

  'beside keys of Go: locks and barriers': async (field) => {
    const { client, name } = field;
    const lease = await client.leases.hold(TTL);
    // A reader of Go's waits for writers that came before, and so we for its.
    const rw = new ReadWriteLock(client, `${name}rw`);
    await client.kv.put(`${name}rw/read/1700000000000000001`, '');
    const reader = await rw.read(lease);
    const writing = rw.write(lease);
    await has(field, 'rw/', 3);
    await reader.release();
    await stillWaits(writing);
    await client.kv.delete(`${name}rw/read/1700000000000000001`);
    const writer = await within(10_000, 'the writer', writing);
    await writer.release();
    await client.kv.put(`${name}rw/write/1700000000000000002`, '');
    const reading = rw.read(lease);
    await stillWaits(reading);
    await client.kv.delete(`${name}rw/write/1700000000000000002`);
    await within(10_000, 'the reader', reading);
    // A barrier that Go's recipe holds.
    await client.kv.put(`${name}b`, '');
    const lifted = new Barrier(client, `${name}b`).wait();
    await stillWaits(lifted);
    await client.kv.delete(`${name}b`);
    await within(10_000, 'lifted', lifted);
    // A round with one of Go's: it came first and says that all are there, and at the end it goes last.
    const stranger = `${name}d/waiters/1700000000000000003`;
    await client.kv.put(stranger, '');
    const crossing = await within(10_000, 'both', new DoubleBarrier(client, `${name}d`, 2).enter(lease));
    const leaving = crossing.leave();
    await stillWaits(leaving);
    await client.kv
      .transaction()
      .do(put(`${name}d/ready`, ''))
      .commit();
    await client.kv.delete(stranger);
    await within(10_000, 'both have left', leaving);
    await client.kv.delete(`${name}d/ready`);
  },

  'beside keys of Go: queues': async (field) => {
    const { client, name } = field;
    const queue = new Queue(client, `${name}q`);
    await queue.enqueue('ours');
    assert.match((await field.keys('q/'))[0] ?? '', /^\d{19}$/);
    await client.kv.put(`${name}q/1700000000000000001`, 'theirs');
    assert.deepEqual(
      [await queue.dequeue(), await queue.dequeue()].map((item) => item.value.toString()),
      ['ours', 'theirs'],
    );
    const urgent = new PriorityQueue(client, `${name}p`);
    await client.kv
      .transaction()
      .do(put(`__${name}p/00003`, ''), put(`${name}p/00003/0000000000000041`, 'theirs'))
      .commit();
    await urgent.enqueue('ours', 3);
    assert.deepEqual(await field.keys('p/'), ['00003/0000000000000041', '00003/0000000000000042']);
    // What one of Go's takes while it is lent is no longer ours to complete.
    const lease = await client.leases.hold(TTL);
    const lent = await urgent.take(lease);
    await client.kv.delete(`${name}p/00003/0000000000000041`);
    await assert.rejects(lent.complete(put(`${name}done`, '')), /no longer held/);
    await lent.release();
    assert.equal((await urgent.dequeue()).value.toString(), 'ours');
    await assert.rejects(urgent.dequeue({ signal: AbortSignal.timeout(50) }), CanceledError);
  },
});
