import type { Prng } from '@etsd/base';
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
  isOver = false;
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

  /** A member that can be asked something. */
  anyMember(prng: Prng): SimMember {
    return prng.pick(this.cluster.serving);
  }
}
