/**
 * Loaded into a member by `--import`: every SIGWINCH switches all that watches its requests off, or on again, so that one and
 * the same process can be measured with and without (`packages/bench/src/cost.ts --switch`): two equal processes differ
 * by more than all of it costs. Off means: no line in the audit log, no span, nothing counted of calls, of their times, of who
 * asks for what, of applied entries and of the syncs of the log. Which of the two is the case costs a look in both.
 *
 * With `ETSD_WATCHING_MS` it switches by itself, every so many milliseconds, and adds what it counted to the file
 * `ETSD_WATCHING_MOMENTS`: the load need not stop for that, so moments may be short, and what disturbs the machine meets both.
 */

import { appendFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { MethodFigures } from '../../packages/rpc/src/method-figures.ts';
import { MeasuredApplier } from '../../packages/server/src/apply-metrics.ts';
import { AuditLog } from '../../packages/server/src/audit/audit-log.ts';
import type { ApiCall, ApiHandler } from '../../packages/server/src/context.ts';
import { Histogram } from '../../packages/server/src/metrics.ts';
import { Observer } from '../../packages/server/src/observe/observer.ts';
import { Tracer } from '../../packages/server/src/tracing/tracer.ts';

/** One object, and one place that is read: what the compiler makes of it does not change with a turn. */
const state = { isOn: true };
const parts = new Set((process.env['ETSD_WATCHING'] ?? 'metrics,audit,tracing').split(','));

/** Leaves what stands before a handler out while nothing watches. Calls end the way they began. */
class Switched implements ApiHandler {
  readonly kind: 'unary' | 'stream';
  private readonly watching: ApiHandler;
  private readonly inner: ApiHandler;
  private readonly isWatched: (call: ApiCall) => boolean;

  constructor(watching: ApiHandler, inner: ApiHandler, isWatched: (call: ApiCall) => boolean) {
    this.kind = inner.kind;
    this.watching = watching;
    this.inner = inner;
    this.isWatched = isWatched;
  }

  opened(call: ApiCall): void {
    this.watching.opened?.(call);
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    (state.isOn ? this.watching : this.inner).message(call, bytes, start, end);
  }

  halfClosed(call: ApiCall): void {
    this.watching.halfClosed?.(call);
  }

  drained(call: ApiCall): void {
    this.watching.drained?.(call);
  }

  closed(call: ApiCall): void {
    (state.isOn || this.isWatched(call) ? this.watching : this.inner).closed?.(call);
  }
}

type Guarding = (path: string, handler: ApiHandler) => ApiHandler;

function switchGuard(prototype: { guard: Guarding }, isWatched: (call: ApiCall) => boolean): void {
  const guard = prototype.guard;
  prototype.guard = function (this: unknown, path, handler) {
    return new Switched(guard.call(this, path, handler), handler, isWatched);
  };
}

/**
 * Does nothing, and returns `off`, while nothing watches. Each is compiled from a text of its own: closures of one function
 * share what the compiler learns of their calls, and none of these would be inlined where in a member without switch it is.
 */
function switchMethod<Name extends string>(
  prototype: { [name in Name]: (...all: never[]) => unknown },
  name: Name,
  off?: unknown,
): void {
  const method = prototype[name];
  const parameters = ['a', 'b', 'c', 'd', 'e', 'f'].slice(0, method.length).join(', ');
  const isOff = off === undefined ? 'undefined' : JSON.stringify(off);
  const text = `return function switched_${++switches}(${parameters}) {
    return state.isOn ? method.call(this${method.length === 0 ? '' : ', '}${parameters}) : ${isOff};
  };`;
  Object.assign(prototype, { [name]: new Function('state', 'method', text)(state, method) });
}
let switches = 0;

if (parts.has('audit')) switchGuard(AuditLog.prototype, (call) => call.audit !== null);
if (parts.has('metrics') && parts.has('tracing')) switchGuard(Observer.prototype, (call) => call.notes !== null);
if (parts.has('tracing')) {
  switchMethod(Tracer.prototype, 'begin', null);
  switchMethod(Tracer.prototype, 'applied');
}
if (parts.has('metrics')) {
  switchMethod(MethodFigures.prototype, 'begin', false);
  switchMethod(MethodFigures.prototype, 'messageReceived');
  switchMethod(MethodFigures.prototype, 'messageSent');
  switchMethod(MethodFigures.prototype, 'end');
  switchMethod(Histogram.prototype, 'observe');
  switchMethod(MeasuredApplier.prototype, 'took');
  const apply = MeasuredApplier.prototype.apply;
  MeasuredApplier.prototype.apply = function (this: { inner: MeasuredApplier }, index, term, data, waiter) {
    if (state.isOn) apply.call(this as never, index, term, data, waiter);
    else this.inner.apply(index, term, data, waiter);
  } as typeof apply;
}

process.on('SIGWINCH', () => {
  state.isOn = !state.isOn;
});

// ── by itself ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Entries applied so far, watched or not. */
let applied = 0;

function countApplied(): void {
  const took = MeasuredApplier.prototype.took;
  MeasuredApplier.prototype.took = function (this: MeasuredApplier, ms) {
    applied++;
    took.call(this, ms);
  };
}

/** Of each moment its beginning is left out: what was asked before it, and caches. */
const SETTLING_SHARE = 0.2;

/** Switches every so often while the load goes on, and writes a line of JSON about each moment: twice two make a pair. */
class Turns {
  private readonly ms: number;
  private readonly path: string;
  private isSecond = false;
  private since = look();

  constructor(ms: number, path: string) {
    this.ms = ms;
    this.path = path;
    this.begin();
  }

  /** Of a pair each may be the first one: so nothing that comes by a clock of its own meets always the same. */
  private begin(): void {
    state.isOn = this.isSecond ? !state.isOn : Math.random() < 0.5;
    setTimeout(() => this.settled(), this.ms * SETTLING_SHARE);
  }

  private settled(): void {
    this.since = look();
    setTimeout(() => this.over(), this.ms * (1 - SETTLING_SHARE));
  }

  private over(): void {
    const { since, isSecond } = this;
    const now = look();
    const [requests, ms, cpuMicros] = [now.applied - since.applied, now.ms - since.ms, now.cpuMicros - since.cpuMicros];
    const line = { isOn: state.isOn, isSecond, requests, ms, cpuMicros, loopMicros: now.loopMicros - since.loopMicros };
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
    this.isSecond = !isSecond;
    this.begin();
  }
}

function look() {
  const [all, own] = [process.cpuUsage(), process.threadCpuUsage()];
  const [cpuMicros, loopMicros] = [all.user + all.system, own.user + own.system];
  return { applied, ms: performance.now(), cpuMicros, loopMicros };
}

const moments = process.env['ETSD_WATCHING_MOMENTS'];
if (moments !== undefined && isMainThread) {
  countApplied();
  new Turns(Number(process.env['ETSD_WATCHING_MS']), moments);
}
