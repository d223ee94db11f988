import type { Clock } from '../clock.ts';
import type { ClockFaults } from './faults.ts';
import type { Simulation } from './simulation.ts';

/** What the wall clocks show when a simulation begins: 2026-01-01T00:00:00Z. */
const WALL_START_MS = 1_767_225_600_000;

/**
 * The clock of a machine, through all its lives. It may run faster or slower than simulated time (drift), its wall clock
 * may be set (a jump), and it may stand still for a while, as that of a virtual machine that is not scheduled. The monotonic
 * clock never goes back.
 */
export class MachineClock implements ClockFaults {
  /** How far the wall clock is off, in milliseconds. */
  wallOffsetMs = 0;
  private readonly simulation: Simulation;
  private currentRate = 1;
  /** What the clock showed when it was touched last, and when that was. */
  private shownMs = 0;
  private touchedMs = 0;
  private standsUntilMs = 0;

  constructor(simulation: Simulation) {
    this.simulation = simulation;
  }

  /** When it goes on, or went on, after it stood still last, in simulated milliseconds. */
  get goesOnMs(): number {
    return this.standsUntilMs;
  }

  get rate(): number {
    return this.currentRate;
  }

  /** Drift, from now on. */
  set rate(rate: number) {
    this.touch();
    this.currentRate = rate;
  }

  /** The wall clock is set forwards or back. */
  jump(ms: number): void {
    this.wallOffsetMs += ms;
    this.simulation.counts.add('clock.jump');
  }

  /** Both clocks stand still for so long, and nothing that waits for a time happens; all else goes on. */
  standStill(ms: number): void {
    this.touch();
    this.standsUntilMs = Math.max(this.standsUntilMs, this.simulation.nowMs + ms);
    this.simulation.counts.add('clock.standstill');
  }

  /** What the monotonic clock shows. */
  get nowMs(): number {
    const from = Math.max(this.touchedMs, Math.min(this.standsUntilMs, this.simulation.nowMs));
    return this.shownMs + (this.simulation.nowMs - from) * this.currentRate;
  }

  /** Simulated milliseconds until the clock shows `shownMs`, if nobody touches it. */
  untilShows(shownMs: number): number {
    const stands = Math.max(0, this.standsUntilMs - this.simulation.nowMs);
    return stands + Math.max(0, shownMs - this.nowMs) / this.currentRate;
  }

  private touch(): void {
    this.shownMs = this.nowMs;
    this.touchedMs = this.simulation.nowMs;
  }
}

/** A machine's clock as its programs see it. */
export class SimClock implements Clock {
  private readonly clock: MachineClock;

  constructor(clock: MachineClock) {
    this.clock = clock;
  }

  nowMs(): number {
    return this.clock.nowMs;
  }

  wallMs(): number {
    return WALL_START_MS + this.clock.nowMs + this.clock.wallOffsetMs;
  }
}
