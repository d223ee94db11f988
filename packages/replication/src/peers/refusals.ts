/** Time after which the same refusal is said again. */
const SILENCE_MS = 60_000;
/** Refusals kept apart; whoever invents ever new ones is said less often, not more. */
const KINDS_MAX = 64;

/**
 * Which refusals are worth a line of the log: a member of another cluster comes again ten times a second, for as long as
 * nobody mends it, and one line a minute says it all.
 */
export class Refusals {
  /** When each was last said, the oldest first. */
  private readonly said = new Map<string, number>();

  isNews(kind: string, nowMs: number): boolean {
    const last = this.said.get(kind);
    if (last !== undefined && nowMs - last < SILENCE_MS) return false;
    if (last === undefined && this.said.size >= KINDS_MAX && !this.forgetOldest(nowMs)) return false;
    this.said.delete(kind);
    this.said.set(kind, nowMs);
    return true;
  }

  /** Makes room, unless all were said within the silence. */
  private forgetOldest(nowMs: number): boolean {
    for (const [kind, last] of this.said) {
      if (nowMs - last < SILENCE_MS) return false;
      this.said.delete(kind);
      return true;
    }
    return true;
  }
}
