/**
 * What a put and a point read cost in api and state alone: transport, log and store are stand-ins that do nothing.
 * `node packages/server/src/api/kv.bench.ts`
 */
import { MemoryBackend } from '@etsd/backend';
import { type Key, silentLogger, type U64 } from '@etsd/base';
import { Store } from '@etsd/mvcc';
import { HeaderTemplate, PutRequest, RangeRequest } from '@etsd/proto';
import { Lessor, State } from '@etsd/state';
import type { ApiCall, ApiHandler, ApiWaiter, MemberContext } from '../context.ts';
import { makeLimits } from '../limits.ts';
import { Quota } from '../quota.ts';
import { openAccess } from './access.fixture.ts';
import { registerKv } from './kv.ts';
import { SliceRunner } from './slice-runner.ts';
import { FakeReplication, FakeServer, FakeWorld } from './surroundings.fixture.ts';

const ROUNDS = 500_000;

class NullStore extends Store {
  override begin(): void {}
  override put(_key: Key, _value: Buffer, _valueStart: number, _valueEnd: number, _lease: U64): void {}
  override end(): number {
    return ++this.revision;
  }
}

class NullCall implements ApiCall {
  context: unknown = null;
  readonly isOpen = true;
  readonly queuedBytes = 0;
  readonly isCopying = true;
  readonly isCongested = false;
  readonly isShut = false;
  readonly target = { buffer: Buffer.alloc(4096), offset: 0 };
  readonly peerCommonName = '';
  guard: unknown = null;
  guardBytes = 0;
  audit: unknown = null;
  ofPeer: unknown = null;
  notes: ApiCall['notes'] = null;
  entry: Buffer | null = null;
  readonly receivedMs = -1;
  readonly outcome = -1;
  readonly peer = '10.0.0.1:4711';
  answers = 0;
  header(): undefined {
    return undefined;
  }
  begin(): void {}
  commit(): void {
    this.answers++;
  }
  send(): void {}
  beginParts(): boolean {
    return true;
  }
  sendPart(): void {}
  sendChunks(): void {}
  awaitWindow(): void {}
  end(): void {}
  fail(code: number, message: string): void {
    throw new Error(`${code} ${message}`);
  }
}

class DirectLog extends FakeReplication {
  state: State | null = null;
  index = 0;
  override propose(data: Buffer, waiter: ApiWaiter): void {
    this.state?.apply(++this.index, 2, data, waiter);
  }
}

function setUp(): { put: ApiHandler; range: ApiHandler; store: Store } {
  const backend = new MemoryBackend();
  const store = new NullStore(backend);
  store.open();
  const lessor = new Lessor({ store, backend, ttlMinSeconds: 2 });
  const state = new State({ backend, store, lessor });
  const log = new DirectLog();
  log.state = state;
  const server = new FakeServer();
  const world = new FakeWorld();
  const context: MemberContext = {
    world,
    logger: silentLogger,
    config: {
      name: 'bench',
      electionTimeoutMs: 1000,
      heartbeatIntervalMs: 100,
      strictReconfigCheck: true,
      autoPromoteLearners: false,
    },
    limits: makeLimits(),
    clusterId: '00000000000000cc',
    memberId: log.memberId,
    header: new HeaderTemplate('70f9cf875eabdc0b', 'f7875276d5273a18'),
    replication: log,
    store,
    backend: {
      isOutOfSpace: false,
      pendingBytes: 0,
      sizeBytes: () => 1,
      inUseBytes: () => 1,
      defragment: () => Promise.resolve(),
    },
    state,
    rpc: server,
    access: openAccess(world),
    quarantine: { refusal: null, isAlarmed: false },
    tracer: null,
  };
  const runner = new SliceRunner(world, 5);
  registerKv({ context, quota: new Quota(context), compactions: { whenPurged: () => {} }, runner });
  return { put: server.handler('/etcdserverpb.KV/Put'), range: server.handler('/etcdserverpb.KV/Range'), store };
}

function measure(name: string, run: (round: number) => void): void {
  for (let round = 0; round < ROUNDS / 5; round++) run(round);
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) run(round);
  const micros = ((performance.now() - start) * 1000) / ROUNDS;
  console.log(`${name.padEnd(28)} ${micros.toFixed(2)} µs`);
}

const { put, range, store } = setUp();
const call = new NullCall();
const value = Buffer.alloc(256, 1);
const puts = Array.from({ length: 1000 }, (_, at) =>
  PutRequest.encode(PutRequest.create({ key: Buffer.from(`/registry/pods/default/pod-${at}`), value })),
);
measure('put, 256 bytes', (round) => {
  const request = puts[round % 1000] as Buffer;
  put.message(call, request, 0, request.length);
});
Store.prototype.begin.call(store);
for (let at = 0; at < 1000; at++) {
  Store.prototype.put.call(store, `/registry/pods/default/pod-${at}`, value, 0, 256, '0000000000000000');
}
Store.prototype.end.call(store);
const ranges = Array.from({ length: 1000 }, (_, at) =>
  RangeRequest.encode(RangeRequest.create({ key: Buffer.from(`/registry/pods/default/pod-${at}`) })),
);
measure('range of one key, with store', (round) => {
  const request = ranges[round % 1000] as Buffer;
  range.message(call, request, 0, request.length);
});
if (call.answers === 0) throw new Error('nothing was answered');
