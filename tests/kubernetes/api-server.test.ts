/**
 * Goal: Kubernetes' API server finds in etsd what it relies on in etcd. Method: the calls of its store, in its form, to both
 * servers, and the answers compared; then what it builds on them (pages at one revision, a cache that knows when it is up to
 * date) while others write.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsPeer } from '@etsd/testkit';
import type { Message } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { type Page, pageOf, pages, prefixEnd, Registry, txnOf, type WatchEvent } from './registry.ts';
import { morning } from './script.ts';

const PATIENCE_MS = 60_000;
const PREFIX = '/registry/configmaps/';

async function transcriptOf(product: 'etcd' | 'etsd'): Promise<string[]> {
  const server = await startServer({ product });
  const client = server.connect();
  try {
    return await morning(client);
  } finally {
    client.close();
    await server.dispose();
  }
}

it("answers every call of an API server's store as etcd does", { skip: needsPeer('etcd') }, async () => {
  const theirs = await transcriptOf('etcd');
  const ours = await transcriptOf('etsd');
  assert.ok(theirs.length > 50, `${theirs.length} calls`);
  assert.deepEqual(ours, theirs);
});

describe('what an API server builds on it', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ product: process.env['ETSD_TEST_PRODUCT'] === 'etcd' ? 'etcd' : 'etsd' });
  });
  after(() => server.dispose());

  /** Writes at random under the prefix until told to stop; answers how many writes there were. */
  function writer(prefix: string, keys: number, seed: number): { stop: () => Promise<number> } {
    const client = server.connect();
    const registry = new Registry(client);
    const known = new Map<string, string>();
    let isStopped = false;
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    const running = (async () => {
      let writes = 0;
      for (; !isStopped; writes++) {
        const key = `${prefix}${seed}-${String(random(keys)).padStart(4, '0')}`;
        const at = known.get(key);
        if (at === undefined) known.set(key, txnOf(await registry.create(key, `${writes}`)).revision);
        else if (random(3) === 0) {
          assert.ok(txnOf(await registry.remove(key, at)).succeeded);
          known.delete(key);
        } else known.set(key, txnOf(await registry.update(key, at, `${writes}`)).revision);
      }
      return writes;
    })();
    return {
      async stop() {
        isStopped = true;
        const writes = await running;
        client.close();
        return writes;
      },
    };
  }

  it('pages at one revision are one list, with exactly what remains, while others write', async () => {
    const client = server.connect();
    const registry = new Registry(client);
    const writers = [writer(PREFIX, 200, 1), writer(PREFIX, 200, 2)];
    try {
      for (let round = 0; round < 10; round++) {
        let revision = '';
        let total = -1;
        const all = await pages(registry, PREFIX, 17, (page, seen) => {
          revision ||= page.header.revision;
          if (total < 0) total = Number(page.count);
          // `remainingItemCount` is made of this.
          assert.equal(Number(page.count) - page.kvs.length, total - seen);
          assert.equal(page.more, seen < total);
        });
        const whole = pageOf(await registry.list(PREFIX, { revision }));
        assert.deepEqual(all, whole.kvs);
        assert.equal(Number(whole.count), total);
      }
    } finally {
      for (const each of writers) assert.ok((await each.stop()) > 0);
      client.close();
    }
  });

  it('no progress notice comes before an event it covers', async () => {
    const client = server.connect();
    const registry = new Registry(client);
    const first = pageOf(await registry.count(PREFIX)).header.revision;
    // From now, from before, and from a revision that is not there yet.
    const streams = [0, -20, 40].map((from) => registry.watch(PREFIX, String(Math.max(2, Number(first) + 1 + from))));
    const writers = [writer(PREFIX, 50, 3), writer(PREFIX, 50, 4), writer(PREFIX, 50, 5)];
    const covered = streams.map(() => 0);
    let notices = 0;
    for (const [at, stream] of streams.entries()) {
      stream.onMessage = ({ events, header }) => {
        const list = events as WatchEvent[];
        for (const { kv } of list) {
          const revision = Number(kv.mod_revision);
          assert.ok(revision > (covered[at] as number), `event ${revision} after a notice of ${covered[at]}`);
        }
        if (list.length > 0) return;
        notices++;
        covered[at] = Math.max(
          covered[at] as number,
          Number((header as Message)['revision']) * Number(stream.received.length > 1),
        );
      };
    }
    try {
      for (const stream of streams) await stream.until(PATIENCE_MS, 'the watch', () => stream.received.length > 0);
      for (let round = 0; round < 30; round++) {
        const before = notices;
        // A watch that is behind, or one of the future, is told nothing; the API server asks again as well.
        const ask = (): true | null => {
          if (notices > before) return true;
          for (const stream of streams) stream.send({ progress_request: {} });
          return null;
        };
        await eventually(PATIENCE_MS, 'progress', ask, 20);
      }
      for (const stream of streams) {
        const count = (): number => stream.received.flatMap(({ events }) => events as unknown[]).length;
        await stream.until(PATIENCE_MS, 'events', () => count() > 20);
        assert.equal(stream.ended, null);
      }
      assert.ok(notices >= 30, `${notices} notices`);
    } finally {
      for (const each of writers) assert.ok((await each.stop()) > 0);
      for (const stream of streams) stream.cancel();
      client.close();
    }
  });

  it('a cache that asks for progress serves what a read of the store would', async () => {
    const client = server.connect();
    const registry = new Registry(client);
    const start = pageOf(await registry.list(PREFIX));
    const cache = new Map(start.kvs.map(({ key, mod_revision }) => [String(key), mod_revision]));
    let cached = Number(start.header.revision);
    const stream = registry.watch(PREFIX, String(cached + 1));
    stream.onMessage = ({ events, header, created }) => {
      for (const { type, kv, prev_kv } of events as WatchEvent[]) {
        const key = String(kv.key);
        // The former value is what the cache holds: nothing was lost between two events.
        assert.equal(prev_kv?.mod_revision, cache.get(key));
        if (type === 'DELETE') cache.delete(key);
        else cache.set(key, kv.mod_revision);
        cached = Number(kv.mod_revision);
      }
      if ((events as unknown[]).length === 0 && created !== true) cached = Number((header as Message)['revision']);
    };
    const writers = [writer(PREFIX, 40, 6), writer('/registry/secrets/', 40, 7)];
    try {
      await stream.until(PATIENCE_MS, 'the watch', () => stream.received.length > 0);
      for (let round = 0; round < 20; round++) {
        const wanted = pageOf(await registry.list(PREFIX, { limit: 1 })).header.revision;
        const fresh = registry.list(PREFIX, { revision: wanted });
        while (cached < Number(wanted)) {
          const received = stream.received.length;
          stream.send({ progress_request: {} });
          await stream.until(PATIENCE_MS, `revision ${wanted}`, () => stream.received.length > received);
        }
        const seen = new Map(cache);
        const at = cached;
        const exact =
          at === Number(wanted) ? pageOf(await fresh) : pageOf(await registry.list(PREFIX, { revision: String(at) }));
        await fresh;
        assert.deepEqual(
          [...seen].sort(),
          exact.kvs.map(({ key, mod_revision }) => [String(key), mod_revision]).sort(),
        );
      }
    } finally {
      for (const each of writers) assert.ok((await each.stop()) > 0);
      stream.cancel();
      client.close();
    }
  });

  it('a list as a stream is the list at its first moment, in parts, while others write', {
    skip: process.env['ETSD_TEST_PRODUCT'] === 'etcd' && 'etcd has it from 3.7',
  }, async () => {
    const client = server.connect();
    const registry = new Registry(client);
    const writers = [writer(PREFIX, 300, 8), writer(PREFIX, 300, 9)];
    try {
      for (let index = 0; index < 40; index++)
        await registry.create(`${PREFIX}large-${index}`, Buffer.alloc(100_000, index));
      for (let round = 0; round < 3; round++) {
        const stream = client.stream('KV/RangeStream');
        stream.send({ key: Buffer.from(PREFIX), range_end: Buffer.from(prefixEnd(PREFIX)) });
        stream.halfClose();
        await stream.changed.wait(PATIENCE_MS, 'the end', () => stream.ended !== null);
        assert.equal(stream.ended?.code, 0, stream.ended?.message);
        const parts = stream.received.map(({ range_response }) => range_response as unknown as Page);
        const last = parts.pop() as Page;
        assert.ok(parts.length > 0, 'more than one part');
        for (const part of parts) assert.equal(part.header, null, 'header and count are in the last part alone');
        const kvs = [...parts, last].flatMap((part) => part.kvs);
        const { revision } = last.header;
        const whole = pageOf(await registry.list(PREFIX, { revision }));
        assert.deepEqual(kvs, whole.kvs);
        assert.equal(last.count, whole.count);
      }
      const sorted = client.stream('KV/RangeStream');
      sorted.send({ key: Buffer.from(PREFIX), range_end: Buffer.from(prefixEnd(PREFIX)), sort_order: 'DESCEND' });
      sorted.halfClose();
      await sorted.changed.wait(PATIENCE_MS, 'the refusal', () => sorted.ended !== null);
      // What tells the API server to go back to pages.
      assert.equal(sorted.ended?.code, 12);
    } finally {
      for (const each of writers) assert.ok((await each.stop()) > 0);
      client.close();
    }
  });

  it('a watch whose history was compacted is told, and goes on after a new list', async () => {
    const client = server.connect();
    const registry = new Registry(client);
    try {
      const prefix = '/registry/leases/';
      const { revision } = txnOf(await registry.create(`${prefix}a`, '1'));
      const later = txnOf(await registry.update(`${prefix}a`, revision, '2')).revision;
      await registry.compact(later);
      const stream = registry.watch(prefix, revision);
      await stream.until(PATIENCE_MS, 'the refusal', () => stream.received.some(({ canceled }) => canceled === true));
      const refusal = stream.received.find(({ canceled }) => canceled === true) as Message;
      assert.equal(refusal['compact_revision'], later);
      const list = pageOf(await registry.list(prefix));
      const again = registry.watch(prefix, String(Number(list.header.revision) + 1));
      await again.until(PATIENCE_MS, 'the new watch', () => again.received.length > 0);
      assert.ok(txnOf(await registry.update(`${prefix}a`, list.kvs[0]?.mod_revision ?? '', '3')).succeeded);
      await again.until(PATIENCE_MS, 'an event', () => again.received.length > 1);
      const [event] = (again.received[1] as unknown as { events: WatchEvent[] }).events;
      assert.equal(String(event?.prev_kv?.value), '2');
      stream.cancel();
      again.cancel();
    } finally {
      client.close();
    }
  });
});
