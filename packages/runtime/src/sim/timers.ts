import type { Timer, Timers } from '../timers.ts';
import type { ClockFaults } from './faults.ts';
import type { Life, SimEvent, Simulation } from './simulation.ts';

// The real one, before any trip wire replaces it.
const realQueueMicrotask = queueMicrotask;

class Repeated implements Timer {
  private readonly timers: SimTimers;
  private readonly ms: number;
  private readonly callback: () => void;
  private event: SimEvent;

  constructor(timers: SimTimers, ms: number, callback: () => void) {
    this.timers = timers;
    this.ms = ms;
    this.callback = callback;
    this.event = timers.later(ms, this.fire);
  }

  private readonly fire = (): void => {
    this.event = this.timers.later(this.ms, this.fire);
    this.callback();
  };

  cancel(): void {
    this.event.cancel();
  }
}

export class SimTimers implements Timers {
  private readonly simulation: Simulation;
  private readonly life: Life;
  private readonly faults: ClockFaults;

  constructor(simulation: Simulation, life: Life, faults: ClockFaults) {
    this.simulation = simulation;
    this.life = life;
    this.faults = faults;
  }

  /** An event when `ms` have passed on this machine's clock. */
  later(ms: number, callback: () => void): SimEvent {
    return this.simulation.schedule(ms / this.faults.rate, this.life, callback);
  }

  after(ms: number, callback: () => void): Timer {
    return this.later(ms, callback);
  }

  every(ms: number, callback: () => void): Timer {
    return new Repeated(this, Math.max(ms, 0.001), callback);
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
