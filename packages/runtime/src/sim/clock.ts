import type { Clock } from '../clock.ts';
import type { ClockFaults } from './faults.ts';
import type { Simulation } from './simulation.ts';

/** What the wall clocks show when a simulation begins: 2026-01-01T00:00:00Z. */
const WALL_START_MS = 1_767_225_600_000;

/** A machine's clock. It may run faster or slower than simulated time, and its wall clock may be off. */
export class SimClock implements Clock {
  private readonly simulation: Simulation;
  private readonly faults: ClockFaults;

  constructor(simulation: Simulation, faults: ClockFaults) {
    this.simulation = simulation;
    this.faults = faults;
  }

  nowMs(): number {
    return this.simulation.nowMs * this.faults.rate;
  }

  wallMs(): number {
    return WALL_START_MS + this.nowMs() + this.faults.wallOffsetMs;
  }
}
