/**
 * Goal: whatever twenty contenders do to each other, no two hold what one may hold, and nothing is lost or had twice.
 * Method: contenders whose connections are cut again and again and whose leases are revoked behind their backs write what
 * they may only write as holders; then the store's history, revision by revision, is judged by a model that knows nothing
 * of clients. ETSD_TEST_SEED repeats a choice of faults, ETSD_TEST_RECIPE_ROUNDS makes it longer.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Prng } from '@etsd/base';
import { type EtcdClient, EtcdError, type Event, EventType, type HeldLease, prefix, put } from '@etsd/client';
import {
  acquire,
  atomically,
  Counter,
  LostError,
  PriorityQueue,
  Queue,
  ReadWriteLock,
  Semaphore,
  type Tenure,
} from '@etsd/client/recipes';
import { within } from '../../support/conditions.ts';
import { type Field, onBothProducts, type Wire } from './field.ts';

const CONTENDERS = 20;
const WIRES = 4;
const ROUNDS = Number(process.env['ETSD_TEST_RECIPE_ROUNDS'] ?? 4);
const LIMIT_MS = 30_000 + ROUNDS * 5_000;
const TTL = 20;

/** One contender: its own lease, a connection it shares with a few, and its own chance. */
interface Contender {
  readonly index: number;
  readonly client: EtcdClient;
  readonly random: Prng;
  lease: HeldLease;
}

interface Fight {
  readonly seed: number;
  readonly contenders: readonly Contender[];
  /** Calls of which nobody knows what became. */
  unknown: number;
}

/** Runs all contenders, each so many rounds, while wires are cut and mended. */
async function fight(
  field: Field,
  context: TestContext,
  round: (contender: Contender, round: number) => Promise<void>,
): Promise<Fight> {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  context.diagnostic(`ETSD_TEST_SEED=${seed}`);
  const chance = new Prng(seed);
  const ends = await Promise.all(Array.from({ length: WIRES }, () => field.wired()));
  const contenders = await Promise.all(
    Array.from({ length: CONTENDERS }, async (_unused, index): Promise<Contender> => {
      const { client } = ends[index % WIRES] as { client: EtcdClient };
      return { index, client, random: new Prng(seed + index + 1), lease: await client.leases.hold(TTL) };
    }),
  );
  const state = { seed, contenders, unknown: 0 };
  const done = new AbortController();
  const meddling = meddle(
    ends.map((end) => end.wire),
    chance,
    done.signal,
  );
  try {
    const work = contenders.map(async (contender) => {
      let isLost = false;
      for (let i = 0; i < ROUNDS; i++) {
        try {
          if (isLost || !contender.lease.isAlive) contender.lease = await contender.client.leases.hold(TTL);
          isLost = false;
          await round(contender, i);
        } catch (error) {
          // What the recipes promise to throw; whether rightly so the model judges.
          if (!(error instanceof EtcdError)) throw error;
          isLost ||= error instanceof LostError;
          state.unknown++;
        }
      }
    });
    await within(LIMIT_MS, `all rounds (seed ${seed})`, Promise.all(work));
  } finally {
    done.abort();
    await meddling;
  }
  return state;
}

async function meddle(wires: readonly Wire[], random: Prng, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const wire = wires[random.below(wires.length)] as Wire;
    await new Promise((resolve) => setTimeout(resolve, 50 + random.below(150)));
    wire.cut();
    await new Promise((resolve) => setTimeout(resolve, random.below(60)));
    wire.mend();
  }
}

/** Everything that happened to the test's keys, oldest first. */
async function historyOf(field: Field, startRevision: number): Promise<Event[]> {
  const end = await field.client.kv.put(`${field.name}end`, '');
  const events: Event[] = [];
  for await (const event of field.client.watch(prefix(field.name), { startRevision }).events()) {
    if (event.kv?.modRevision === end.header?.revision) break;
    events.push(event);
  }
  return events;
}

/** Holds for a while and says so in the store, now and then after the lease was revoked behind the holder's back. */
async function tenure(
  field: Field,
  { client, index, lease, random }: Contender,
  held: Tenure,
  what: string,
): Promise<void> {
  await using _held = held;
  if (random.below(8) === 0) await field.client.leases.revoke(lease.id);
  const word = `${held.key.toString()} ${held.revision} ${what}`;
  // Not by `write`, which would look at the clock first: only the store shall judge.
  await client.kv
    .transaction()
    .if(held.held)
    .do(put(`${field.name}log/${index}`, word))
    .commit();
  if (random.below(3) > 0) await new Promise((resolve) => setTimeout(resolve, random.below(20)));
  await client.kv
    .transaction()
    .if(held.held)
    .do(put(`${field.name}log/${index}`, word))
    .commit();
}

/** A key that stands for one who holds or waits. */
interface Standing {
  readonly key: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

/**
 * Goes through the history: at each word in the log `judge` is asked whether who wrote it held then, given all who stood
 * there, oldest first. Answers how many words there were.
 */
function judgeHistory(
  field: Field,
  events: readonly Event[],
  judge: (who: Standing, what: string, all: readonly Standing[]) => boolean,
): number {
  const standing = new Map<string, Standing>();
  let words = 0;
  for (const { kv, type } of events) {
    const at = kv?.key.toString() ?? '';
    if (at.startsWith(`${field.name}log/`)) {
      if (kv === null || type === EventType.DELETE) continue;
      const [key = '', token = '', what = ''] = kv.value.toString().split(' ');
      const all = [...standing.values()].sort((left, right) => left.createRevision - right.createRevision);
      const who = standing.get(key);
      const scene = `${key} ${token} (${what}) at revision ${kv.modRevision} among ${JSON.stringify(all)}`;
      assert.ok(who !== undefined && [who.createRevision, who.modRevision].includes(Number(token)), `gone: ${scene}`);
      assert.ok(judge(who, what, all), `not a holder: ${scene}`);
      words++;
    } else if (type === EventType.DELETE) {
      standing.delete(at);
    } else if (kv !== null) {
      standing.set(at, { key: at, createRevision: kv.createRevision, modRevision: kv.modRevision });
    }
  }
  return words;
}

async function revisionNow({ client }: Field): Promise<number> {
  return (await client.kv.range({ key: Buffer.from('x') })).header?.revision ?? 0;
}

onBothProducts('twenty contenders', {
  'a lock has one holder at every revision': async (field, context) => {
    const start = await revisionNow(field);
    await fight(field, context, async (contender) => {
      const { client, lease, random } = contender;
      const signal = random.below(6) === 0 ? AbortSignal.timeout(random.below(200)) : new AbortController().signal;
      await tenure(field, contender, await acquire(client, `${field.name}lock`, lease, { signal }), 'lock');
    });
    const words = judgeHistory(field, await historyOf(field, start + 1), (who, _what, all) => all[0]?.key === who.key);
    context.diagnostic(`${words} words of holders`);
    assert.ok(words > CONTENDERS, `${words} words`);
  },

  'a read-write lock has one writer or readers at every revision': async (field, context) => {
    const start = await revisionNow(field);
    await fight(field, context, async (contender) => {
      const lock = new ReadWriteLock(contender.client, `${field.name}rw`);
      const writes = contender.random.below(3) === 0;
      const held = await (writes ? lock.write(contender.lease) : lock.read(contender.lease));
      await tenure(field, contender, held, writes ? 'writer' : 'reader');
    });
    const words = judgeHistory(field, await historyOf(field, start + 1), (who, what, all) =>
      what === 'writer'
        ? all[0]?.key === who.key
        : all.every((each) => each.createRevision >= who.createRevision || each.key.includes('/read/')),
    );
    context.diagnostic(`${words} words of holders`);
    assert.ok(words > CONTENDERS, `${words} words`);
  },

  'a semaphore has no more holders than slots at every revision': async (field, context) => {
    const start = await revisionNow(field);
    const slots = 3;
    await fight(field, context, async (contender) => {
      const semaphore = new Semaphore(contender.client, `${field.name}sem`, { limit: slots });
      const slot = await semaphore.acquire({ holder: `holder-${contender.index}`, lease: contender.lease });
      await tenure(field, contender, slot, 'slot');
    });
    const words = judgeHistory(field, await historyOf(field, start + 1), (who, _what, all) => {
      const holders = all.filter((each) => each.key.includes('/holders/'));
      return holders.findIndex((each) => each.key === who.key) < slots;
    });
    context.diagnostic(`${words} words of holders`);
    assert.ok(words > CONTENDERS, `${words} words`);
  },

  'each item of a queue has its effect once': async (field, context) => {
    const queues = [
      new Queue(field.client, `${field.name}q`),
      new PriorityQueue(field.client, `${field.name}p`),
    ] as const;
    const items = CONTENDERS * ROUNDS;
    for (let i = 0; i < items; i++) {
      if (i % 2 === 0) await queues[0].enqueue(`item-${i}`);
      else await queues[1].enqueue(`item-${i}`, i % 7);
    }
    let left = items;
    const { unknown } = await fight(field, context, async ({ client, lease, random }) => {
      const signal = AbortSignal.timeout(1_000);
      const queue =
        random.below(2) === 0 ? new Queue(client, `${field.name}q`) : new PriorityQueue(client, `${field.name}p`);
      await using item = await queue.take(lease, { signal });
      if (random.below(8) === 0) await field.client.leases.revoke(lease.id);
      await item.complete(put(`${field.name}done/${item.value}`, ''));
      left--;
    });
    // What is left over has its turn without disturbance.
    await using lease = await field.client.leases.hold(TTL);
    for (const queue of queues) {
      while ((await queue.length()) > 0) {
        const item = await within(20_000, 'the rest', queue.take(lease));
        await item.complete(put(`${field.name}done/${item.value}`, ''));
      }
    }
    const versions: number[] = [];
    for await (const kv of field.client.kv.list(prefix(`${field.name}done/`))) versions.push(kv.version);
    context.diagnostic(`${items - left} of ${items} items done under fire, ${unknown} rounds failed`);
    assert.deepEqual(versions, Array(items).fill(1));
  },

  'no item that is dequeued is had by two': async (field, context) => {
    const queue = new Queue(field.client, `${field.name}q`);
    const items = CONTENDERS * ROUNDS;
    for (let i = 0; i < items; i++) await queue.enqueue(String(i));
    const had: string[] = [];
    const { unknown } = await fight(field, context, async ({ client }) => {
      const item = await new Queue(client, `${field.name}q`).tryDequeue();
      if (item !== null) had.push(item.value.toString());
    });
    const rest = await queue.length();
    context.diagnostic(`${had.length} of ${items} had, ${rest} left, ${unknown} calls failed`);
    assert.equal(new Set(had).size, had.length, 'had twice');
    // What was neither had nor is left was taken by calls whose answers were lost.
    const lost = items - had.length - rest;
    assert.ok(lost >= 0 && lost <= unknown, `${lost} lost`);
  },

  'counters and transactions add up': async (field, context) => {
    const accounts = Array.from({ length: 5 }, (_unused, index) => `${field.name}account/${index}`);
    for (const account of accounts) await field.client.kv.put(account, '100');
    let counted = 0;
    const { unknown } = await fight(field, context, async ({ client, random }) => {
      const from = accounts[random.below(5)] as string;
      const to = accounts[random.below(5)] as string;
      await atomically(client, async (memory) => {
        const amount = 1 + random.below(20);
        memory.put(from, String(Number(await memory.text(from)) - amount));
        memory.put(to, String(Number(await memory.text(to)) + amount));
      });
      await new Counter(client, `${field.name}count`).add();
      counted++;
    });
    const sumAt = async (): Promise<number> =>
      atomically(field.client, async (memory) => {
        const values = await Promise.all(accounts.map((account) => memory.text(account)));
        return values.reduce((sum, value) => sum + Number(value), 0);
      });
    assert.equal(await sumAt(), 500);
    const count = await new Counter(field.client, `${field.name}count`).get();
    context.diagnostic(`${counted} counted, ${count} in the store, ${unknown} calls failed`);
    assert.ok(count >= counted && count <= counted + unknown, `${counted} counted, ${count} in the store`);
  },
});
