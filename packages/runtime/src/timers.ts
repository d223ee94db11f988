/** Something that was asked to happen later. */
export interface Timer {
  /** It will not happen (again). May be called any number of times, also from inside the callback. */
  cancel(): void;
}

export interface TimerOptions {
  /** Whether this timer alone keeps the process alive; true unless said otherwise. */
  readonly ref?: boolean;
}

/**
 * Work put off. All four orders hold in the real world and in the simulated one: `soon` before `endOfTurn` before timers
 * of a later turn; among equals first come, first served. An error thrown by a callback is not caught here: it ends the
 * process, or the simulation.
 */
export interface Timers {
  /** Once, not before `ms` milliseconds have passed. */
  after(ms: number, callback: () => void, options?: TimerOptions): Timer;
  /** Again and again, `ms` milliseconds apart. Periods that were missed are not made up for. */
  every(ms: number, callback: () => void, options?: TimerOptions): Timer;
  /**
   * Once, when all input of this turn of the event loop has been handled: the place to write out what the turn gathered.
   * Cheap, but not free: ask once a turn and remember that you asked.
   */
  endOfTurn(callback: () => void): void;
  /** Once, as soon as the running function and those it was called from have returned. */
  soon(callback: () => void): void;
}
