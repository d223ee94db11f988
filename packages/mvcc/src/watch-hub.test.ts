import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPEN_END } from '@etsd/base';
import { TOLD_AT_ONCE_MAX, WatchHub } from './watch-hub.ts';
import { ModelClient, ModelStore, request, settle } from './watch-model.fixture.ts';
import type { Watcher, WatchStream } from './watch-stream.ts';

interface Setup {
  store: ModelStore;
  hub: WatchHub;
  client: ModelClient;
  stream: WatchStream;
  write: (...pairs: [string, string | null][]) => void;
  wakes: () => number;
}

function setup(fragmentBytes = 1 << 20): Setup {
  const store = new ModelStore();
  let wakes = 0;
  const hub = new WatchHub(store, {
    fragmentBytes,
    wake: () => {
      wakes++;
    },
  });
  const client = new ModelClient();
  const stream = hub.open(client);
  const write = (...pairs: [string, string | null][]): void => hub.changed(store.revision + 1, store.write(pairs));
  return { store, hub, client, stream, write, wakes: () => wakes };
}

describe('watch hub', () => {
  it('tells a synced watcher of each revision within the write', () => {
    const { client, stream, write } = setup();
    stream.create(request({ key: 'a' }));
    write(['a', '1']);
    write(['b', '1']);
    write(['a', null]);
    assert.deepEqual(
      client.told.map((told) => [told.revision, told.events]),
      [
        [2, [{ key: 'a', revision: 2, value: '1', previous: null }]],
        [4, [{ key: 'a', revision: 4, value: null, previous: null }]],
      ],
    );
  });

  it('tells all events of a transaction at once, to each watcher its own', () => {
    const { client, stream, write } = setup();
    const all = stream.create(request({ key: '\0', rangeEnd: OPEN_END })) as Watcher;
    const some = stream.create(request({ key: 'b', rangeEnd: 'd', prevKv: true })) as Watcher;
    write(['a', '1'], ['b', '1'], ['c', '1'], ['d', '1']);
    write(['b', '2'], ['d', '2'], ['c', null]);
    assert.equal(client.told.length, 4);
    assert.deepEqual(
      client.eventsOf(all.id).map((event) => event.key),
      ['a', 'b', 'c', 'd', 'b', 'd', 'c'],
    );
    assert.deepEqual(client.eventsOf(some.id), [
      { key: 'b', revision: 2, value: '1', previous: null },
      { key: 'c', revision: 2, value: '1', previous: null },
      { key: 'b', revision: 3, value: '2', previous: '1' },
      { key: 'c', revision: 3, value: null, previous: '1' },
    ]);
  });

  it('assigns watch ids from 0, skips those in use, and refuses as etcd does', () => {
    const { stream } = setup();
    const idOf = (wish: number): number | string => {
      const made = stream.create(request({ watchId: wish }));
      return typeof made === 'string' ? made : made.id;
    };
    assert.deepEqual([0, 0, 2, -7, 0].map(idOf), [0, 1, 2, -7, 3]);
    assert.equal(idOf(2), 'mvcc: duplicate watch ID provided on the WatchStream');
    assert.equal(stream.create(request({ key: 'b', rangeEnd: 'a' })), 'mvcc: watcher range is empty');
    assert.equal(stream.create(request({ key: 'b', rangeEnd: 'b' })), 'mvcc: watcher range is empty');
    assert.equal(
      stream.create(request({ startRevision: -1 })),
      'etcdserver: mvcc: required revision has been compacted',
    );
    assert.equal(stream.cancel(2), true);
    assert.equal(stream.cancel(2), false);
    assert.equal(idOf(2), 2);
    assert.equal(idOf(0), 4);
  });

  it('feeds a watcher of the past from history, and only when somebody steps', () => {
    const { hub, client, stream, write, wakes } = setup();
    for (let number = 0; number < 5; number++) write(['a', String(number)]);
    stream.create(request({ key: 'a', startRevision: 3, prevKv: true }));
    assert.equal(client.told.length, 0);
    assert.equal(wakes(), 1);
    settle(hub);
    assert.equal(client.told.length, 1);
    assert.equal(client.told[0]?.revision, 6);
    assert.deepEqual(
      client.told[0]?.events.map((event) => [event.revision, event.previous]),
      [
        [3, '0'],
        [4, '1'],
        [5, '2'],
        [6, '3'],
      ],
    );
    write(['a', 'x']);
    assert.equal(client.told.length, 2);
  });

  it('does not tell a watcher of the future anything early, and counts it as not synced for progress', () => {
    const { client, stream, write } = setup();
    stream.create(request({ key: 'a', startRevision: 4 }));
    write(['a', '2']);
    stream.requestProgress();
    write(['a', '3']);
    assert.equal(client.told.length, 0);
    write(['a', '4']);
    stream.requestProgress();
    assert.deepEqual(
      client.told.map((told) => [told.kind, told.watchId, told.revision]),
      [
        ['events', 0, 4],
        ['progress', -1, 4],
      ],
    );
  });

  it('answers progress requests only when every watcher of the stream is synced', () => {
    const { hub, client, stream, write } = setup();
    stream.requestProgress();
    write(['a', '1']);
    stream.create(request({ key: 'a' }));
    stream.create(request({ key: 'a', startRevision: 1 }));
    stream.requestProgress();
    assert.equal(client.told.length, 0);
    settle(hub);
    stream.requestProgress();
    assert.deepEqual(
      client.told.map((told) => told.kind),
      ['events', 'progress'],
    );
  });

  // Found by tests/differential, seed 100: one that had just caught up counted as waiting for the next revision.
  it('answers at once for a watcher that has caught up, also where another had asked for the far future', () => {
    const { hub, client, stream, write } = setup();
    write(['a', '1']);
    const far = stream.create(request({ key: 'a', startRevision: 1000 }));
    assert.ok(typeof far !== 'string');
    stream.create(request({ key: 'a', startRevision: 1 }));
    settle(hub);
    stream.cancel(far.id);
    stream.requestProgress();
    assert.deepEqual(
      client.told.map((told) => told.kind),
      ['events', 'progress'],
    );
  });

  it('lets progress notices go to those who asked and were told nothing since the last round', () => {
    const { client, stream, write } = setup();
    stream.create(request({ key: 'a', progressNotify: true }));
    stream.create(request({ key: 'b', progressNotify: true }));
    stream.create(request({ key: 'c' }));
    stream.create(request({ key: 'd', progressNotify: true, startRevision: 100 }));
    write(['a', '1']);
    const notices = (): number[] => {
      client.told.length = 0;
      stream.progressTick();
      return client.told.map((told) => told.watchId);
    };
    assert.deepEqual(notices(), [1]);
    assert.deepEqual(notices(), [0, 1]);
    assert.deepEqual(
      client.told.map((told) => told.revision),
      [2, 2],
    );
  });

  it('ends a watcher that needs history which is compacted, and keeps its id until it is cancelled', () => {
    const { store, hub, client, stream, write } = setup();
    for (let number = 0; number < 5; number++) write(['a', String(number)]);
    store.compactRevision = 4;
    stream.create(request({ key: 'a', startRevision: 3, watchId: 7 }));
    stream.create(request({ key: 'a', startRevision: 4, watchId: 8 }));
    settle(hub);
    assert.deepEqual(
      client.told.map((told) => [told.kind, told.watchId, told.revision, told.events.length]),
      [
        ['compacted', 7, 4, 0],
        ['events', 8, 6, 3],
      ],
    );
    assert.equal(typeof stream.create(request({ watchId: 7 })), 'string');
    assert.equal(stream.cancel(7), true);
    assert.equal(typeof stream.create(request({ watchId: 7 })), 'object');
    assert.equal(hub.watcherCount, 2);
  });

  it('sets a slow client aside without losing or repeating anything', () => {
    const { hub, client, stream, write } = setup();
    const fast = new ModelClient();
    hub.open(fast).create(request({ key: 'a' }));
    stream.create(request({ key: 'a' }));
    client.room = 2;
    for (let number = 2; number <= 9; number++) write(['a', String(number)]);
    assert.equal(fast.told.length, 8);
    assert.equal(client.told.length, 2);
    assert.equal(hub.slowCount, 1);
    settle(hub);
    assert.equal(client.told.length, 2, 'a blocked watcher waits for its client');
    client.room = Number.POSITIVE_INFINITY;
    settle(hub, [stream]);
    assert.equal(hub.slowCount, 0);
    write(['a', '10']);
    assert.deepEqual(
      client.eventsOf(0).map((event) => event.revision),
      [2, 3, 4, 5, 6, 7, 8, 9, 10],
    );
    assert.equal(client.told.length, 4, 'what was missed came in one response');
  });

  it('reads a window of history once for thousands of watchers behind', () => {
    const { store, hub, write } = setup();
    for (let number = 0; number < 500; number++) write([`k${number % 50}`, 'v']);
    const clients: ModelClient[] = [];
    for (let number = 0; number < 2000; number++) {
      const client = new ModelClient();
      clients.push(client);
      hub.open(client).create(request({ key: `k${number % 50}`, startRevision: 1 + (number % 3) }));
    }
    settle(hub);
    assert.ok(store.historyReads <= 3 * 500, `${store.historyReads} records read`);
    for (const client of clients) assert.ok(client.eventsOf(0).length >= 9);
  });

  it('tells a very large audience in slices, nobody twice', () => {
    const { hub, write, wakes } = setup();
    const clients: ModelClient[] = [];
    for (let number = 0; number < 2 * TOLD_AT_ONCE_MAX; number++) {
      const client = new ModelClient();
      clients.push(client);
      hub.open(client).create(request({ key: 'a' }));
    }
    write(['a', '1']);
    const told = (): number => clients.filter((client) => client.told.length === 1).length;
    assert.equal(told(), TOLD_AT_ONCE_MAX);
    assert.equal(wakes(), 1);
    write(['a', '2']);
    assert.equal(hub.step(), true);
    settle(hub);
    for (const client of clients)
      assert.deepEqual(
        client.eventsOf(0).map((event) => event.revision),
        [2, 3],
      );
  });

  it('never splits a revision, however large it is', () => {
    const { hub, client, stream, write } = setup();
    const pairs: [string, string][] = [];
    for (let number = 0; number < 3000; number++) pairs.push([`k${number}`, 'v'.repeat(200)]);
    write(['a', 'x']);
    write(...pairs);
    write(['z', 'x']);
    stream.create(request({ key: '\0', rangeEnd: OPEN_END, startRevision: 1 }));
    settle(hub);
    assert.deepEqual(
      client.told.map((told) => told.events.length),
      [3001, 1],
    );
  });

  it('splits between events where the watcher asked for fragments', () => {
    // Limit 100, envelope 20: a frame below is 7 + 2 + 3 + 3 + 40 bytes and a bit, so one or two fit.
    const { hub, client, stream, write } = setup(150);
    stream.create(request({ key: 'a', rangeEnd: 'z', fragment: true }));
    const pairs = ['b', 'c', 'd', 'e', 'f'].map((key): [string, string] => [key, 'v'.repeat(40)]);
    write(...pairs);
    settle(hub);
    assert.deepEqual(
      client.told.map((told) => [told.events.map((event) => event.key).join(''), told.fragment]),
      [
        ['bc', true],
        ['de', true],
        ['f', false],
      ],
    );
    client.told.length = 0;
    write(['b', 'v'.repeat(1000)]);
    assert.deepEqual(
      client.told.map((told) => [told.events.length, told.fragment]),
      [[1, false]],
    );
  });

  it('bears a stream that closes while it is told something', () => {
    const { hub, write } = setup();
    const clients = [0, 1, 2, 3].map(() => new ModelClient());
    const streams = clients.map((client) => hub.open(client));
    for (const stream of streams) {
      stream.create(request({ key: 'a' }));
      stream.create(request({ key: 'a', rangeEnd: 'b' }));
    }
    (clients[2] as ModelClient).onEvents = () => {
      streams[2]?.close();
      streams[0]?.close();
    };
    write(['a', '1']);
    write(['a', '2']);
    assert.equal(clients[1]?.told.length, 4);
    assert.equal(clients[3]?.told.length, 4);
    assert.ok((clients[0]?.told.length ?? 0) <= 2);
    assert.equal(clients[2]?.told.length, 1);
    assert.equal(hub.watcherCount, 4);
  });

  it('looks up in history what a snapshot brought', () => {
    const { store, hub, client, stream, write } = setup();
    stream.create(request({ key: 'a' }));
    write(['a', '1']);
    store.write([['a', '2']]);
    store.write([['a', '3']]);
    hub.storeReplaced();
    settle(hub);
    write(['a', '4']);
    assert.deepEqual(
      client.eventsOf(0).map((event) => event.revision),
      [2, 3, 4, 5],
    );
  });
});
