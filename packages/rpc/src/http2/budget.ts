/** A token bucket: so many at once, so many a second in the long run. */
export class Budget {
  private left: number;
  private lastMs: number;
  private readonly burst: number;
  private readonly perSecond: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.burst = burst;
    this.perSecond = perSecond;
    this.left = burst;
    this.lastMs = nowMs;
  }

  /** Takes one; false where none is left. */
  spend(nowMs: number): boolean {
    if (this.left < 1) {
      this.left = Math.min(this.burst, this.left + ((nowMs - this.lastMs) * this.perSecond) / 1000);
      this.lastMs = nowMs;
      if (this.left < 1) return false;
    }
    this.left--;
    return true;
  }
}
