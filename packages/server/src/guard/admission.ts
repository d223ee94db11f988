/**
 * Lets requests in by lanes (`method-lanes.ts`). While a turn of the event loop is short this costs a counter. In a turn
 * that has taken longer than a lane may see, requests of this lane wait for a later one, so that what members and leases
 * send gets its turn in between; each lane gets at least one of its requests per turn, so that none stands still. What
 * waits is bounded in number, bytes and time, and beyond the bounds the lowest lane is refused first.
 */
import { RingQueue } from '@etsd/base';
import { ErrRequestTooManyRequests, RangeRequestView } from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiWorld, TimerHandle } from '../context.ts';
import type { Abuse } from './abuse.ts';
import { type Lane, laneOf, RANGE_PATH } from './method-lanes.ts';

/** The lanes that wait, the one that is served first at the front. */
export const WAITING_LANES = ['admin', 'write', 'read', 'scan'] as const;
const WRITE = WAITING_LANES.indexOf('write');
const READ = WAITING_LANES.indexOf('read');
const SCAN = WAITING_LANES.indexOf('scan');
/** Time a turn may have taken for a request of the lane to be served in it, in milliseconds. */
const TURN_MS: readonly number[] = [40, 20, 10, 5];
/** Time of a turn that is spent on requests that have waited, in milliseconds. */
const CATCH_UP_MS = 10;
/** Requests of a turn between two looks at the clock. */
const LOOK_EVERY = 4;
/** Requests that may wait, over all lanes. */
const WAITING_MAX = 50_000;
/** Their bytes. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** Longest that one waits, in milliseconds. */
const WAIT_MS_MAX = 5000;
/** Proposals of this member without a result above which further writes wait: the log is behind. */
const PROPOSALS_MAX = 10_000;
/** While the log holds up the writes, it is looked at this often, in milliseconds. */
const LOOK_AT_LOG_MS = 20;
/** What a request takes besides its bytes, about. */
const REQUEST_BYTES = 1024;

export interface AdmissionParts {
  readonly world: ApiWorld;
  readonly abuse: Abuse;
  readonly pendingProposals: () => number;
  /** Whether requests wait at all; else only their bytes are bounded. */
  readonly lanes: boolean;
  /** Bytes of requests that are being served, at which further ones are refused; 0: no bound. */
  readonly inflightBytesMax: number;
}

/** A request that waits for a quieter turn. */
class Waiting {
  call: ApiCall | null;
  readonly handler: ApiHandler;
  readonly bytes: Buffer;
  readonly sinceMs: number;

  constructor(call: ApiCall, handler: ApiHandler, bytes: Buffer, sinceMs: number) {
    this.call = call;
    this.handler = handler;
    this.bytes = bytes;
    this.sinceMs = sinceMs;
  }
}

export class Admission {
  /** Requests that had to wait, and that were refused, by lane. */
  readonly deferred = [0, 0, 0, 0];
  readonly refused = [0, 0, 0, 0];
  /** Bytes of requests being served. */
  inflightBytes = 0;
  inflightRefused = 0;
  private readonly parts: AdmissionParts;
  private readonly world: ApiWorld;
  private readonly queues = WAITING_LANES.map(() => new RingQueue<Waiting>());
  private waiting = 0;
  private waitingBytes = 0;
  /** Requests seen in this turn; 0 where the turn has not been noticed yet. */
  private seen = 0;
  private turnSinceMs = 0;
  private elapsedMs = 0;
  private timer: TimerHandle | null = null;

  constructor(parts: AdmissionParts) {
    this.parts = parts;
    this.world = parts.world;
  }

  get waitingCount(): number {
    return this.waiting;
  }

  /** The handler behind the lane of its method. */
  guard(path: string, handler: ApiHandler): ApiHandler {
    const lane = laneOf(path);
    if (lane === 'first' || handler.kind === 'stream') return handler;
    return new AdmittedHandler(this, handler, this.parts.lanes ? laneNumber(lane) : -1, path === RANGE_PATH);
  }

  /** Whether a request of the lane has to wait. `lane` is a place in `WAITING_LANES`. */
  mustWait(lane: number): boolean {
    if (this.seen++ === 0) {
      this.turnSinceMs = this.world.clock.nowMs();
      this.elapsedMs = 0;
      this.world.timers.endOfTurn(this.turnEnds);
    } else if (this.seen % LOOK_EVERY === 0) this.elapsedMs = this.world.clock.nowMs() - this.turnSinceMs;
    if (this.elapsedMs > (TURN_MS[lane] as number)) return true;
    if (lane === WRITE && this.isLogBehind) return true;
    if (this.waiting === 0) return false;
    // Writes that the log holds up are no reason for others to wait.
    for (let above = 0; above <= lane; above++) {
      if ((this.queues[above] as RingQueue<Waiting>).length === 0) continue;
      if (above !== WRITE || !this.isLogBehind) return true;
    }
    return false;
  }

  private get isLogBehind(): boolean {
    return this.parts.pendingProposals() >= PROPOSALS_MAX;
  }

  /** Keeps a request for later, or refuses one: this, or one that stands below it. */
  defer(lane: number, call: ApiCall, handler: ApiHandler, bytes: Buffer, start: number, end: number): void {
    while (this.waiting >= WAITING_MAX || this.waitingBytes + end - start > WAITING_BYTES_MAX) {
      if (!this.refuseBelow(lane)) {
        this.refuse(lane, call);
        return;
      }
    }
    const kept = new Waiting(call, handler, Buffer.from(bytes.subarray(start, end)), this.world.clock.nowMs());
    call.guard = kept;
    (this.queues[lane] as RingQueue<Waiting>).push(kept);
    this.waiting++;
    this.waitingBytes += kept.bytes.length;
    this.deferred[lane] = (this.deferred[lane] as number) + 1;
    this.timer ??= this.world.timers.every(LOOK_AT_LOG_MS, this.serve);
  }

  /** Counts the bytes of a request in; false where there are too many already. */
  enter(call: ApiCall, bytes: number): boolean {
    const { inflightBytesMax } = this.parts;
    if (inflightBytesMax > 0 && this.inflightBytes + bytes + REQUEST_BYTES > inflightBytesMax) {
      this.inflightRefused++;
      this.parts.abuse.note('inflight_bytes', call.peer);
      call.fail(ErrRequestTooManyRequests.code, ErrRequestTooManyRequests.message);
      return false;
    }
    call.guardBytes = bytes + REQUEST_BYTES;
    this.inflightBytes += call.guardBytes;
    return true;
  }

  leave(call: ApiCall): void {
    this.inflightBytes -= call.guardBytes;
    call.guardBytes = 0;
    const kept = call.guard;
    // Said first: to ask of nothing whether it is an instance costs as much as all the rest.
    if (kept === null || !(kept instanceof Waiting)) return;
    // Stays in its queue, which has no other way out, but without what it held.
    kept.call = null;
    call.guard = null;
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private readonly turnEnds = (): void => {
    this.seen = 0;
    this.elapsedMs = 0;
    if (this.waiting > 0) this.serve();
  };

  /** Serves what has waited, lane by lane, for as long as a turn gives; one of each lane at least. */
  private readonly serve = (): void => {
    const startMs = this.world.clock.nowMs();
    for (let lane = 0; lane < this.queues.length; lane++) {
      const queue = this.queues[lane] as RingQueue<Waiting>;
      for (let served = 0; queue.length > 0; ) {
        if (lane === WRITE && this.isLogBehind) break;
        const nowMs = this.world.clock.nowMs();
        if (served > 0 && nowMs - startMs > CATCH_UP_MS) break;
        if (this.next(lane, nowMs)) served++;
      }
    }
    if (this.waiting > 0) {
      const writes = (this.queues[WRITE] as RingQueue<Waiting>).length;
      if (this.seen === 0 && (this.waiting > writes || !this.isLogBehind)) {
        // Another turn comes soon, whether or not anything else does. (For the log the timer looks.)
        this.seen = 1;
        this.turnSinceMs = this.world.clock.nowMs();
        this.world.timers.endOfTurn(this.turnEnds);
      }
      return;
    }
    this.timer?.cancel();
    this.timer = null;
  };

  /** Takes one request out of its queue; false where it did not cost anything. */
  private next(lane: number, nowMs: number): boolean {
    const { call, handler, bytes, sinceMs } = this.take(lane);
    if (call === null || !call.isOpen) return false;
    call.guard = null;
    if (nowMs - sinceMs > WAIT_MS_MAX) {
      this.refuse(lane, call);
      return false;
    }
    if (call.notes !== null) call.notes.waited(call, bytes.length);
    handler.message(call, bytes, 0, bytes.length);
    return true;
  }

  private take(lane: number): Waiting {
    const kept = (this.queues[lane] as RingQueue<Waiting>).take() as Waiting;
    this.waiting--;
    this.waitingBytes -= kept.bytes.length;
    return kept;
  }

  /** Refuses the oldest request of the lowest lane that is below this one. */
  private refuseBelow(lane: number): boolean {
    for (let below = this.queues.length - 1; below > lane; below--) {
      if ((this.queues[below] as RingQueue<Waiting>).length === 0) continue;
      const { call } = this.take(below);
      if (call !== null) this.refuse(below, call);
      return true;
    }
    return false;
  }

  private refuse(lane: number, call: ApiCall): void {
    call.guard = null;
    this.refused[lane] = (this.refused[lane] as number) + 1;
    this.parts.abuse.note(`overload_${WAITING_LANES[lane]}`, call.peer);
    if (call.isOpen) call.fail(ErrRequestTooManyRequests.code, ErrRequestTooManyRequests.message);
  }
}

/** The lane's place in `WAITING_LANES`; −1 for what never waits. */
function laneNumber(lane: Lane): number {
  return WAITING_LANES.indexOf(lane as (typeof WAITING_LANES)[number]);
}

class AdmittedHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly admission: Admission;
  private readonly inner: ApiHandler;
  private readonly lane: number;
  private readonly isRange: boolean;

  constructor(admission: Admission, inner: ApiHandler, lane: number, isRange: boolean) {
    this.admission = admission;
    this.inner = inner;
    this.lane = lane;
    this.isRange = isRange;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { admission, lane } = this;
    if (!admission.enter(call, end - start)) return;
    // Whether a range is a scan is of interest only where somebody has to wait.
    if (lane < 0 || !admission.mustWait(this.isRange ? SCAN : lane)) {
      this.inner.message(call, bytes, start, end);
      return;
    }
    const actual = this.isRange && isPoint(bytes, start, end) ? READ : this.isRange ? SCAN : lane;
    if (actual === READ && !admission.mustWait(READ)) this.inner.message(call, bytes, start, end);
    else admission.defer(actual, call, this.inner, bytes, start, end);
  }

  drained(call: ApiCall): void {
    this.inner.drained?.(call);
  }

  closed(call: ApiCall): void {
    this.admission.leave(call);
    this.inner.closed?.(call);
  }
}

const view = new RangeRequestView();

/** Whether the range names one key. What can not be read is refused at once by its handler: let it. */
function isPoint(bytes: Buffer, start: number, end: number): boolean {
  try {
    view.parse(bytes, start, end);
    return view.rangeEnd(bytes) === '';
  } catch {
    return true;
  }
}
