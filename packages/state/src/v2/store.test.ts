import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '@etsd/backend';
import { Prng } from '@etsd/base';
import { ChangeDigest } from '@etsd/mvcc';
import { V2Request } from '@etsd/proto';
import { eventJson, V2Event, V2Failure } from './event.ts';
import { HISTORY_EVENTS } from './history.ts';
import { keptKeys, putKeysFromSnapshot } from './snapshot-json.ts';
import { V2Store } from './store.ts';
import { momentOf, momentOfMs, momentText } from './time.ts';

const START_MS = Date.UTC(2026, 0, 1);

/** A tree with its backend, and short words for requests. */
class Bench {
  readonly backend = new MemoryBackend();
  readonly store = this.open();

  open(): V2Store {
    const store = new V2Store(this.backend, () => 0);
    store.nowMs = () => START_MS;
    return store;
  }

  run(method: string, path: string, fields: Partial<V2Request> = {}): string {
    const outcome = this.store.apply(V2Request.create({ method, ...fields }), path);
    if (outcome instanceof V2Event) return eventJson(outcome);
    assert.ok(outcome instanceof V2Failure);
    return `${outcome.code} ${outcome.cause} ${outcome.index}`;
  }

  put(path: string, val: string, fields: Partial<V2Request> = {}): string {
    return this.run('PUT', path, { val, ...fields });
  }

  /** Everything that is there. */
  static dump(store: V2Store): string[] {
    const root = store.get('/');
    assert.ok(!(root instanceof V2Failure));
    const lines: string[] = [String(store.index)];
    const open = [root];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      lines.push([node.path, node.value, node.created, node.modified, node.expires, node.isDir].join(' '));
      for (const child of node.children?.values() ?? []) open.push(child);
    }
    for (let at = store.history.first; at <= store.history.last; at++) {
      const event = store.history.at(at);
      if (event !== null) lines.push(eventJson(event));
    }
    return lines.sort();
  }
}

const inSeconds = (seconds: number): Partial<V2Request> => ({ expiration: momentOf(START_MS / 1000 + seconds, 0) });
const syncAt = (seconds: number): V2Request =>
  V2Request.create({ method: 'SYNC', time: momentOf(START_MS / 1000 + seconds, 0) });

// Goal: what has ended goes at the leader's word and not before, in the order of the ends, a directory with all in it.
test('times to live end in order', () => {
  const bench = new Bench();
  bench.put('/late', '1', inSeconds(20));
  bench.put('/dir', '', { dir: true, ...inSeconds(10) });
  bench.put('/dir/inside', '1', inSeconds(15));
  bench.put('/soon', '1', inSeconds(5));
  bench.put('/renewed', '1', inSeconds(5));
  bench.put('/renewed', '', { prevExist: true, refresh: true, ...inSeconds(50) });
  bench.put('/kept', '1', inSeconds(5));
  bench.put('/kept', '1');
  assert.equal(bench.store.expiringCount, 5);
  assert.equal(bench.store.hasEnded(START_MS + 4000), false);
  const told: string[] = [];
  bench.store.listener = {
    happened: (event, removed) => told.push(`${event.action} ${event.node.key}: ${removed.join(' ')}`),
    replaced: () => assert.fail('nothing is replaced'),
  };
  bench.store.sync(syncAt(4.9));
  assert.deepEqual(told, []);
  assert.equal(bench.store.hasEnded(START_MS + 5000), true);
  bench.store.sync(syncAt(20));
  assert.deepEqual(told, ['expire /soon: /soon', 'expire /dir: /dir/inside /dir', 'expire /late: /late']);
  assert.equal(bench.store.expiringCount, 1);
  assert.equal(bench.store.index, 11);
  const event = bench.store.history.find('/dir/inside', false, 9);
  assert.ok(event instanceof V2Event && event.action === 'expire');
});

// Goal: those who come late find the last thousand changes, and are told when what they ask for is forgotten.
test('the history has a thousand changes', () => {
  const bench = new Bench();
  bench.store.skip(3);
  assert.equal(bench.store.history.find('/a', false, 1), null, 'what no client sees is passed over');
  for (let i = 0; i < HISTORY_EVENTS + 10; i++) bench.put(`/a${i % 7}`, String(i));
  const { history } = bench.store;
  assert.equal(history.first, 14);
  const old = history.find('/a1', false, 13);
  assert.ok(old instanceof V2Failure && old.code === 401);
  assert.equal(old.cause, 'the requested history has been cleared [14/13]');
  const found = history.find('/', true, 14);
  assert.ok(found instanceof V2Event && found.index === 14);
  assert.equal(history.find('/a1', false, 5000), null);
  const hidden = bench.put('/x/_hidden/y', '1');
  assert.match(hidden, /"key":"\/x\/_hidden\/y"/);
  const refreshed = bench.put('/a1', '', { prevExist: true, refresh: true, ...inSeconds(5) });
  assert.match(refreshed, /"ttl":5/);
  assert.equal(history.find('/a1', false, bench.store.index), null, 'who watches is not told of a renewal');
});

/** Any request that a client may make. */
function anyRequest(random: Prng): [method: string, path: string, fields: Partial<V2Request>] {
  const name = (): string => `/${['a', 'b', '_c', 'd'][random.below(4)]}`;
  const path = Array.from({ length: random.below(4) }, name).join('');
  const fields: Partial<V2Request> = {};
  if (random.chance(0.2)) fields.dir = true;
  if (random.chance(0.2)) fields.prevExist = random.chance(0.5);
  if (random.chance(0.1)) fields.prevValue = String(random.below(3));
  if (random.chance(0.1)) fields.prevIndex = random.below(40);
  if (random.chance(0.3)) Object.assign(fields, inSeconds(random.below(60)));
  if (random.chance(0.1)) fields.refresh = true;
  if (random.chance(0.3)) fields.recursive = true;
  if (!random.chance(0.2)) fields.val = String(random.below(3));
  return [random.chance(0.6) ? 'PUT' : random.chance(0.4) ? 'POST' : 'DELETE', path, fields];
}

// Goal: what is kept is what is in memory, by a restart and by a snapshot, and both go on alike. Method: random requests;
// now and then everything is read again, and written into another member's backend as etcd's JSON.
test('a restart and a snapshot keep everything', () => {
  const seed = Number(process.env['ETSD_TEST_SEED'] ?? 7);
  console.log(`seed ${seed}`);
  const random = new Prng(seed);
  const bench = new Bench();
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 60; i++) {
      bench.run(...anyRequest(random));
      if (random.chance(0.05)) bench.store.sync(syncAt(random.below(60)));
      if (random.chance(0.02)) bench.store.skip(1 + random.below(2));
    }
    const before = Bench.dump(bench.store);
    assert.deepEqual(Bench.dump(bench.open()), before, 'after a restart');
    const { tree, history, index } = keptKeys(bench.backend, 0);
    const json = `{"Root":{"Path":"/","Children":{"1":${tree}}},"WatcherHub":{"EventHistory":${history}},"CurrentIndex":${index}}`;
    const other = new Bench();
    other.put('/stale', 'to be replaced');
    assert.equal(putKeysFromSnapshot(other.backend, Buffer.from(json)), true);
    other.store.reload(() => 0);
    assert.deepEqual(Bench.dump(other.store), before, 'after a snapshot');
    const next = anyRequest(random);
    assert.equal(other.run(...next), bench.run(...next));
    bench.store.sync(syncAt(30));
    other.store.sync(syncAt(30));
    assert.deepEqual(Bench.dump(other.store), Bench.dump(bench.store), 'and from then on');
  }
});

// Goal: data that is no v2 store leaves no keys, and no trace of those before.
test('a snapshot without keys', () => {
  for (const data of ['', 'no JSON', '[]', '{"Root":null,"CurrentIndex":"x"}']) {
    const bench = new Bench();
    bench.put('/a', '1');
    putKeysFromSnapshot(bench.backend, Buffer.from(data));
    bench.store.reload(() => 4);
    assert.ok(bench.store.get('/a') instanceof V2Failure);
  }
});

// Goal: a tree as deep as a log of etcd could make it is no trouble.
test('a deep tree', () => {
  const bench = new Bench();
  const path = '/d'.repeat(3000);
  bench.put(path, '1');
  const { tree } = keptKeys(bench.backend, 0);
  assert.ok(tree.includes('"Value":"1"'));
  assert.match(bench.run('DELETE', '/d', { recursive: true }), /^\{"action":"delete"/);
  let left = 0;
  bench.backend.scan('v2', Buffer.from('n'), Buffer.from('o'), () => {
    left++;
    return true;
  });
  assert.equal(left, 0);
});

// Goal: moments are as Go shows them, to the nanosecond.
test('moments', () => {
  assert.equal(momentText(momentOf(1_795_230_985, 132_725_332)), '2026-11-21T03:16:25.132725332Z');
  assert.equal(momentText(momentOf(1_795_230_985, 614_935_490)), '2026-11-21T03:16:25.61493549Z');
  assert.equal(momentText(momentOfMs(1_795_230_985_000)), '2026-11-21T03:16:25Z');
  assert.equal(momentOf(1_795_230_985, 132_725_332), BigInt('1795230985132725332').toString(16).padStart(16, '0'));
  assert.equal(momentOf(9_999_999_999, 0), '0000000000000000', 'later than the numbers go: never');
});

// Goal: a member that applied another change than the others is noticed, and one whose clock goes wrong is not. Method: the
// same requests applied to two trees with clocks an hour apart; then with one character of a value, and one outcome, changed.
test('what members compare follows from the changes alone', () => {
  const digestOf = (clockMs: number, value: string, isFirst: boolean): number => {
    const bench = new Bench();
    const digest = new ChangeDigest();
    bench.store.digest = digest;
    bench.store.nowMs = () => clockMs;
    bench.put('/a', value, { expiration: momentOfMs(START_MS + 5000) });
    if (isFirst) bench.put('/a', 'never', { prevExist: false });
    bench.put('/b/c', 'c'.repeat(1000));
    bench.store.sync(syncAt(10));
    bench.run('DELETE', '/b', { recursive: true });
    return digest.value;
  };
  const first = digestOf(START_MS, 'value', true);
  assert.equal(
    digestOf(START_MS + 3_600_000, 'value', false),
    first,
    'neither clocks nor requests that changed nothing',
  );
  assert.notEqual(digestOf(START_MS, 'valuf', true), first);
});
