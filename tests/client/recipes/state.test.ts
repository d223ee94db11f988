/**
 * Goal: what many change at once adds up, and pictures of the store follow it. Method: both products, writers in each
 * other's way, wires that are cut, history that is compacted under those who follow, leases that are left to end.
 */
import assert from 'node:assert/strict';
import { CanceledError, json, key, prefix, put } from '@etsd/client';
import {
  acquire,
  anyText,
  atomically,
  ConflictError,
  Counter,
  type Isolation,
  LiveConfig,
  LostError,
  NoInstanceError,
  oneOf,
  optional,
  Resolver,
  register,
  shape,
  UnreadableError,
  wholeNumber,
  yesNo,
} from '@etsd/client/recipes';
import { eventually, within } from '../../support/conditions.ts';
import { type Field, onBothProducts } from './field.ts';

const TTL = 30;
/** The shortest that both products grant as it is asked for. */
const SHORT_TTL = 2;

async function compact(field: Field): Promise<void> {
  const { header } = await field.client.kv.put(`${field.name}other`, '');
  await field.client.kv.compact(header?.revision ?? 0);
}

/** Two transactions that each read what the other writes; answers how often either ran. */
async function skew({ client, name }: Field, isolation: Isolation): Promise<{ runs: number; sum: number }> {
  await client.kv.put(`${name}a`, '1');
  await client.kv.put(`${name}b`, '1');
  let runs = 0;
  let ready = 0;
  let go: () => void = () => {};
  const bothHaveRead = new Promise<void>((resolve) => {
    go = resolve;
  });
  // Each takes one away if both together are two: alone that leaves one, at the same time nothing.
  const takeFrom = (at: string) =>
    atomically(
      client,
      async (memory) => {
        runs++;
        const [a, b] = [await memory.text(`${name}a`), await memory.text(`${name}b`)];
        if (++ready === 2) go();
        await bothHaveRead;
        if (Number(a) + Number(b) === 2) memory.put(`${name}${at}`, '0');
      },
      { isolation },
    );
  await within(20_000, 'both are done', Promise.all([takeFrom('a'), takeFrom('b')]));
  const sum = Number((await client.kv.get(`${name}a`))?.value) + Number((await client.kv.get(`${name}b`))?.value);
  return { runs, sum };
}

onBothProducts('transactions in memory, counters, registry, configuration', {
  'a transaction is as if it had been alone, on the levels that say so': async (field) => {
    for (const isolation of ['serializable-snapshot', 'serializable', 'repeatable-reads'] as const) {
      assert.deepEqual(await skew(field, isolation), { runs: 3, sum: 1 }, isolation);
    }
    assert.deepEqual(await skew(field, 'read-committed'), { runs: 2, sum: 0 });
  },

  'all reads are of one moment where the level says so': async ({ client, name }) => {
    const at = (each: string) => `${name}${each}`;
    for (const isolation of ['serializable-snapshot', 'serializable', 'repeatable-reads', 'read-committed'] as const) {
      const readBetweenWrites = async (): Promise<unknown> => {
        await client.kv
          .transaction()
          .do(put(at('a'), 'old'), put(at('b'), 'old'))
          .commit();
        return atomically(
          client,
          async (memory) => {
            const first = await memory.text(at('a'));
            await client.kv
              .transaction()
              .do(put(at('a'), 'new'), put(at('b'), 'new'))
              .commit();
            return [first, await memory.text(at('b')), await memory.text(at('a'))];
          },
          { isolation, attempts: 1 },
        ).catch((error: unknown) => {
          assert.ok(error instanceof ConflictError);
          return 'conflict';
        });
      };
      let seen = await readBetweenWrites();
      // The tests beside this one compact the revision that is read: then it would be tried again.
      for (let i = 0; i < 10 && seen === 'conflict' && isolation.startsWith('s'); i++) seen = await readBetweenWrites();
      const expected = {
        // Nothing is written, so what was true at one moment is enough.
        'serializable-snapshot': ['old', 'old', 'old'],
        serializable: ['old', 'old', 'old'],
        'repeatable-reads': 'conflict',
        'read-committed': ['old', 'new', 'new'],
      }[isolation];
      assert.deepEqual(seen, expected, isolation);
    }
  },

  'a key only written conflicts with other writers on the highest level alone': async ({ client, name }) => {
    for (const [isolation, expected] of [
      ['serializable-snapshot', 2],
      ['serializable', 1],
    ] as const) {
      let runs = 0;
      await atomically(
        client,
        async (memory) => {
          await memory.get(`${name}read`);
          if (++runs === 1) await client.kv.put(`${name}written`, 'by another');
          memory.put(`${name}written`, 'by us');
        },
        { isolation },
      );
      assert.equal(runs, expected, isolation);
      assert.equal((await client.kv.get(`${name}written`))?.value.toString(), 'by us');
    }
  },

  'a range that was read counts whole, and shows what the transaction itself wrote': async (field) => {
    const { client, name } = field;
    const range = prefix(`${name}r/`);
    for (const each of ['a', 'b']) await client.kv.put(`${name}r/${each}`, each);
    const disturbances = [
      () => client.kv.put(`${name}r/c`, 'appears'),
      () => client.kv.delete(`${name}r/a`),
      () => client.kv.put(`${name}r/b`, 'changes'),
    ];
    let runs = 0;
    const seen = await atomically(client, async (memory) => {
      const before = await memory.list(range);
      const disturb = disturbances[runs++];
      if (disturb !== undefined) await disturb();
      memory.put(`${name}r/d`, 'own');
      memory.delete(`${name}r/b`);
      memory.put(`${name}count`, String(before.length));
      return (await memory.list(range)).map((each) => `${each.key.toString().slice(name.length)}=${each.value}`);
    });
    assert.equal(runs, 4);
    assert.deepEqual(seen, ['r/c=appears', 'r/d=own']);
    assert.deepEqual(await field.keys('r/'), ['c', 'd']);
    assert.equal((await client.kv.get(`${name}count`))?.value.toString(), '2');
  },

  'a transaction that throws or whose lock is gone writes nothing': async ({ client, name }) => {
    const failing = atomically(client, (memory) => {
      memory.put(`${name}x`, 'never');
      throw new RangeError('not so');
    });
    await assert.rejects(failing, RangeError);
    const lease = await client.leases.hold(TTL);
    const lock = await acquire(client, `${name}l`, lease);
    const write = (value: string) =>
      atomically(
        client,
        async (memory) => {
          memory.put(`${name}x`, `${await memory.text(`${name}x`)} ${value}`);
        },
        { conditions: [lock.held] },
      );
    await write('held');
    await lock.release();
    await assert.rejects(write('late'), LostError);
    assert.equal((await client.kv.get(`${name}x`))?.value.toString(), 'null held');
    const stop = AbortSignal.abort();
    await assert.rejects(
      atomically(client, (memory) => memory.get('x'), { signal: stop }),
      CanceledError,
    );
    // Reads begun beside each other are of one moment, too.
    await Promise.all(['p', 'q'].map((each) => client.kv.put(`${name}${each}`, each)));
    const both = await atomically(client, (memory) =>
      Promise.all(['p', 'q'].map((each) => memory.text(`${name}${each}`))),
    );
    assert.deepEqual(both, ['p', 'q']);
    // Values of a kind of one's own.
    const balance = await atomically(client, async (memory) => {
      const accounts = memory.as(json<{ balance: number }>());
      accounts.put(`${name}account`, { balance: ((await accounts.get(`${name}account`))?.balance ?? 0) + 5 });
      return (await accounts.get(`${name}account`))?.balance;
    });
    assert.equal(balance, 5);
  },

  'a counter loses nothing, and refuses what is none': async ({ client, name }) => {
    const counters = Array.from({ length: 5 }, () => new Counter(client, `${name}c`));
    const sums = await Promise.all(
      counters.map(async (counter) => {
        const got: number[] = [];
        for (let i = 0; i < 8; i++) got.push(await counter.add());
        return got;
      }),
    );
    assert.deepEqual(
      sums.flat().sort((left, right) => left - right),
      Array.from({ length: 40 }, (_unused, index) => index + 1),
    );
    const counter = new Counter(client, `${name}c`);
    assert.equal(await counter.add(-42), -2);
    assert.equal(await counter.get(), -2);
    await assert.rejects(counter.add(0.5), RangeError);
    await assert.rejects(counter.add(1, { conditions: [key(`${name}none`).exists] }), LostError);
    assert.equal(await counter.get(), -2);
    await client.kv.put(`${name}c`, 'many');
    await assert.rejects(counter.add(), UnreadableError);
  },

  'a resolver knows who lives, through a cut and a compaction, and shares the work out': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const service = `${name}s`;
    await using resolver = await Resolver.open(far, service, { restMs: 60_000 });
    assert.throws(() => resolver.pick(), NoInstanceError);
    const ids = () => resolver.instances.map((each) => each.id).sort();
    const sees = (...expected: string[]) =>
      eventually(20_000, `${expected}`, () => (ids().join() === expected.join() ? true : null));
    let isWell = true;
    const a = await register(client, service, { id: 'a', address: 'h:1', metadata: { zone: 1 } });
    await using b = await register(client, service, { id: 'b', address: 'h:2', check: () => isWell, checkEveryMs: 20 });
    await resolver.ready();
    await sees('a', 'b');
    assert.deepEqual(JSON.parse((await client.kv.get(`${service}/a`))?.value.toString() ?? ''), {
      Op: 0,
      Addr: 'h:1',
      Metadata: { zone: 1 },
    });
    const first = resolver.pick();
    const second = resolver.pick();
    assert.deepEqual([first.address, second.address].sort(), ['h:1', 'h:2']);
    first[Symbol.dispose]();
    assert.equal(resolver.pick().address, first.address, 'the one with less to do');
    second.failed();
    second[Symbol.dispose]();
    for (let i = 0; i < 3; i++) assert.equal(resolver.pick().address, first.address, 'the one that did not fail');
    isWell = false;
    await sees('a');
    assert.equal(b.isShown, false);
    isWell = true;
    await sees('a', 'b');
    a.update({ metadata: { zone: 2 } });
    await eventually(10_000, 'the metadata', () =>
      JSON.stringify(resolver.instances).includes('"zone":2') ? true : null,
    );
    wire.cut();
    await a.close();
    await client.kv.put(`${service}/junk`, 'no instance');
    await compact(field);
    assert.deepEqual(ids(), ['a', 'b'], 'those known last count');
    wire.mend();
    await sees('b');
  },

  'an instance whose lease is gone registers again by itself': async (field) => {
    const { client, name } = field;
    await using resolver = await Resolver.open(client, `${name}s`);
    const { client: far, wire } = await field.wired();
    await using registration = await register(far, `${name}s`, { id: 'a', address: 'h:1', ttlSeconds: SHORT_TTL });
    await resolver.ready();
    const before = resolver.instances[0]?.createRevision ?? 0;
    wire.cut();
    await eventually(20_000, 'it is gone', () => (resolver.instances.length === 0 ? true : null));
    await eventually(20_000, 'it knows', () => (registration.isShown ? null : true));
    wire.mend();
    await eventually(20_000, 'it is back', () => (resolver.instances.length === 1 ? true : null));
    assert.ok((resolver.instances[0]?.createRevision ?? 0) > before);
  },

  'a configuration is what its keys say, and never what they must not say': async (field) => {
    const { client, name } = field;
    const { client: far, wire } = await field.wired();
    const parse = shape({
      level: oneOf('debug', 'info'),
      workers: optional(wholeNumber(1, 64), 4),
      name: optional(anyText(), null),
      isOpen: optional(yesNo(), false),
    });
    const at = (each: string) => `${name}c/${each}`;
    await assert.rejects(LiveConfig.open(client, at(''), { parse }), /level is not set/);
    await client.kv.put(at('level'), 'info');
    await using config = await LiveConfig.open(far, at(''), { parse });
    assert.deepEqual(config.current, { level: 'info', workers: 4, name: null, isOpen: false });
    const seen: string[] = [];
    const following = (async () => {
      for await (const each of config.changes()) seen.push(`${each.level} ${each.workers}`);
    })();
    // Both settings of one transaction, or none.
    await client.kv
      .transaction()
      .do(put(at('level'), 'debug'), put(at('workers'), '8'))
      .commit();
    await eventually(10_000, 'the change', () => (seen.at(-1) === 'debug 8' ? true : null));
    await client.kv.put(at('workers'), '800');
    await eventually(10_000, 'the mistake', () => (config.error === null ? null : true));
    assert.match(String(config.error), /workers is "800", not a whole number from 1 to 64/);
    assert.equal(config.current.workers, 8, 'the last good one stays');
    wire.cut();
    await client.kv.put(at('workers'), '16');
    await compact(field);
    wire.mend();
    await eventually(20_000, 'the correction', () => (seen.at(-1) === 'debug 16' ? true : null));
    assert.equal(config.error, null);
    await client.kv.delete(at('workers'));
    await eventually(10_000, 'the default', () => (seen.at(-1) === 'debug 4' ? true : null));
    await config.close();
    await within(10_000, 'who follows it ends', following);
    await using fallback = await LiveConfig.open(client, at('none/'), {
      parse,
      fallback: { level: 'info' as const, workers: 1, name: null, isOpen: true },
    });
    assert.equal(fallback.current.workers, 1);
    assert.ok(fallback.error instanceof UnreadableError);
  },
});
