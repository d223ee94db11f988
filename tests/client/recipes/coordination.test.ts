/**
 * Goal: barriers let through together, queues give each item to one. Method: both products, workers that are gone with
 * what they were lent, wires that are cut, history that is compacted under those who wait.
 */
import assert from 'node:assert/strict';
import { CanceledError, put } from '@etsd/client';
import {
  AlreadyThereError,
  Barrier,
  type Crossing,
  DoubleBarrier,
  LostError,
  PriorityQueue,
  Queue,
  TooManyError,
} from '@etsd/client/recipes';
import { eventually, within } from '../../support/conditions.ts';
import { type Field, onBothProducts, stillWaits } from './field.ts';

const TTL = 30;
/** The shortest that both products grant as it is asked for. */
const SHORT_TTL = 2;

/** Makes whoever is behind unable to fetch what happened. */
async function compact(field: Field): Promise<void> {
  const { header } = await field.client.kv.put(`${field.name}other`, '');
  await field.client.kv.compact(header?.revision ?? 0);
  await field.client.kv.delete(`${field.name}other`);
}

function textOf(item: { value: Buffer } | null): string | null {
  return item === null ? null : item.value.toString();
}

onBothProducts('barriers and queues', {
  'a barrier holds all back until it is lifted, through a cut and a compaction': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const barrier = new Barrier(client, `${name}b`);
    await barrier.wait();
    const held = await barrier.hold();
    await assert.rejects(barrier.hold(), AlreadyThereError);
    const waiting = [barrier.wait(), new Barrier(far, `${name}b`).wait()];
    const stop = new AbortController();
    const impatient = barrier.wait({ signal: stop.signal });
    await stillWaits(Promise.race([...waiting, impatient]));
    stop.abort();
    await assert.rejects(impatient, CanceledError);
    wire.cut();
    await held.release();
    await compact(field);
    wire.mend();
    await within(20_000, 'all are let through', Promise.all(waiting));
    // One that is bound to a lease is lifted with it.
    const short = await client.leases.hold(SHORT_TTL);
    await barrier.hold({ lease: short });
    assert.equal(await barrier.isDown(), true);
    await short.abandon();
    await within(20_000, 'it is lifted', barrier.wait());
    assert.equal(await barrier.lift(), false);
  },

  'a double barrier begins and ends for all together, round after round': async (field) => {
    const { client, name } = field;
    const barrier = new DoubleBarrier(client, `${name}d`, 3);
    let inside = 0;
    const journal: string[] = [];
    const worker = async (): Promise<void> => {
      await using lease = await client.leases.hold(TTL);
      for (let round = 0; round < 3; round++) {
        const crossing = await barrier.enter(lease);
        journal.push(`${round} in`);
        inside++;
        await crossing.write(put(`${name}last`, String(round)));
        inside--;
        await crossing.leave();
        journal.push(`${round} out`);
      }
    };
    await within(40_000, 'three rounds', Promise.all([worker(), worker(), worker()]));
    assert.equal(inside, 0);
    assert.deepEqual(
      journal,
      [0, 1, 2].flatMap((round) => [...Array(3).fill(`${round} in`), ...Array(3).fill(`${round} out`)]),
    );
    assert.deepEqual(await field.keys('d'), []);
  },

  'a double barrier counts out who is gone, and takes no more than there are': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const barrier = new DoubleBarrier(client, `${name}d`, 2);
    const short = await client.leases.hold(SHORT_TTL);
    const lonely = barrier.enter(short);
    await eventually(10_000, 'it waits', async () => ((await field.keys('d/waiters/')).length === 1 ? true : null));
    await short.abandon();
    await assert.rejects(within(20_000, 'it hears that its lease is gone', lonely), LostError);
    const enough = new AbortController();
    const impatient = barrier.enter(await client.leases.hold(TTL), { signal: enough.signal });
    await eventually(10_000, 'it waits', async () => ((await field.keys('d/waiters/')).length === 1 ? true : null));
    enough.abort();
    await assert.rejects(impatient, CanceledError);
    assert.deepEqual(await field.keys('d/'), []);
    // One crosses while it is cut off, and history is gone when it comes back.
    const cut = new DoubleBarrier(far, `${name}d`, 2).enter(await far.leases.hold(TTL));
    await eventually(10_000, 'it waits', async () => ((await field.keys('d/waiters/')).length === 1 ? true : null));
    wire.cut();
    const dying = await client.leases.hold(SHORT_TTL);
    await within(10_000, 'the second', barrier.enter(dying));
    await compact(field);
    wire.mend();
    const crossing: Crossing = await within(20_000, 'the one that was cut off', cut);
    const stop = new AbortController();
    const late = barrier.enter(await client.leases.hold(TTL), { signal: stop.signal });
    await stillWaits(late);
    stop.abort();
    await assert.rejects(late, CanceledError);
    await dying.abandon();
    await within(20_000, 'the one that is gone is not waited for', crossing.leave());
    assert.deepEqual(await field.keys('d'), []);
    // A third that comes before anybody said that the round began.
    const lease = await client.leases.hold(TTL);
    for (const each of ['a', 'b']) await client.kv.put(`${name}d/waiters/${each}`, '', { lease: lease.id });
    await assert.rejects(barrier.enter(lease), TooManyError);
  },

  'a queue gives out in the order of coming, and waits for what will come': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const queue = new Queue(client, `${name}q`);
    assert.equal(await queue.tryDequeue(), null);
    for (let i = 0; i < 40; i++) await queue.enqueue(`item ${i}`);
    assert.equal(await queue.length(), 40);
    for (let i = 0; i < 40; i++) assert.equal(textOf(await queue.dequeue()), `item ${i}`);
    const stop = new AbortController();
    const impatient = queue.dequeue({ signal: stop.signal });
    const waiting = new Queue(far, `${name}q`).dequeue();
    await stillWaits(waiting);
    stop.abort();
    await assert.rejects(impatient, CanceledError);
    wire.cut();
    await compact(field);
    wire.mend();
    await queue.enqueue('late');
    assert.equal(textOf(await within(20_000, 'the late item', waiting)), 'late');
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) await queue.enqueue(String(i));
    const end = new AbortController();
    for await (const item of queue.drain({ signal: end.signal }))
      if (seen.push(item.value.toString()) === 3) end.abort();
    assert.deepEqual(seen, ['0', '1', '2']);
  },

  'what is lent comes back if its worker is gone, and its effect shows once': async (field) => {
    const { client, name } = field;
    const queue = new Queue(client, `${name}q`);
    for (const value of ['one', 'two']) await queue.enqueue(value);
    const short = await client.leases.hold(SHORT_TTL);
    await using lease = await client.leases.hold(TTL);
    const gone = await queue.take(short);
    const second = await queue.take(lease);
    assert.deepEqual([textOf(gone), textOf(second)], ['one', 'two']);
    assert.equal(await queue.tryDequeue(), null, 'what is lent is not given out');
    await second.complete(put(`${name}two`, 'done'));
    await short.abandon();
    await using again = await within(20_000, 'it is given out again', queue.take(lease));
    assert.equal(textOf(again), 'one');
    await assert.rejects(gone.complete(put(`${name}one`, 'by the one that was gone')), LostError);
    await again.complete(put(`${name}one`, 'done'));
    await assert.rejects(again.complete(), LostError);
    assert.equal(await queue.length(), 0);
    assert.equal((await client.kv.get(`${name}one`))?.value.toString(), 'done');
    // What is given back is there for the next at once.
    await queue.enqueue('three');
    const third = await queue.take(lease);
    const waiting = queue.take(lease);
    await stillWaits(waiting);
    await third.release();
    await (await within(10_000, 'given back', waiting)).complete();
    assert.deepEqual(await field.keys('q'), []);
  },

  'many that are lent do not hide what is behind them': async ({ client, name }) => {
    const queue = new Queue(client, `${name}q`);
    await using lease = await client.leases.hold(TTL);
    for (let i = 0; i < 36; i++) await queue.enqueue(String(i));
    for (let i = 0; i < 35; i++) await queue.take(lease);
    assert.equal(textOf(await queue.tryDequeue()), '35');
    assert.equal(await queue.tryDequeue(), null);
  },

  'a priority queue gives out what matters most': async (field) => {
    const { client, name } = field;
    const queue = new PriorityQueue(client, `${name}p`);
    await assert.rejects(queue.enqueue('x', -1), RangeError);
    await Promise.all(['c', 'd', 'e'].map((value) => queue.enqueue(value, 10)));
    await queue.enqueue('b', 9);
    await queue.enqueue('z', 65_535);
    await queue.enqueue('a', 0);
    const keys = await field.keys('p/');
    assert.deepEqual(keys.slice(0, 3), ['00000/0000000000000000', '00009/0000000000000000', '00010/0000000000000000']);
    const got: (string | null)[] = [];
    for (let i = 0; i < 6; i++) got.push(textOf(await queue.tryDequeue()));
    assert.deepEqual([...got.slice(0, 2), ...got.slice(2, 5).sort(), ...got.slice(5)], ['a', 'b', 'c', 'd', 'e', 'z']);
    await using lease = await client.leases.hold(TTL);
    const taking = queue.take(lease);
    await stillWaits(taking);
    await queue.enqueue('late', 7);
    const item = await within(10_000, 'what came', taking);
    await item.complete();
    assert.equal(await queue.length(), 0);
  },
});
