/**
 * The time that leases live by: the monotonic clock, except that a pause of this process does not count. While it stood
 * still the renewals of its clients waited unread; if the pause counted, it would revoke leases of clients which did
 * nothing wrong. A lease may live longer than promised, never shorter.
 */
export class LeaseClock {
  private readonly stepMaxMs: number;
  private lastMs: number;
  private passedMs = 0;

  /** `stepMaxMs`: what may lie between two looks at the clock; anything beyond is a pause. */
  constructor(nowMs: number, stepMaxMs: number) {
    this.lastMs = nowMs;
    this.stepMaxMs = stepMaxMs;
  }

  /** Milliseconds of lease time. To be asked at least every `stepMaxMs`. */
  at(nowMs: number): number {
    const elapsed = nowMs - this.lastMs;
    this.lastMs = nowMs;
    this.passedMs += Math.min(Math.max(elapsed, 0), this.stepMaxMs);
    return this.passedMs;
  }
}
