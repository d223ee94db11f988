/**
 * What stands before a put: nothing, the lanes, the audit log, what observes all requests, the same with one in a thousand
 * traced, and all of it. `node packages/server/src/guard/guards.bench.ts`
 */
import { silentLogger } from '@etsd/base';
import { PutRequest, RaftRequestField, writeRaftRequest } from '@etsd/proto';
import { LogTimes } from '@etsd/replication';
import { nodeWorld } from '@etsd/runtime/node';
import type { AuthStore } from '@etsd/state';
import { FakeWorld } from '../api/surroundings.fixture.ts';
import { AuditBuffer } from '../audit/audit-buffer.ts';
import { AuditLog } from '../audit/audit-log.ts';
import type { ApiCall, ApiHandler } from '../context.ts';
import { Observer } from '../observe/observer.ts';
import { RequestTrace } from '../observe/request-trace.ts';
import { SlowLog } from '../observe/slow-log.ts';
import { SpanExporter } from '../tracing/span-exporter.ts';
import { Tracer } from '../tracing/tracer.ts';
import { UsageMeter } from '../usage/usage-meter.ts';
import { Abuse } from './abuse.ts';
import { Admission } from './admission.ts';

const PUT = '/etcdserverpb.KV/Put';
const ROUNDS = 300_000;

const world = new FakeWorld();
world.clock.nowMs = () => performance.now();
world.clock.wallMs = () => Date.now();
const turns: (() => void)[] = [];
world.timers.endOfTurn = (fn) => void turns.push(fn);

/** As the observer leaves it, which stands before all of them. */
const trace = new RequestTrace(world.clock);

let ofPeer: unknown = null;

/** A call with only what guards look at. */
class BenchCall {
  context: unknown = null;
  guard: unknown = null;
  guardBytes = 0;
  audit: unknown = null;
  notes: ApiCall['notes'] = trace;
  entry: Buffer | null = null;
  readonly receivedMs = -1;
  outcome = -1;
  readonly isOpen = true;
  readonly peerCommonName = '';
  readonly peer = '10.0.0.1:4711';

  /** All calls are of one connection. */
  get ofPeer(): unknown {
    return ofPeer;
  }

  set ofPeer(known: unknown) {
    ofPeer = known;
  }

  header(): undefined {
    return undefined;
  }
}

const bytes = PutRequest.encode(
  PutRequest.create({ key: Buffer.from('registry/pods/default/web-1'), value: Buffer.alloc(100) }),
);
const entry = writeRaftRequest(RaftRequestField.Put, bytes, 0, bytes.length, 1, 2, '', 0);
const handler: ApiHandler = {
  kind: 'unary',
  message(call) {
    call.entry = entry;
  },
  closed() {},
};

const buffer = new AuditBuffer(world, silentLogger, {
  write: (_bytes, _length, done) => done(null),
  close: async () => {},
});
const log = new AuditLog({
  world,
  access: { identify: () => ({ user: 'ann', by: 'token' }) },
  buffer,
  member: 'd61c7988bcbf46f9',
  level: 'write',
  keys: 'escaped',
  strict: false,
  revision: () => 12345,
});
const admission = new Admission({
  world,
  abuse: new Abuse(silentLogger, world.clock),
  pendingProposals: () => 0,
  inflightBytesMax: 1e9,
  lanes: true,
});

const access = { identify: () => ({ user: 'ann', by: 'token' }) as const, auth: { enabled: false } as AuthStore };
const times = new LogTimes();
times.applying = 1;
// Nobody takes the spans: they are dropped when too many wait, and made all the same.
const exporter = new SpanExporter({
  world: nodeWorld(),
  every: () => ({ cancel() {} }),
  logger: silentLogger,
  host: '127.0.0.1',
  port: 9,
  resource: {},
  version: '0',
});
const tracer = new Tracer({
  random: world.random,
  exporter,
  rate: 1000,
  memberId: 'd61c7988bcbf46f9',
  times,
  isLeader: () => true,
});

function observer(traced: Tracer | null): Observer {
  const usage = new UsageMeter(world, access);
  const slow = new SlowLog(silentLogger);
  return new Observer({ world, usage, slow, slowMs: 100, tracer: traced, times, isLeader: () => true });
}

function measure(name: string, guarded: ApiHandler): void {
  let best = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 5; attempt++) {
    const started = process.cpuUsage().user;
    for (let round = 0; round < ROUNDS; round++) {
      const call = new BenchCall();
      guarded.message(call as unknown as ApiCall, bytes, 0, bytes.length);
      call.outcome = 0;
      guarded.closed?.(call as unknown as ApiCall);
      if (round % 50 === 0) for (const turn of turns.splice(0)) turn();
    }
    best = Math.min(best, process.cpuUsage().user - started);
  }
  console.log(`${name.padEnd(10)} ${((best / ROUNDS) * 1000).toFixed(0)} ns`);
}

measure('nothing', handler);
measure('lanes', admission.guard(PUT, handler));
measure('audit', log.guard(PUT, handler));
measure('observed', observer(null).guard(PUT, handler));
const tracing = observer(tracer);
measure('traced', tracing.guard(PUT, tracing.proposing.guard(PUT, handler)));
const all = [tracing.proposing, admission, log, tracing];
measure(
  'all',
  all.reduce((inner, guard) => guard.guard(PUT, inner), handler),
);
tracer.stop();
