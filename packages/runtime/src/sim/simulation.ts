/**
 * Simulated time. Everything that happens in a simulation is an event with a moment; the loop takes the earliest one,
 * sets the clock to it, runs it and lets all promises that became ready go on before it takes the next one. Ties are
 * taken in the order in which they were scheduled, so that one seed gives one history, to the byte.
 */
import { FAULT_POINTS, type FaultPoint, listenToFaultPoints, Prng, RingQueue } from '@etsd/base';
import { type Counter, FaultCounts } from './counts.ts';
import { Tripwires } from './tripwires.ts';

// The real ones, before any trip wire replaces them.
const realSetImmediate = setImmediate;

/**
 * Node's own way to run everything that ticks and promises have made ready, at once and from within a callback. It is not
 * documented, but it is what Node does after each callback; where it is missing, the real event loop is asked to come round
 * after every event, which gives the same history a hundred times slower.
 */
const drainMicrotasks = (process as unknown as { readonly _tickCallback?: () => void })._tickCallback;

/** Events between two turns of the real event loop, which timers of whoever runs the simulation may be waiting for. */
const BURST_EVENTS = drainMicrotasks === undefined ? 1 : 2000;

/** Whether whoever asked for an event is still there: a crash takes everything back that was asked for before it. */
export class Life {
  isAlive = true;
}

/** Behind all events of a moment that were not asked for at the end of a turn. */
const END_OF_TURN = 2 ** 50;

export class SimEvent {
  /** Changed only while the event is in no queue, as is `order`. */
  atMs = 0;
  /** Among events of one moment the smaller goes first. */
  order = 0;
  readonly life: Life;
  readonly callback: () => void;
  isCancelled = false;

  constructor(life: Life, callback: () => void) {
    this.life = life;
    this.callback = callback;
  }

  cancel(): void {
    this.isCancelled = true;
  }

  /** It is time. */
  fire(): void {
    this.callback();
  }
}

function isBefore(one: SimEvent, other: SimEvent): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

interface WatchedPoint {
  readonly point: FaultPoint;
  left: number;
  readonly reached: () => void;
}

export interface RunLimits {
  /** Events until the run counts as stuck. Default 1,000,000. */
  readonly eventsMax?: number;
  /** Simulated milliseconds from now. Default 3,600,000. */
  readonly durationMs?: number;
}

export class Simulation {
  readonly seed: number;
  /** All chance of the simulation comes from here. */
  readonly prng: Prng;
  /** Milliseconds since the simulation began. */
  nowMs = 0;
  /** Events run so far: crashes and faults can be pinned to one. */
  eventCount = 0;
  /** Faults that happened and places that were reached. */
  readonly counts = new FaultCounts();
  private readonly places: ReadonlyMap<FaultPoint, Counter> = new Map(
    FAULT_POINTS.map((point) => [point, this.counts.counter(`at ${point}`)]),
  );
  /** A heap; the next one first. */
  private readonly queue: SimEvent[] = [];
  /** What was asked for at the end of this turn, in that order: a third of all events, which need no heap. */
  private readonly turnEnds = new RingQueue<SimEvent>();
  private sequence = 0;
  /** Work in the real world that an event began and that must end before the next one. */
  private held: Promise<unknown>[] = [];
  private readonly paused: Map<Life, number> = new Map();
  /** Places at which a process is to be stopped. */
  private readonly watchedPoints: Map<Life, WatchedPoint> = new Map();
  /** Whose event is being run. */
  private current: Life | null = null;
  private readonly tripwires = new Tripwires();
  /** What a callback or a promise nobody waited for has thrown. */
  private failure: unknown = null;

  constructor(seed: number) {
    this.seed = seed;
    this.prng = new Prng(seed);
  }

  schedule(delayMs: number, life: Life, callback: () => void): SimEvent {
    const event = new SimEvent(life, callback);
    this.add(delayMs, event);
    return event;
  }

  /** The same with an event that is there already and in no queue. */
  add(delayMs: number, event: SimEvent): void {
    event.atMs = this.nowMs + Math.max(0, delayMs);
    event.order = this.sequence++;
    this.push(event);
  }

  /** At this moment, behind everything else that happens at it. */
  scheduleEndOfTurn(life: Life, callback: () => void): SimEvent {
    const event = new SimEvent(life, callback);
    event.atMs = this.nowMs;
    event.order = END_OF_TURN + this.sequence++;
    this.turnEnds.push(event);
    return event;
  }

  /**
   * Stops a process until then, or for as long as it is stopped already: what is due for it happens when it goes on, in the
   * order in which it was due.
   */
  pause(life: Life, untilMs: number): void {
    this.paused.set(life, Math.max(untilMs, this.pausedUntilMs(life)));
  }

  /** Until when the process is stopped; in the past if it is not. */
  pausedUntilMs(life: Life): number {
    return this.paused.size === 0 ? 0 : (this.paused.get(life) ?? 0);
  }

  /** Calls `reached` when the process has come to the place so many times more. One per process; null forgets it. */
  watchPoint(life: Life, point: FaultPoint | null, times: number, reached: () => void): void {
    if (point === null) this.watchedPoints.delete(life);
    else this.watchedPoints.set(life, { point, left: times, reached });
  }

  private readonly onPoint = (point: FaultPoint): void => {
    const life = this.current;
    if (life === null || !life.isAlive) return;
    (this.places.get(point) as Counter).times++;
    if (this.watchedPoints.size === 0) return;
    const watched = this.watchedPoints.get(life);
    if (watched === undefined || watched.point !== point || --watched.left > 0) return;
    this.watchedPoints.delete(life);
    watched.reached();
  };

  /** The next event waits for this, which goes on in the real world but must have a result that does not depend on it. */
  hold(work: Promise<unknown>): void {
    this.held.push(work.catch(() => {}));
  }

  /** Runs until `isDone`; fails if the limits are reached or nothing is left to happen before. */
  async runUntil(isDone: () => boolean, limits: RunLimits = {}): Promise<void> {
    const lastEvent = this.eventCount + (limits.eventsMax ?? 1_000_000);
    const lastMs = this.nowMs + (limits.durationMs ?? 3_600_000);
    const onRejection = (reason: unknown): void => {
      // What is left of a process that was stopped in the midst of a step fails as it likes.
      if (this.current === null || this.current.isAlive) this.failure ??= reason;
    };
    // A rejection nobody handles belongs to this run, not to whoever else listens (a test runner).
    const listeners = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', onRejection);
    this.tripwires.arm();
    const listener = listenToFaultPoints(this.onPoint);
    try {
      for (let isOver = false; !isOver; ) {
        await this.settle();
        isOver = await this.burst(isDone, lastEvent, lastMs);
      }
    } finally {
      this.current = null;
      this.tripwires.disarm();
      listenToFaultPoints(listener);
      process.off('unhandledRejection', onRejection);
      for (const listener of listeners) process.on('unhandledRejection', listener);
    }
  }

  private run(event: SimEvent): void {
    try {
      event.fire();
    } catch (error) {
      if (event.life.isAlive) throw error;
    }
  }

  /** Runs everything that happens within the next `durationMs`. */
  async runFor(durationMs: number): Promise<void> {
    let isOver = false;
    this.schedule(durationMs, new Life(), () => {
      isOver = true;
    });
    await this.runUntil(() => isOver, { durationMs: durationMs + 1 });
  }

  /** Runs until the promise has an outcome, and gives it. */
  async runToEnd<T>(work: Promise<T>, limits: RunLimits = {}): Promise<T> {
    let isOver = false;
    const ended = (): void => {
      isOver = true;
    };
    work.then(ended, ended);
    await this.runUntil(() => isOver, limits);
    return work;
  }

  /** Runs events until `isDone`, which it answers, or until the real event loop is due. */
  private burst(isDone: () => boolean, lastEvent: number, lastMs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      // Not from within a promise, where those that become ready could not be run.
      realSetImmediate(() => {
        try {
          resolve(this.runBurst(isDone, lastEvent, lastMs));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  private runBurst(isDone: () => boolean, lastEvent: number, lastMs: number): boolean {
    for (let left = BURST_EVENTS; left > 0; ) {
      if (isDone()) return true;
      const next = this.peek();
      if (next === undefined) throw this.stuck('nothing is left to happen');
      if (this.eventCount >= lastEvent) throw this.stuck('too many events');
      if (next.atMs > lastMs) throw this.stuck('too much simulated time');
      this.take(next);
      if (next.isCancelled || !next.life.isAlive) continue;
      const resumedMs = this.pausedUntilMs(next.life);
      if (resumedMs > next.atMs) {
        next.atMs = resumedMs;
        this.push(next);
        continue;
      }
      this.nowMs = next.atMs;
      this.eventCount++;
      left--;
      this.current = next.life;
      this.run(next);
      drainMicrotasks?.();
      this.throwFailure();
      if (this.held.length > 0) return false;
    }
    return false;
  }

  private throwFailure(): void {
    if (this.failure === null) return;
    const failure = this.failure;
    this.failure = null;
    throw failure;
  }

  /** Waits for work in the real world, and lets every promise that is ready go on. */
  private async settle(): Promise<void> {
    do {
      const held = this.held;
      this.held = [];
      if (held.length > 0) await Promise.all(held);
      await new Promise<void>((resolve) => realSetImmediate(resolve));
      this.throwFailure();
    } while (this.held.length > 0);
  }

  private stuck(what: string): Error {
    return new Error(`simulation with seed ${this.seed}: ${what} (event ${this.eventCount}, ${this.nowMs} ms)`);
  }

  private push(event: SimEvent): void {
    const queue = this.queue;
    let index = queue.length;
    queue.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, queue[parent] as SimEvent)) break;
      queue[index] = queue[parent] as SimEvent;
      index = parent;
    }
    queue[index] = event;
  }

  /** The turn ends when nothing else is left of this moment. */
  private peek(): SimEvent | undefined {
    const next = this.queue[0];
    const turnEnd = this.turnEnds.peek();
    return turnEnd === undefined || (next !== undefined && next.atMs <= turnEnd.atMs) ? next : turnEnd;
  }

  private take(next: SimEvent): void {
    if (this.queue[0] === next) this.pop();
    else this.turnEnds.take();
  }

  private pop(): void {
    const queue = this.queue;
    const last = queue.pop() as SimEvent;
    if (queue.length === 0) return;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= queue.length) break;
      const right = child + 1;
      if (right < queue.length && isBefore(queue[right] as SimEvent, queue[child] as SimEvent)) child = right;
      if (!isBefore(queue[child] as SimEvent, last)) break;
      queue[index] = queue[child] as SimEvent;
      index = child;
    }
    queue[index] = last;
  }
}
