import type { Timer, Timers } from '../timers.ts';
import type { MachineClock } from './clock.ts';
import type { Life, SimEvent, Simulation } from './simulation.ts';

// The real one, before any trip wire replaces it.
const realQueueMicrotask = queueMicrotask;

/** Clocks are floating-point numbers: so much earlier counts as on time. */
const EPSILON_MS = 1e-6;

/** Waits until the machine's clock shows a time, however it runs meanwhile. */
class ClockTimer implements Timer {
  private readonly timers: SimTimers;
  private readonly callback: () => void;
  /** 0: once. */
  private readonly periodMs: number;
  private dueMs: number;
  private event: SimEvent;

  constructor(timers: SimTimers, ms: number, periodMs: number, callback: () => void) {
    this.timers = timers;
    this.callback = callback;
    this.periodMs = periodMs;
    this.dueMs = timers.clock.nowMs + Math.max(0, ms);
    this.event = timers.schedule(timers.clock.untilShows(this.dueMs), this.fire);
  }

  private readonly fire = (): void => {
    const { clock } = this.timers;
    if (clock.nowMs < this.dueMs - EPSILON_MS) {
      this.event = this.timers.schedule(clock.untilShows(this.dueMs), this.fire);
      return;
    }
    if (this.periodMs > 0) {
      this.dueMs = clock.nowMs + this.periodMs;
      this.event = this.timers.schedule(clock.untilShows(this.dueMs), this.fire);
    }
    this.callback();
  };

  cancel(): void {
    this.event.cancel();
  }
}

export class SimTimers implements Timers {
  readonly clock: MachineClock;
  private readonly simulation: Simulation;
  private readonly life: Life;

  constructor(simulation: Simulation, life: Life, clock: MachineClock) {
    this.simulation = simulation;
    this.life = life;
    this.clock = clock;
  }

  /** An event in `ms` simulated milliseconds. */
  schedule(ms: number, callback: () => void): SimEvent {
    return this.simulation.schedule(ms, this.life, callback);
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
