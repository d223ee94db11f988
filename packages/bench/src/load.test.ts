import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Event,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  PutRequest,
  RangeRequest,
  TxnRequest,
  WatchRequest,
  WatchResponse,
} from '@etsd/proto';
import type { CallReceiver, LoadCall, LoadChannel } from './channel.ts';
import { KeySpace } from './keys.ts';
import { DEFAULT_OPTIONS, type LoadOptions } from './options.ts';
import { runVerb } from './run.ts';

const NO_CALL: LoadCall = { send: () => {}, sendLast: () => {}, halfClose: () => {}, cancel: () => {} };

/** A server in this process: answers in the next turn, remembers what it got. */
class FakeServer implements LoadChannel {
  readonly requests: { path: string; message: Buffer }[] = [];
  readonly watchers: { receiver: CallReceiver; id: number }[] = [];
  mostUnderWay = 0;
  /** How many calls fail before the first that does not. */
  failures = 0;
  private underWay = 0;

  start(path: string, receiver: CallReceiver): LoadCall {
    if (path.endsWith('/Watch')) return this.startWatch(receiver);
    if (path.endsWith('KeepAlive')) return this.startKeepAlive(receiver);
    this.underWay++;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    return { ...NO_CALL, sendLast: (bytes) => setImmediate(() => this.answer(path, bytes, receiver)) };
  }

  private answer(path: string, message: Buffer, receiver: CallReceiver): void {
    this.underWay--;
    this.requests.push({ path, message });
    if (this.failures > 0) {
      this.failures--;
      receiver.closed(NO_CALL, 14, 'not now');
      return;
    }
    const answer = path.endsWith('LeaseGrant')
      ? LeaseGrantResponse.encode(LeaseGrantResponse.create({ ID: '00000000000000ff', TTL: 600 }))
      : Buffer.alloc(0);
    receiver.message(NO_CALL, answer, 0, answer.length);
    receiver.closed(NO_CALL, 0, '');
    if (path.endsWith('/Put')) this.publish(message);
  }

  private publish(put: Buffer): void {
    const { key } = PutRequest.decode(put);
    const events = [Event.create({ kv: KeyValue.create({ key }) })];
    for (const { receiver, id } of this.watchers) {
      const bytes = WatchResponse.encode(WatchResponse.create({ watchId: id, events }));
      receiver.message(NO_CALL, bytes, 0, bytes.length);
    }
  }

  private startWatch(receiver: CallReceiver): LoadCall {
    return {
      ...NO_CALL,
      send: (bytes) => {
        assert.notEqual(WatchRequest.decode(bytes).createRequest, null);
        const id = this.watchers.length;
        this.watchers.push({ receiver, id });
        const created = WatchResponse.encode(WatchResponse.create({ watchId: id, created: true }));
        setImmediate(() => receiver.message(NO_CALL, created, 0, created.length));
      },
      cancel: () => receiver.closed(NO_CALL, 1, 'cancelled'),
    };
  }

  private startKeepAlive(receiver: CallReceiver): LoadCall {
    const answer = LeaseKeepAliveResponse.encode(LeaseKeepAliveResponse.create({ TTL: 600 }));
    return {
      ...NO_CALL,
      send: () => setImmediate(() => receiver.message(NO_CALL, answer, 0, answer.length)),
      halfClose: () => setImmediate(() => receiver.closed(NO_CALL, 0, '')),
    };
  }

  close(): void {}
}

function options(partial: Partial<LoadOptions>): LoadOptions {
  return { ...DEFAULT_OPTIONS, ...partial };
}

test('goal: exactly the total is sent, never more at once than clients; method: a server in this process', async () => {
  const server = new FakeServer();
  const outcome = await runVerb('put', options({ total: 500, clients: 7, keySpaceSize: 10, valSize: 20 }), [server]);
  assert.equal(outcome.operations, 500);
  assert.equal(outcome.latency.count, 500);
  assert.equal(server.requests.length, 500);
  assert.equal(server.mostUnderWay, 7);
  const keys = new Set(server.requests.map((each) => PutRequest.decode(each.message).key.toString()));
  assert.equal(keys.size, 10);
  assert.equal(PutRequest.decode((server.requests[0] as { message: Buffer }).message).value.length, 20);
});

test('goal: time bounds the load where no total does', async () => {
  const outcome = await runVerb('range', options({ total: 0, seconds: 0.05 }), [new FakeServer()]);
  assert.ok(outcome.operations > 0);
  assert.ok(outcome.seconds >= 0.04 && outcome.seconds < 5);
});

test('goal: a rate is kept from below', async () => {
  const outcome = await runVerb('put', options({ total: 20, rate: 400, clients: 4 }), [new FakeServer()]);
  assert.equal(outcome.operations, 20);
  assert.ok(outcome.seconds >= 19 / 400, `${outcome.seconds}`);
});

test('goal: errors are counted and named, and a server that only fails ends the load', async () => {
  const some = new FakeServer();
  some.failures = 3;
  const outcome = await runVerb('put', options({ total: 10 }), [some]);
  assert.equal(outcome.errors, 3);
  assert.equal(outcome.operations, 7);
  assert.equal(outcome.firstError, 'not now (code 14)');
  const dead = new FakeServer();
  dead.failures = Number.POSITIVE_INFINITY;
  const hopeless = await runVerb('put', options({ total: 0, seconds: 3600 }), [dead]);
  assert.equal(hopeless.errors, 1000);
});

test('goal: ranges ask what the flags say', async () => {
  const server = new FakeServer();
  await runVerb('range', options({ total: 1, words: ['a', 'b'], consistency: 's', limit: 5 }), [server]);
  const request = RangeRequest.decode((server.requests[0] as { message: Buffer }).message);
  assert.equal(request.key.toString(), 'a');
  assert.equal(request.rangeEnd.toString(), 'b');
  assert.equal(request.serializable, true);
  assert.equal(request.limit, 5);
});

test('goal: transactions put different keys, and mixed ones keep the ratio of reads to writes', async () => {
  const server = new FakeServer();
  await runVerb('txn-put', options({ total: 20, txnOps: 3, keySpaceSize: 5 }), [server]);
  for (const { message } of server.requests) {
    const keys = TxnRequest.decode(message).success.map((each) => each.requestPut?.key.toString());
    assert.equal(new Set(keys).size, 3);
  }
  const mixed = await runVerb('txn-mixed', options({ total: 400, rwRatio: 3, keySpaceSize: 5 }), [server]);
  assert.equal(mixed.parts[0]?.latency.count, 100);
  assert.equal(mixed.parts[1]?.latency.count, 300);
  await assert.rejects(runVerb('txn-put', options({ txnOps: 9, keySpaceSize: 5 }), [server]), /key-space-size/);
});

test('goal: every event at every watcher is counted', async () => {
  const outcome = await runVerb('watch', options({ streams: 3, watchPerStream: 4, putTotal: 10 }), [new FakeServer()]);
  assert.equal(outcome.operations, 120);
  assert.equal(outcome.errors, 0);
  const paced = await runVerb('watch-latency', options({ streams: 1, watchPerStream: 2, putTotal: 5, putRate: 500 }), [
    new FakeServer(),
  ]);
  assert.equal(paced.operations, 10);
});

test('goal: keep-alives go on until the total and every stream is closed', async () => {
  const outcome = await runVerb('lease', options({ clients: 3, total: 50 }), [new FakeServer()]);
  assert.equal(outcome.operations, 50);
  assert.equal(outcome.errors, 0);
});

test('goal: keys of one length, all different, in order if wished', () => {
  const keys = new KeySpace(5000, 4, true);
  const seen = new Set<string>();
  for (let index = 0; index < 5000; index++) seen.add(keys.key(keys.next()).toString());
  assert.equal(seen.size, 5000);
  assert.equal(keys.next(), 0);
  for (const key of seen) assert.equal(key.length, 4);
});
