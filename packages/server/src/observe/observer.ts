/**
 * Stands in front of all handlers and sees every request come and go: counts who asks for what, tells of those that took
 * too long where their time went, and makes spans of those that are traced.
 */
import { GrpcCode, RaftRequestField, RaftRequestView } from '@etsd/proto';
import type { LogTimes } from '@etsd/replication';
import { hostOf } from '@etsd/rpc';
import type { Guard } from '../access.ts';
import { levelOf } from '../audit/audit-log.ts';
import type { ApiCall, ApiHandler, ApiWorld } from '../context.ts';
import { PassingHandler } from '../passing-handler.ts';
import { prefixOf, shownPrefix } from '../space/largest-prefixes.ts';
import { SpanKind } from '../tracing/otlp.ts';
import type { SpanContext } from '../tracing/span-context.ts';
import type { Tracer } from '../tracing/tracer.ts';
import { type KeyFinder, keyFinder, rangeName } from '../usage/request-keys.ts';
import type { UsageMeter } from '../usage/usage-meter.ts';
import { ReadTimes, RequestTrace } from './request-trace.ts';
import type { SlowLog } from './slow-log.ts';

/** Traces kept for later requests. */
const FREE_MAX = 4096;
const PUT_PATH = '/etcdserverpb.KV/Put';
/** Methods whose time depends on nothing but the member. */
const TIMED = new Set([
  ...['/etcdserverpb.KV/Range', '/etcdserverpb.KV/Put', '/etcdserverpb.KV/DeleteRange', '/etcdserverpb.KV/Txn'],
  ...['/etcdserverpb.Lease/LeaseGrant', '/etcdserverpb.Lease/LeaseRevoke', '/etcdserverpb.Lease/LeaseTimeToLive'],
]);

export interface ObserverParts {
  readonly world: ApiWorld;
  readonly usage: UsageMeter;
  readonly slow: SlowLog;
  /** Flags `warning-apply-duration` and `warning-unary-request-duration`: the shorter one makes a request slow. */
  readonly slowMs: number;
  readonly tracer: Tracer | null;
  readonly times: LogTimes;
  readonly isLeader: () => boolean;
}

export class Observer implements Guard {
  readonly parts: ObserverParts;
  private readonly free: RequestTrace[] = [];
  private readonly view = new RaftRequestView();
  /** Of the puts that came last. */
  private read: ReadTimes;

  constructor(parts: ObserverParts) {
    this.parts = parts;
    this.read = new ReadTimes(parts.world.clock, Number.NaN);
  }

  guard(path: string, handler: ApiHandler): ApiHandler {
    return new ObservedHandler(this, path, handler);
  }

  /** For the place right before a handler: what it proposes belongs to the span of its request. */
  readonly proposing: Guard = {
    guard: (_path, handler) =>
      this.parts.tracer === null ? handler : new ProposingHandler(this.parts.tracer, handler),
  };

  begin({ isPut }: ObservedHandler, call: ApiCall, bytes: number): void {
    const { tracer, world } = this.parts;
    const span = tracer === null ? null : tracer.begin(call);
    if (isPut && span === null) {
      call.notes = this.readTimes(call.receivedMs);
      return;
    }
    const trace = this.free.pop() ?? new RequestTrace(world.clock);
    trace.begin(call.receivedMs, bytes, span);
    call.notes = trace;
  }

  /** Of the puts that came at this time. */
  private readTimes(receivedMs: number): ReadTimes {
    if (receivedMs >= 0 && receivedMs === this.read.receivedMs) return this.read;
    const { clock } = this.parts.world;
    this.read = new ReadTimes(clock, receivedMs < 0 ? clock.nowMs() : receivedMs);
    return this.read;
  }

  /**
   * When a put ends that ends now. It is applied within microseconds and after each entry somebody looks at the clock:
   * that is good enough where no span is made.
   */
  putEndMs(): number {
    const { times, world } = this.parts;
    return times.applying > 0 ? times.applyingSinceMs : world.clock.nowMs();
  }

  putFinished(handler: ObservedHandler, call: ApiCall, times: ReadTimes): void {
    const { finishedMs, receivedMs } = times;
    if (finishedMs - receivedMs <= this.parts.slowMs) return;
    this.tell(handler, call, times.traceOf(this.requestBytes(call)), finishedMs);
  }

  /** Of a put, by what became of it in the log; −1 where that is nothing. */
  private requestBytes({ entry }: ApiCall): number {
    const { view } = this;
    if (entry === null || !view.findBody(entry, RaftRequestField.Put)) return -1;
    return view.bodyEnd - view.bodyStart;
  }

  finished(handler: ObservedHandler, call: ApiCall, trace: RequestTrace): void {
    const { slowMs } = this.parts;
    const { finishedMs: nowMs } = trace;
    if (trace.span !== null) this.makeSpans(handler, call, trace, trace.span, nowMs);
    if (handler.isTimed && nowMs - trace.receivedMs > slowMs) this.tell(handler, call, trace, nowMs);
    if (this.free.length < FREE_MAX) this.free.push(trace);
  }

  // ── requests that took too long ───────────────────────────────────────────────────────────────────────────────────

  private tell(handler: ObservedHandler, call: ApiCall, trace: RequestTrace, nowMs: number): void {
    const { slow, slowMs, times } = this.parts;
    if (!slow.mayTell(nowMs)) return;
    const index = handler.isWrite ? times.applying : 0;
    const key = index > 0 ? this.keyApplied(handler) : rangeName(trace.key, trace.rangeEnd);
    const fields = {
      request: handler.name,
      ...(key === '' ? {} : { 'key-prefix': shortened(key) }),
      ...(trace.requestBytes < 0 ? {} : { 'request-bytes': trace.requestBytes }),
      remote: call.peer,
      code: call.outcome,
      ...(trace.span === null ? {} : { 'trace-id': trace.span.traceId.toString('hex') }),
    };
    const queued = { queued: trace.startedMs - trace.receivedMs };
    const stages = index > 0 ? this.writeStages(trace, index, nowMs) : readStages(trace, nowMs);
    slow.tell(nowMs - trace.receivedMs, slowMs, fields, { ...queued, ...stages });
  }

  /** The key that the entry being applied is about. */
  private keyApplied(handler: ObservedHandler): string {
    const { view } = this;
    const data = this.parts.times.applyingData;
    let key = '';
    view.parse(data);
    handler.find?.(data, view.bodyStart, view.bodyEnd, (name) => {
      if (key === '') key = name;
    });
    return key;
  }

  /** A follower's time before its own disk is that of the leader and of the way there. */
  private writeStages({ startedMs }: RequestTrace, index: number, nowMs: number): Record<string, number> {
    const { isLeader, times } = this.parts;
    const { givenMs, durableMs, committedMs } = times.of(index);
    const proposal = givenMs - startedMs;
    const agreed = Math.max(0, committedMs - durableMs);
    return {
      ...(isLeader() ? { batched: proposal, replication: agreed } : { replication: proposal + agreed }),
      fsync: durableMs - givenMs,
      apply: nowMs - Math.max(durableMs, committedMs),
    };
  }

  // ── spans ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private makeSpans(h: ObservedHandler, call: ApiCall, trace: RequestTrace, span: SpanContext, nowMs: number): void {
    const { times } = this.parts;
    const tracer = this.parts.tracer as Tracer;
    const { answeringMs, receivedMs, startedMs, readableMs } = trace;
    requestSpan(tracer, h, call, span, receivedMs, nowMs);
    if (startedMs > receivedMs) tracer.part(span, 'queue', receivedMs, startedMs, {});
    if (h.isWrite && times.applying > 0) {
      const { applying, applyingSinceMs } = times;
      tracer.logParts(span, applying, startedMs);
      const appliedMs = Number.isNaN(answeringMs) ? nowMs : answeringMs;
      tracer.part(span, 'apply', applyingSinceMs, appliedMs, { 'raft.index': applying });
      if (appliedMs < nowMs) tracer.part(span, 'answer', appliedMs, nowMs, {});
    } else if (!Number.isNaN(readableMs)) {
      tracer.part(span, 'read barrier', startedMs, readableMs, {});
      tracer.part(span, 'answer', readableMs, nowMs, {});
    }
  }

  /** What was asked on a stream, a watch for example: how long it took to be taken. */
  asked(handler: ObservedHandler, call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { tracer, world } = this.parts;
    const span = tracer === null ? null : tracer.begin(call);
    if (span === null) {
      handler.inner.message(call, bytes, start, end);
      return;
    }
    const sinceMs = world.clock.nowMs();
    handler.inner.message(call, bytes, start, end);
    requestSpan(tracer as Tracer, handler, call, span, sinceMs, world.clock.nowMs());
  }
}

/** Names by code, as OpenTelemetry's conventions write them: `OUT_OF_RANGE`. */
const CODE_NAMES: readonly string[] = Object.keys(GrpcCode).map((name) =>
  name === 'OK' ? name : name.replace(/(?!^)[A-Z]/g, '_$&').toUpperCase(),
);
/** Codes for which a server is to blame, by those conventions. */
const FAULTS: readonly number[] = [
  ...[GrpcCode.Unknown, GrpcCode.DeadlineExceeded, GrpcCode.Unimplemented, GrpcCode.Internal, GrpcCode.Unavailable],
  GrpcCode.DataLoss,
];

/** The request itself, as OpenTelemetry's conventions for RPC have it, and etcd. */
function requestSpan(
  { exporter }: Tracer,
  { service, method }: ObservedHandler,
  call: ApiCall,
  context: SpanContext,
  startMs: number,
  endMs: number,
): void {
  const code = Math.max(0, call.outcome);
  const name = `${service}/${method}`;
  const status = CODE_NAMES[code] ?? String(code);
  const attributes = {
    'rpc.system.name': 'grpc',
    'rpc.method': name,
    'rpc.response.status_code': status,
    'client.address': hostOf(call.peer),
  };
  const error = FAULTS.includes(code) ? status : '';
  exporter.add({ context, name, kind: SpanKind.SERVER, startMs, endMs, attributes, error });
}

function readStages({ startedMs, readableMs }: RequestTrace, nowMs: number): Record<string, number> {
  if (Number.isNaN(readableMs)) return { served: nowMs - startedMs };
  return { barrier: readableMs - startedMs, answer: nowMs - readableMs };
}

/** Enough of a key to know whose it is. */
function shortened(key: string): string {
  const prefix = prefixOf(key);
  return prefix === key ? shownPrefix(key) : `${shownPrefix(prefix)}...`;
}

export class ObservedHandler extends PassingHandler {
  readonly service: string;
  readonly method: string;
  /** Without package: `KV/Put`. */
  readonly name: string;
  readonly isTimed: boolean;
  readonly isWrite: boolean;
  readonly isPut: boolean;
  readonly find: KeyFinder | null;
  private readonly observer: Observer;
  private readonly usage: UsageMeter;

  constructor(observer: Observer, path: string, inner: ApiHandler) {
    super(inner);
    const slash = path.lastIndexOf('/');
    this.service = path.slice(1, slash);
    this.method = path.slice(slash + 1);
    this.name = path.slice(path.lastIndexOf('.', slash) + 1);
    this.isTimed = TIMED.has(path);
    const level = levelOf(path);
    this.isWrite = level !== 'read' && level !== 'all';
    this.isPut = path === PUT_PATH;
    this.find = keyFinder(path);
    this.observer = observer;
    this.usage = observer.parts.usage;
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    this.usage.count(call, this.find, this.isWrite, bytes, start, end);
    if (this.kind === 'stream') {
      this.observer.asked(this, call, bytes, start, end);
      return;
    }
    this.observer.begin(this, call, end - start);
    this.inner.message(call, bytes, start, end);
  }

  override closed(call: ApiCall): void {
    const { observer } = this;
    const { notes } = call;
    if (notes instanceof ReadTimes) {
      notes.finishedMs = observer.putEndMs();
      this.inner.closed?.(call);
      call.notes = null;
      observer.putFinished(this, call, notes);
    } else if (notes instanceof RequestTrace) {
      notes.finishedMs = observer.parts.world.clock.nowMs();
      this.inner.closed?.(call);
      call.notes = null;
      observer.finished(this, call, notes);
    } else this.inner.closed?.(call);
  }
}

class ProposingHandler extends PassingHandler {
  private readonly tracer: Tracer;

  constructor(tracer: Tracer, inner: ApiHandler) {
    super(inner);
    this.tracer = tracer;
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { notes } = call;
    const span = notes instanceof RequestTrace ? notes.span : null;
    if (span === null) {
      this.inner.message(call, bytes, start, end);
      return;
    }
    this.tracer.current = span;
    try {
      this.inner.message(call, bytes, start, end);
    } finally {
      this.tracer.current = null;
    }
  }
}
