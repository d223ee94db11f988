import type { Timer, Timers } from '../timers.ts';
import type { MachineClock } from './clock.ts';
import { type Life, SimEvent, type Simulation } from './simulation.ts';

// The real one, before any trip wire replaces it.
const realQueueMicrotask = queueMicrotask;

/** Clocks are floating-point numbers: so much earlier counts as on time. */
const EPSILON_MS = 1e-6;

/** Waits until the machine's clock shows a time, however it runs meanwhile. */
class ClockTimer extends SimEvent implements Timer {
  private readonly timers: SimTimers;
  /** 0: once. */
  private readonly periodMs: number;
  private dueMs: number;

  constructor(timers: SimTimers, ms: number, periodMs: number, callback: () => void) {
    super(timers.life, callback);
    this.timers = timers;
    this.periodMs = periodMs;
    this.dueMs = timers.clock.nowMs + Math.max(0, ms);
    timers.schedule(timers.clock.untilShows(this.dueMs), this);
  }

  override fire(): void {
    const { clock } = this.timers;
    if (clock.nowMs < this.dueMs - EPSILON_MS) {
      this.timers.schedule(clock.untilShows(this.dueMs), this);
      return;
    }
    if (this.periodMs > 0) {
      this.dueMs = clock.nowMs + this.periodMs;
      this.timers.schedule(clock.untilShows(this.dueMs), this);
    }
    this.callback();
  }
}

export class SimTimers implements Timers {
  readonly clock: MachineClock;
  private readonly simulation: Simulation;
  readonly life: Life;

  constructor(simulation: Simulation, life: Life, clock: MachineClock) {
    this.simulation = simulation;
    this.life = life;
    this.clock = clock;
  }

  /** The event happens in `ms` simulated milliseconds; it must not wait for its time already. */
  schedule(ms: number, event: SimEvent): void {
    this.simulation.add(ms, event);
  }

  after(ms: number, callback: () => void): Timer {
    return new ClockTimer(this, ms, 0, callback);
  }

  every(ms: number, callback: () => void): Timer {
    const periodMs = Math.max(ms, 0.001);
    return new ClockTimer(this, periodMs, periodMs, callback);
  }

  endOfTurn(callback: () => void): void {
    this.simulation.scheduleEndOfTurn(this.life, callback);
  }

  soon(callback: () => void): void {
    realQueueMicrotask(() => {
      if (this.life.isAlive) callback();
    });
  }
}
