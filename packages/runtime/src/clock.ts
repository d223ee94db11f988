/** Time as a member sees it. Nothing outside `runtime/node` reads a clock in any other way. */
export interface Clock {
  /**
   * Milliseconds since an arbitrary start, with fractions. Never goes back and does not follow changes of the wall
   * clock: the one to measure durations and deadlines with.
   */
  nowMs(): number;
  /** Milliseconds since 1970 (UTC), as the machine believes. May jump either way; for showing and logging only. */
  wallMs(): number;
}
