import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { U64_ZERO } from '@etsd/base';
import {
  ErrPermissionDenied,
  HeaderTemplate,
  KeyValue,
  WatchCancelRequest,
  WatchCreateRequest,
  WatchProgressRequest,
  WatchRequest,
  WatchResponse,
} from '@etsd/proto';
import { LeaderGuard } from './leader-guard.ts';
import { FakeCall, FakeReplication, FakeServer, FakeWorld } from './surroundings.fixture.ts';
import { registerWatch, type WatchParts } from './watch.ts';

/** Keys and their history, as much as watching needs. */
class Source {
  revision = 1;
  compactRevision = -1;
  readonly records: Buffer[] = [];

  put(key: string, value: string | Buffer): { count: number; keys: string[]; records: Buffer[]; deleted: boolean[] } {
    this.revision++;
    const kv = KeyValue.create({ key: Buffer.from(key), value: Buffer.from(value), modRevision: this.revision });
    const record = KeyValue.encode(kv);
    this.records.push(record);
    return { count: 1, keys: [key], records: [record], deleted: [false] };
  }

  recordBefore(): Buffer | null {
    return null;
  }

  history(
    from: number,
    to: number,
    visit: (main: number, sub: number, isTombstone: boolean, record: Buffer) => boolean,
  ): void {
    for (let revision = Math.max(from, 2); revision <= to; revision++) {
      if (!visit(revision, 0, false, this.records[revision - 2] as Buffer)) return;
    }
  }
}

function setup(changes: Partial<WatchParts> = {}) {
  const world = new FakeWorld();
  const rpc = new FakeServer();
  const replication = new FakeReplication();
  const store = new Source();
  const guard = new LeaderGuard({ world, replication, electionMs: 1000 });
  const service = registerWatch({
    world,
    rpc,
    replication,
    store,
    guard,
    header: new HeaderTemplate('00000000000000c1', '00000000000000aa'),
    maxRequestBytes: 1_572_864,
    refusal: () => null,
    progressIntervalMs: 10_000,
    access: null,
    ...changes,
  });
  const open = (headers: Record<string, string> = {}): FakeCall =>
    new FakeCall(rpc.handler('/etcdserverpb.Watch/Watch'), headers);
  const put = (key: string, value: string | Buffer): void => {
    const changes = store.put(key, value);
    service.hub.changed(store.revision, changes);
  };
  return { world, replication, store, service, open, put };
}

function create(call: FakeCall, request: Partial<WatchCreateRequest> & { text?: string; end?: string }): void {
  const { text, end, ...rest } = request;
  const key = Buffer.from(text ?? 'a');
  const createRequest = WatchCreateRequest.create({ key, rangeEnd: Buffer.from(end ?? ''), ...rest });
  call.receive(WatchRequest.encode(WatchRequest.create({ createRequest })));
}

function cancel(call: FakeCall, watchId: number): void {
  const cancelRequest = WatchCancelRequest.create({ watchId });
  call.receive(WatchRequest.encode(WatchRequest.create({ cancelRequest })));
}

function askProgress(call: FakeCall): void {
  const progressRequest = WatchProgressRequest.create({});
  call.receive(WatchRequest.encode(WatchRequest.create({ progressRequest })));
}

/** Each response in a line: what is zero or absent is left out. */
function read(call: FakeCall): string[] {
  return call.take().map((bytes) => {
    const response = WatchResponse.decode(bytes);
    assert.equal(response.header?.clusterId, '00000000000000c1');
    assert.equal(response.header?.memberId, '00000000000000aa');
    assert.equal(response.header?.raftTerm, 2);
    const parts = [`rev ${response.header?.revision}`, `id ${response.watchId}`];
    if (response.created) parts.push('created');
    if (response.canceled) parts.push('canceled');
    if (response.fragment) parts.push('fragment');
    if (response.compactRevision !== 0) parts.push(`compact ${response.compactRevision}`);
    if (response.cancelReason !== '') parts.push(response.cancelReason);
    for (const event of response.events) parts.push(`${event.kv?.key.toString()}@${event.kv?.modRevision}`);
    return parts.join(', ');
  });
}

describe('Watch service', () => {
  it('answers creations, cancellations and progress requests as etcd does', () => {
    // The lines are what etcd 3.5.30 answers to the same requests.
    const { open, put } = setup();
    const call = open();
    askProgress(call);
    create(call, {});
    askProgress(call);
    create(call, { watchId: 5 });
    create(call, { watchId: 5 });
    create(call, { watchId: -7 });
    create(call, { text: 'z', end: 'a' });
    create(call, { startRevision: -1 });
    create(call, { startRevision: 12 });
    askProgress(call);
    put('a', '1');
    cancel(call, 5);
    cancel(call, 5);
    assert.deepEqual(read(call), [
      'rev 1, id 0, created',
      'rev 1, id -1',
      'rev 1, id 5, created',
      'rev 1, id -1, created, canceled, mvcc: duplicate watch ID provided on the WatchStream',
      'rev 1, id -7, created',
      'rev 1, id -1, created, canceled, mvcc: watcher range is empty',
      'rev 1, id -1, created, canceled, etcdserver: mvcc: required revision has been compacted',
      'rev 1, id 1, created',
      'rev 2, id -7, a@2',
      'rev 2, id 5, a@2',
      'rev 2, id 0, a@2',
      'rev 2, id 5, canceled',
    ]);
  });

  it('takes an empty key for the smallest one', () => {
    const { open, put } = setup();
    const call = open();
    create(call, { text: '', end: '\0' });
    create(call, { text: '' });
    call.take();
    put('zz', '1');
    put('\0', '1');
    assert.deepEqual(read(call), ['rev 2, id 0, zz@2', 'rev 3, id 1, \0@3', 'rev 3, id 0, \0@3']);
  });

  it('tells of a compaction without a revision in the header', () => {
    const { store, world, open, put } = setup();
    for (let count = 0; count < 5; count++) put('a', 'v');
    store.compactRevision = 4;
    const call = open();
    create(call, { startRevision: 2 });
    create(call, { startRevision: 5 });
    world.endTurns();
    assert.deepEqual(read(call), [
      'rev 6, id 0, created',
      'rev 6, id 1, created',
      'rev 0, id 0, canceled, compact 4',
      'rev 6, id 1, a@5, a@6',
    ]);
  });

  it('holds nothing for a client that does not read, and goes on where it was', () => {
    // Method: 40 values of 10 kB pass the bound of what a call may have queued; then the client reads in steps.
    const { service, world, open, put } = setup();
    const call = open();
    create(call, {});
    const value = Buffer.alloc(10_000, 'v');
    for (let count = 0; count < 40; count++) put('a', value);
    world.endTurns();
    assert.ok(call.queuedBytes < 160_000, `${call.queuedBytes} bytes queued`);
    assert.equal(service.hub.slowCount, 1);
    const told: number[] = [];
    for (let rounds = 0; rounds < 10; rounds++) {
      for (const bytes of call.take()) {
        for (const event of WatchResponse.decode(bytes).events) told.push(event.kv?.modRevision as number);
      }
      call.drain();
      world.endTurns();
      assert.ok(call.queuedBytes < 700_000, `${call.queuedBytes} bytes queued`);
    }
    assert.deepEqual(
      told,
      Array.from({ length: 40 }, (_, place) => place + 2),
    );
    assert.equal(service.hub.slowCount, 0);
  });

  it('ends a call whose client sends requests and reads no answers', () => {
    const { open } = setup();
    const call = open();
    for (let count = 0; call.isOpen && count < 200_000; count++) {
      create(call, { watchId: count + 1 });
      call.messages.length = 0;
    }
    assert.equal(call.status?.code, 8);
    assert.equal(call.status?.message, 'etcdserver: too many requests');
  });

  it('sends progress notices to a quiet watcher, with up to a tenth of jitter', () => {
    const { world, open, put } = setup();
    const call = open();
    create(call, { progressNotify: true });
    create(call, { text: 'b' });
    call.take();
    world.advance(10_499);
    assert.deepEqual(read(call), []);
    world.advance(1);
    assert.deepEqual(read(call), ['rev 1, id 0']);
    put('a', '1');
    assert.deepEqual(read(call), ['rev 2, id 0, a@2']);
    world.advance(10_500);
    assert.deepEqual(read(call), []);
    world.advance(10_500);
    assert.deepEqual(read(call), ['rev 2, id 0']);
    call.hangUp();
    assert.equal(world.timerCount, 0);
  });

  it('ends streams that require a leader once there has been none for three elections, and refuses new ones', () => {
    const { world, replication, open } = setup();
    const call = open({ hasleader: 'true' });
    const indifferent = open();
    world.advance(5000);
    replication.leader = U64_ZERO;
    world.advance(2000);
    assert.equal(call.isOpen, true);
    world.advance(1000);
    assert.deepEqual(call.status, { code: 14, message: 'etcdserver: no leader' });
    assert.equal(indifferent.isOpen, true);
    assert.deepEqual(open({ hasleader: 'true' }).status, { code: 14, message: 'etcdserver: no leader' });
    assert.equal(world.timerCount, 0);
  });

  it('gives a refusal by access control the text of the error', () => {
    const { open } = setup({ access: () => ErrPermissionDenied });
    const call = open();
    create(call, {});
    assert.deepEqual(read(call), [
      'rev 1, id -1, created, canceled, rpc error: code = PermissionDenied desc = etcdserver: permission denied',
    ]);
  });

  it('ends a call with a message that is none, and ignores an empty one', () => {
    const { open } = setup();
    const call = open();
    call.receive(Buffer.alloc(0));
    assert.equal(call.isOpen, true);
    call.receive(Buffer.from('0a5001', 'hex'));
    assert.equal(call.status?.code, 13);
    assert.match(call.status?.message ?? '', /^grpc: failed to unmarshal the received message: /);
  });

  it('keeps watching after the client closed its half', () => {
    const { open, put } = setup();
    const call = open();
    create(call, {});
    call.halfClose();
    call.take();
    put('a', '1');
    assert.deepEqual(read(call), ['rev 2, id 0, a@2']);
  });
});
