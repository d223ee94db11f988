/** Time that stands still until a test moves it: leases, time-outs and intervals of hours pass at once and in order. */
import type { Clock } from '../clock.ts';
import type { Timer, Timers } from '../timers.ts';

// The real ones, also where a test runner has put its own in their place.
const realSetImmediate = setImmediate;
const realQueueMicrotask = queueMicrotask;

/** What the wall clock shows at the start unless told otherwise: 2026-01-01T00:00:00Z. */
const WALL_START_MS = 1_767_225_600_000;
/** Turns of the event loop without work after which nothing more is expected to happen by itself. */
const QUIET_TURNS = 2;
/** Turns after which `advance` goes on although there is still work: somebody keeps the event loop busy for good. */
const TURNS_MAX = 10_000;

class ManualTimer implements Timer {
  atMs: number;
  /** Among timers of one moment the one asked for first goes first. */
  order: number;
  /** 0 for once. */
  readonly everyMs: number;
  readonly callback: () => void;
  isCancelled = false;

  constructor(atMs: number, order: number, everyMs: number, callback: () => void) {
    this.atMs = atMs;
    this.order = order;
    this.everyMs = everyMs;
    this.callback = callback;
  }

  cancel(): void {
    this.isCancelled = true;
  }
}

export interface ManualClockOptions {
  /** What the wall clock shows at the start, in milliseconds since 1970. */
  readonly wallMs?: number;
}

/**
 * A clock and its timers. Whatever was given this clock sees time pass only inside of `advance`; requests need no time
 * and are answered while it stands.
 */
export class ManualClock implements Clock {
  readonly timers: Timers;
  private readonly wallStartMs: number;
  private timeMs = 0;
  private sequence = 0;
  private queue: ManualTimer[] = [];
  /** Callbacks asked for at the end of this turn or at once that have not run. */
  private pending = 0;
  private readonly busy = new Set<() => boolean>();
  private advancing: Promise<void> = Promise.resolve();

  constructor(options: ManualClockOptions = {}) {
    this.wallStartMs = options.wallMs ?? WALL_START_MS;
    this.timers = {
      after: (ms, callback) => this.add(ms, 0, callback),
      every: (ms, callback) => this.add(ms, Math.max(ms, 0.001), callback),
      endOfTurn: (callback) => {
        this.pending++;
        realSetImmediate(() => {
          this.pending--;
          callback();
        });
      },
      soon: (callback) => realQueueMicrotask(callback),
    };
  }

  nowMs(): number {
    return this.timeMs;
  }

  wallMs(): number {
    return this.wallStartMs + this.timeMs;
  }

  /**
   * Lets this much time pass: timers fire in the order in which they are due, each with all that follows from it before
   * the next. Resolves when nothing is left to happen without more time. Calls of it are served one after the other.
   */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`time only goes forward: ${ms} ms`);
    this.advancing = this.advancing.then(() => this.moveTo(this.timeMs + ms));
    return this.advancing;
  }

  /** Waits until nothing is left to happen without more time. */
  async settle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < QUIET_TURNS && turns < TURNS_MAX; turns++) {
      const before = this.sequence;
      await new Promise<void>((resolve) => realSetImmediate(resolve));
      const isQuiet = this.pending === 0 && before === this.sequence && !this.isBusy();
      quiet = isQuiet ? quiet + 1 : 0;
    }
  }

  /** From now on time stands while `isBusy` answers true. Returns how to take it back. */
  waitWhile(isBusy: () => boolean): () => void {
    this.busy.add(isBusy);
    return () => void this.busy.delete(isBusy);
  }

  private isBusy(): boolean {
    for (const isBusy of this.busy) if (isBusy()) return true;
    return false;
  }

  private async moveTo(targetMs: number): Promise<void> {
    await this.settle();
    for (let due = this.nextMs(); due <= targetMs; due = this.nextMs()) {
      this.timeMs = Math.max(this.timeMs, due);
      this.fire();
      await this.settle();
    }
    this.timeMs = targetMs;
  }

  private nextMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const timer of this.queue) if (!timer.isCancelled && timer.atMs < next) next = timer.atMs;
    return next;
  }

  /** Calls everything that is due at this moment. */
  private fire(): void {
    const due = this.queue.filter((timer) => timer.atMs <= this.timeMs);
    this.queue = this.queue.filter((timer) => timer.atMs > this.timeMs && !timer.isCancelled);
    due.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    for (const timer of due) {
      if (timer.isCancelled) continue;
      if (timer.everyMs > 0) {
        timer.atMs = this.timeMs + timer.everyMs;
        timer.order = this.sequence++;
        this.queue.push(timer);
      }
      timer.callback();
    }
  }

  private add(ms: number, everyMs: number, callback: () => void): Timer {
    const timer = new ManualTimer(this.timeMs + Math.max(0, ms), this.sequence++, everyMs, callback);
    this.queue.push(timer);
    return timer;
  }
}
