import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { OPEN_END, Prng, U64_ZERO } from '@etsd/base';
import { Store } from './store.ts';
import { WatchHub } from './watch-hub.ts';
import { ModelClient, type ModelEvent, request, settle } from './watch-model.fixture.ts';

const seed = Number(process.env['SEED'] ?? 20261121);

function setup() {
  const store = new Store(new MemoryBackend(), { cacheBytes: 4096 });
  store.open();
  const hub = new WatchHub(store, { fragmentBytes: 1 << 20, wake: () => {} });
  store.listener = hub;
  const write = (...pairs: [string, string | null][]): void => {
    store.begin();
    for (const [key, value] of pairs) {
      if (value === null) store.deleteRange(key, '');
      else store.put(key, Buffer.from(value), 0, value.length, U64_ZERO);
    }
    store.end();
  };
  return { store, hub, write };
}

describe('watch hub over the store', () => {
  it('shows previous values down to the compaction and not beyond, whether or not the space is free already', () => {
    const { store, hub, write } = setup();
    for (let number = 1; number <= 12; number++) write(['a', String(number)]);
    assert.equal(store.compact(5), null);
    for (const compacted of [false, true]) {
      if (compacted) while (!store.compactSlice(1000));
      const client = new ModelClient();
      hub.open(client).create(request({ key: 'a', startRevision: 5, prevKv: true }));
      settle(hub);
      assert.deepEqual(
        client.eventsOf(0).map((event) => [event.revision, event.previous]),
        [5, 6, 7, 8, 9, 10, 11, 12, 13].map((revision) => [revision, revision === 5 ? null : String(revision - 2)]),
      );
    }
  });

  it('shows no previous value for a key which one transaction deletes and makes anew', () => {
    const { store, hub, write } = setup();
    write(['a', '1']);
    const early = new ModelClient();
    hub.open(early).create(request({ key: 'a', prevKv: true }));
    write(['a', null], ['a', '2']);
    const late = new ModelClient();
    hub.open(late).create(request({ key: 'a', startRevision: 3, prevKv: true }));
    settle(hub);
    for (const client of [early, late]) {
      assert.deepEqual(
        client.eventsOf(0).map((event) => [event.value, event.previous]),
        [
          [null, '1'],
          ['2', null],
        ],
      );
    }
    assert.equal(store.revision, 3);
  });

  it('ends watchers below the compaction while it is still under way', () => {
    const { store, hub, write } = setup();
    for (let number = 1; number <= 12; number++) write(['a', String(number)]);
    store.compact(5);
    const client = new ModelClient();
    hub.open(client).create(request({ key: 'a', startRevision: 4 }));
    settle(hub);
    assert.deepEqual(
      client.told.map((told) => [told.kind, told.revision]),
      [['compacted', 5]],
    );
  });

  it('tells late watchers of history exactly what the early ones heard', () => {
    // Method: random transactions; one watcher hears each as it happens, others start later at random revisions.
    console.log(`seed ${seed}`);
    const random = new Prng(seed);
    const { store, hub, write } = setup();
    const early = new ModelClient();
    const all = { key: '\0', rangeEnd: OPEN_END, prevKv: true };
    hub.open(early).create(request(all));
    const late: { client: ModelClient; from: number }[] = [];
    for (let round = 0; round < 1500; round++) {
      const pairs = new Map<string, string | null>();
      for (let count = 1 + random.below(3); count > 0; count--) {
        const key = `k${random.below(20)}`;
        pairs.set(key, random.chance(0.25) && store.lookup(key, 0) ? null : `v${round}`);
      }
      write(...pairs);
      if (random.chance(0.02)) {
        const from = 1 + random.below(store.revision);
        const client = new ModelClient();
        hub.open(client).create(request({ ...all, startRevision: from }));
        late.push({ client, from });
      }
      if (random.chance(0.1)) hub.step(random.below(300));
    }
    settle(hub);
    const heard: ModelEvent[] = early.eventsOf(0);
    assert.ok(late.length > 10);
    for (const { client, from } of late) {
      assert.deepEqual(
        client.eventsOf(0),
        heard.filter((event) => event.revision >= from),
      );
    }
  });
});
