import type { Prng } from '@etsd/base';
import type { Timers } from '@etsd/runtime';
import type { HistoryRecord } from '../checkers/history.ts';
import type { SimCluster } from '../cluster/cluster.ts';
import type { SimMember } from '../cluster/member.ts';
import type { Credentials } from './credentials.ts';

/** What all clients of a run share: its history, and numbers that nobody else uses. */
export class Shared {
  readonly cluster: SimCluster;
  readonly prng: Prng;
  readonly records: HistoryRecord[] = [];
  /** The newest revision anybody was told. */
  revision = 1;
  /** Up to here some watch has seen every change: nothing newer may be compacted, or nobody could say what happened. */
  recorded = 1;
  /** The newest revision that was compacted, 0 for none. */
  compacted = 0;
  /** Requests that came to an end, whatever it was: an answer, a lost connection, patience that ran out. */
  calls = 0;
  /** Those among them after which their client knew what had come of them. */
  answers = 0;
  /** Writes among them that were done. */
  writes = 0;
  /** Locks and elections that somebody was told are its own. */
  tenures = 0;
  /** Nobody begins anything any more. Set by `end`. */
  isOver = false;
  /** What ends the pauses that clients are in, and whether it is peace that ends them or only the end of the run. */
  private readonly pauses = new Map<() => void, boolean>();
  /** Who the clients say they are; null while nobody asks. */
  credentials: Credentials | null = null;
  /** Authentication is on, or is being turned on or off. */
  isAuthOn = false;
  /** The token that some client got last: watches show it too. */
  token = '';
  private counter = 0;

  constructor(cluster: SimCluster, prng: Prng) {
    this.cluster = cluster;
    this.prng = prng;
  }

  unique(): number {
    return ++this.counter;
  }

  /**
   * Waits for so long, but not beyond the end of the run: then there is nothing to pause for, and everybody would wait for
   * the longest pause. One that is `untilPeace` is no longer than the torment either.
   */
  pause(timers: Timers, ms: number, untilPeace: boolean): Promise<void> {
    if (this.isOver) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        this.pauses.delete(end);
        timer.cancel();
        resolve();
      };
      const timer = timers.after(ms, end);
      this.pauses.set(end, untilPeace);
    });
  }

  /** The torment is over. */
  calm(): void {
    for (const [end, untilPeace] of [...this.pauses]) if (untilPeace) end();
  }

  /** The run is over. */
  end(): void {
    this.isOver = true;
    for (const end of [...this.pauses.keys()]) end();
  }

  /** A member that can be asked something. */
  anyMember(prng: Prng): SimMember {
    return prng.pick(this.cluster.serving);
  }
}
