/**
 * Goal: what one may hold, or a few, is held by no more, and given on whatever becomes of its holder. Method: both
 * products, leases that are left to end, wires that are cut, history that is compacted under those who wait.
 */
import assert from 'node:assert/strict';
import { CanceledError, type Client, type EtcdClient, type HeldLease, put } from '@etsd/client';
import {
  acquire,
  campaign,
  type HeldLock,
  LostError,
  leader,
  observe,
  ReadWriteLock,
  Semaphore,
  type Tenure,
  tryAcquire,
  type WaitOptions,
  withLock,
} from '@etsd/client/recipes';
import { eventually, within } from '../../support/conditions.ts';
import { type Field, onBothProducts, stillWaits } from './field.ts';

const TTL = 30;
/** The shortest that both products grant as it is asked for. */
const SHORT_TTL = 2;

/** So many keys wait or hold. */
async function queued(field: Field, count: number): Promise<void> {
  await eventually(10_000, `${count} in the queue`, async () => ((await field.keys()).length === count ? true : null));
}

/** Everything that is waited for with a key, asked for so that whoever comes first holds the others back. */
const WAYS_IN: Readonly<
  Record<string, (client: Client, name: string, lease: HeldLease, options: WaitOptions) => Promise<Tenure>>
> = {
  lock: acquire,
  writer: (client, name, lease, options) => new ReadWriteLock(client, name).write(lease, options),
  slot: (client, name, lease, options) =>
    new Semaphore(client, name, { limit: 1 }).acquire({ holder: lease.id, lease, ...options }),
  leader: (client, name, lease, options) => campaign(client, name, lease, 'me', options),
};

onBothProducts('locks, slots and leaders', {
  'a lock is given on in the order in which it was asked for': async (field) => {
    const { client, name } = field;
    const order: number[] = [];
    const first = await acquire(client, `${name}l`, await client.leases.hold(TTL));
    const others: Promise<void>[] = [];
    for (let i = 0; i < 4; i++) {
      const lease = await client.leases.hold(TTL);
      others.push(
        (async () => {
          await using _lock = await acquire(client, `${name}l`, lease);
          order.push(i);
        })(),
      );
      await queued(field, i + 2);
    }
    assert.equal(await tryAcquire(client, `${name}l`, await client.leases.hold(TTL)), null);
    assert.equal((await field.keys()).length, 5, 'who only tried leaves no key');
    await first.release();
    await within(20_000, 'all had it', Promise.all(others));
    assert.deepEqual(order, [0, 1, 2, 3]);
    assert.deepEqual(await field.keys(), []);
  },

  'two who share a lease take turns as any two do': async ({ client, name }) => {
    await using lease = await client.leases.hold(TTL);
    const first = await acquire(client, `${name}l`, lease);
    const second = acquire(client, `${name}l`, lease);
    await stillWaits(second);
    assert.equal(await tryAcquire(client, `${name}l`, lease), null);
    await first.release();
    const held = await within(10_000, 'the second has it', second);
    assert.ok(held.revision > first.revision);
    await assert.rejects(first.write(put(`${name}x`, '1')), LostError);
    await held.write(put(`${name}x`, '2'));
  },

  'what nobody contends for costs one call to take and one to give back': async (field) => {
    const methods: string[] = [];
    const client = field.another({
      interceptors: [
        (call, next) => {
          methods.push(call.method);
          return next();
        },
      ],
    });
    const { name } = field;
    await using lease = await client.leases.hold(TTL);
    const rw = new ReadWriteLock(client, `${name}rw`);
    for (const enter of [
      () => acquire(client, `${name}l`, lease),
      () => campaign(client, `${name}e`, lease, 'me'),
      () => rw.read(lease),
      () => rw.write(lease),
    ]) {
      methods.length = 0;
      await (await enter()).release();
      assert.deepEqual(methods, ['Txn', 'Txn']);
    }
  },

  'work under a lock gives the lock and its lease back, also if it fails': async (field) => {
    const { client, name } = field;
    const failing = withLock(client, `${name}l`, async (lock) => {
      await lock.write(put(`${name}x`, '1'));
      assert.equal(await tryAcquire(client, `${name}l`, await client.leases.hold(TTL)), null);
      throw new RangeError('not so');
    });
    await assert.rejects(failing, RangeError);
    assert.equal(await withLock(client, `${name}l`, () => 'done', { ttlSeconds: TTL }), 'done');
    assert.deepEqual(await field.keys(), ['x']);
  },

  'who gives up waiting leaves no key behind': async (field) => {
    const { client, name } = field;
    await using lease = await client.leases.hold(TTL);
    await using other = await client.leases.hold(TTL);
    await using lock = await acquire(client, `${name}l`, lease);
    const stop = new AbortController();
    const waiting = acquire(client, `${name}l`, other, { signal: stop.signal });
    await queued(field, 2);
    stop.abort();
    await assert.rejects(within(10_000, 'the end', waiting), CanceledError);
    assert.deepEqual(await field.keys(), [lock.key.toString().slice(name.length)]);
    // Nor does who gives up at once, wherever its call then was.
    for (let i = 0; i < 5; i++) {
      const signal = AbortSignal.timeout(i);
      await assert.rejects(acquire(client, `${name}l`, other, { signal }), CanceledError);
      assert.equal((await field.keys()).length, 1);
    }
  },

  'a holder that is gone is followed by the next, and its late writes are refused': async (field) => {
    const { client, name } = field;
    const lease = await client.leases.hold(SHORT_TTL);
    const gone = await acquire(client, `${name}l`, lease);
    await gone.write(put(`${name}x`, 'in time'));
    // From here on it is as a process that stands still: nothing renews the lease.
    await lease.abandon();
    await using other = await client.leases.hold(TTL);
    await using next = await within(20_000, 'the next', acquire(client, `${name}l`, other));
    assert.ok(next.revision > gone.revision);
    assert.equal(gone.isHeld, false);
    await assert.rejects(gone.write(put(`${name}x`, 'too late')), LostError);
    // Also if it does not look at the clock, and asks the store.
    const { succeeded } = await gone
      .transaction()
      .do(put(`${name}x`, 'too late'))
      .commit();
    assert.equal(succeeded, false);
    assert.equal((await client.kv.get(`${name}x`))?.value.toString(), 'in time');
    await gone.release();
  },

  'who loses the lease while waiting is told, and those behind go on': async (field) => {
    const { client, name } = field;
    const first = await acquire(client, `${name}l`, await client.leases.hold(TTL));
    const short = await client.leases.hold(SHORT_TTL);
    const second = acquire(client, `${name}l`, short);
    await queued(field, 2);
    const third = acquire(client, `${name}l`, await client.leases.hold(TTL));
    await queued(field, 3);
    await short.abandon();
    await assert.rejects(within(20_000, 'the second hears of it', second), LostError);
    await first.release();
    const held = await within(20_000, 'the third has it', third);
    await held.release();
    await assert.rejects(acquire(client, `${name}l`, short), LostError);
  },

  'who waits while the connection is cut, and history compacted, has its turn all the same': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const first = await acquire(client, `${name}l`, await client.leases.hold(TTL));
    const second = acquire(far, `${name}l`, await far.leases.hold(TTL));
    await queued(field, 2);
    wire.cut();
    await first.release();
    const { header } = await client.kv.put(`${name}x`, '');
    await client.kv.compact(header?.revision ?? 0);
    wire.mend();
    const held = await within(20_000, 'the second has it', second);
    // And giving back is done as soon as it can be.
    wire.cut();
    const releasing = held.release();
    await stillWaits(releasing);
    wire.mend();
    await within(20_000, 'given back', releasing);
    assert.deepEqual(await field.keys('l'), []);
  },

  'who gives up while cut off is gone from the queue once the connection is back': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const first = await acquire(client, `${name}l`, await client.leases.hold(TTL));
    const stop = new AbortController();
    const second = acquire(far, `${name}l`, await far.leases.hold(TTL), { signal: stop.signal });
    await queued(field, 2);
    wire.cut();
    stop.abort();
    await assert.rejects(within(10_000, 'the end', second), CanceledError);
    wire.mend();
    await queued(field, 1);
    await first.release();
  },

  'each way in: no key is left by who gives up, and a cut and a compaction do no harm to who waits': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const near = await client.leases.hold(TTL);
    const away = await far.leases.hold(TTL);
    const ways = Object.entries(WAYS_IN);
    const holders = await Promise.all(ways.map(([way, enter]) => enter(client, name + way, near, {})));
    const before = (await field.keys()).length;
    const waiting = async (signal: AbortSignal): Promise<Promise<Tenure>[]> => {
      const entering = ways.map(([way, enter]) => enter(far, name + way, away, { signal }));
      for (const each of entering) each.catch(() => {});
      await queued(field, before + ways.length);
      return entering;
    };
    const stop = new AbortController();
    const given = await waiting(stop.signal);
    stop.abort();
    for (const each of given) await assert.rejects(each, CanceledError);
    assert.equal((await field.keys()).length, before);
    const patient = await waiting(new AbortController().signal);
    wire.cut();
    for (const held of holders) await held.release();
    const { header } = await client.kv.put('other', '');
    await client.kv.compact(header?.revision ?? 0);
    wire.mend();
    const successors = await within(30_000, 'their turns', Promise.all(patient));
    for (const [index, held] of successors.entries()) {
      assert.ok(held.revision > (holders[index] as Tenure).revision);
      await held.write(put(`${name}last`, held.key));
      await held.release();
    }
    assert.deepEqual(await field.keys(), ['last', 'slot/limit']);
  },

  'readers share, writers do not, and neither starves the other': async (field) => {
    const { client, name } = field;
    const lock = new ReadWriteLock(client, name.slice(0, -1));
    await using lease = await client.leases.hold(TTL);
    const [one, two] = await Promise.all([lock.read(lease), lock.read(lease)]);
    const writing = lock.write(lease);
    await queued(field, 3);
    const late = lock.read(lease);
    await queued(field, 4);
    await one.release();
    await stillWaits(writing);
    await stillWaits(late);
    await two.release();
    const writer = await within(10_000, 'the writer', writing);
    await stillWaits(late);
    await writer.write(put('x', '1'));
    await writer.release();
    const reader = await within(10_000, 'the late reader', late);
    assert.ok(reader.isShared && !writer.isShared && reader.revision > writer.revision);
    await assert.rejects(writer.write(put('x', '2')), LostError);
    await reader.release();
    const stop = new AbortController();
    await using _reader = await lock.read(lease);
    const patient = lock.write(lease, { signal: stop.signal });
    await queued(field, 2);
    stop.abort();
    await assert.rejects(patient, CanceledError);
    assert.equal((await field.keys()).length, 1);
  },

  'a slot outlives its holder if it shall, and is had again under the same name': async (field) => {
    const { client, name } = field;
    const semaphore = new Semaphore(client, `${name}s`, { limit: 2 });
    const first = await semaphore.acquire({ holder: 'm1' });
    await semaphore.acquire({ holder: 'm2' });
    const waiting = semaphore.acquire({ holder: 'm3' });
    await eventually(10_000, 'it waits', async () => ((await semaphore.list()).length === 3 ? true : null));
    assert.deepEqual(
      (await semaphore.list()).map(({ holder, isWaiting, lease }) => ({ holder, isWaiting, lease })),
      [
        { holder: 'm1', isWaiting: false, lease: null },
        { holder: 'm2', isWaiting: false, lease: null },
        { holder: 'm3', isWaiting: true, lease: null },
      ],
    );
    // The machine is back, and its process of before must not write any more.
    const again = await semaphore.acquire({ holder: 'm1' });
    assert.ok(again.revision > first.revision);
    await assert.rejects(first.write(put(`${name}x`, '')), LostError);
    await again.write(put(`${name}x`, ''));
    await first.release();
    assert.equal((await semaphore.list()).length, 3, 'what is not its own any more it does not give back');
    await stillWaits(waiting);
    assert.equal(await semaphore.evict('m2'), true);
    const third = await within(10_000, 'a slot', waiting);
    await again.release();
    await third.release();
    assert.deepEqual(await semaphore.list(), []);
  },

  'the number of slots can be changed, and who waits hears of it': async (field) => {
    const { client, name } = field;
    const semaphore = new Semaphore(client, `${name}s`, { limit: 1 });
    await using lease = await client.leases.hold(TTL);
    const slot = await semaphore.acquire({ holder: 'a', lease });
    const second = semaphore.acquire({ holder: 'b', lease });
    await eventually(10_000, 'it waits', async () => ((await semaphore.list()).length === 2 ? true : null));
    const stop = new AbortController();
    const third = semaphore.acquire({ holder: 'c', lease, signal: stop.signal });
    await stillWaits(second);
    await semaphore.setLimit(2);
    const other = await within(10_000, 'the second slot', second);
    await stillWaits(third);
    stop.abort();
    await assert.rejects(third, CanceledError);
    assert.deepEqual(
      (await semaphore.list()).map(({ holder }) => holder),
      ['a', 'b'],
    );
    assert.equal(await new Semaphore(client, `${name}s`, { limit: 7 }).limit(), 2, 'what is stored counts');
    const short = await client.leases.hold(SHORT_TTL);
    await other.release();
    await semaphore.acquire({ holder: 'd', lease: short });
    await short.abandon();
    const late = await within(20_000, 'the slot of one that is gone', semaphore.acquire({ holder: 'e', lease }));
    await Promise.all([late.release(), slot.release()]);
  },

  'leaders follow each other, and observers see all of it through a cut and a compaction': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const stop = new AbortController();
    const seen: string[] = [];
    const observing = (async () => {
      for await (const kv of observe(far, `${name}e`, { signal: stop.signal })) seen.push(kv.value.toString());
    })();
    const sees = (value: string) =>
      eventually(20_000, `the observer sees ${value}`, () => (seen.at(-1) === value ? true : null));
    const short = await client.leases.hold(SHORT_TTL);
    const one = await campaign(client, `${name}e`, short, 'one');
    await sees('one');
    const two = campaign(client, `${name}e`, await client.leases.hold(TTL), 'two');
    await queued(field, 2);
    await one.proclaim('one again');
    await sees('one again');
    await short.abandon();
    const second = await within(20_000, 'the second leads', two);
    await sees('two');
    await assert.rejects(one.proclaim('still me'), /not leader/);
    wire.cut();
    const third = campaign(client, `${name}e`, await client.leases.hold(TTL), 'three');
    await queued(field, 2);
    await second.resign();
    const last = await within(20_000, 'the third leads', third);
    const { header } = await client.kv.put(`${name}x`, '');
    await client.kv.compact(header?.revision ?? 0);
    wire.mend();
    await sees('three');
    await last.proclaim('three again');
    await sees('three again');
    assert.equal((await leader(client, `${name}e`))?.value.toString(), 'three again');
    stop.abort();
    await within(10_000, 'the observer ends', observing);
    assert.deepEqual(seen, ['one', 'one again', 'two', 'three', 'three again']);
  },

  'two who come at once: one has it, then the other': async (field) => {
    const { name } = field;
    for (let round = 0; round < 5; round++) {
      const pair = [field.another(), field.another()];
      const leases = await Promise.all(pair.map((client) => client.leases.hold(TTL)));
      const waiting = pair.map((client, index) => acquire(client, `${name}l`, leases[index] as HeldLease));
      const [first, index] = await within(
        10_000,
        'the first',
        Promise.race(waiting.map(async (each, at): Promise<[HeldLock, number]> => [await each, at])),
      );
      const other = waiting[1 - index] as Promise<HeldLock>;
      await stillWaits(other);
      await first.release();
      const second = await within(10_000, 'the other', other);
      assert.ok(second.revision > first.revision);
      await second.release();
      await Promise.all(leases.map((lease) => lease.release()));
      await Promise.all(pair.map((client: EtcdClient) => client.close()));
    }
  },
});
