/**
 * Spreads expiries: a new leader extends all leases from the same moment, so many would expire at once and the revokes
 * of those few seconds would crowd out everything else. Each second takes so many, what is over goes to the next second
 * with room. Any order of calls, a few steps each.
 */
export class Spread {
  private readonly perSecond: number;
  private readonly taken = new Map<number, number>();
  /** From a full second to a later one that may have room. */
  private readonly next = new Map<number, number>();

  constructor(perSecond: number) {
    this.perSecond = perSecond;
  }

  /** By how many seconds an expiry in this second has to be put off. */
  delay(second: number): number {
    const free = this.firstFree(second);
    const count = (this.taken.get(free) ?? 0) + 1;
    this.taken.set(free, count);
    if (count >= this.perSecond) this.next.set(free, free + 1);
    return free - second;
  }

  private firstFree(second: number): number {
    let free = second;
    for (let to = this.next.get(free); to !== undefined; to = this.next.get(free)) free = to;
    // Everybody on the way points to the end of it from now on.
    let at = second;
    while (at !== free) {
      const to = this.next.get(at) as number;
      this.next.set(at, free);
      at = to;
    }
    return free;
  }
}
