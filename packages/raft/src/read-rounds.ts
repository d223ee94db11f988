import type { U64 } from '@etsd/base';
import type { Message } from '@etsd/proto';

/** One read request that waits for a majority to confirm that its leader still leads. */
export class ReadRound {
  /** What identifies the read to who asked; unique per member and read, but it may be asked for again. */
  readonly context: Buffer;
  readonly key: string;
  /** What its heartbeats carry, and no others of this leader. */
  readonly heartbeat: Buffer;
  readonly heartbeatKey: string;
  /** The leader's commit index when the request came: what the reader must see. */
  readonly index: number;
  /** The request, null for the leader's own. */
  readonly request: Message | null;
  readonly confirmed: Map<U64, boolean> = new Map();

  constructor(context: Buffer, key: string, place: number, index: number, request: Message | null) {
    this.context = context;
    this.key = key;
    this.heartbeatKey = `${key}#${place}`;
    this.heartbeat = Buffer.from(this.heartbeatKey, 'latin1');
    this.index = index;
    this.request = request;
  }
}

/**
 * Rounds in the order in which they came. Whoever confirms a round confirms all before it: they were asked for earlier,
 * so the heartbeat that carried this one proves leadership for them as well (Raft thesis §6.4).
 *
 * A read may be asked for again when its round is over, and an answer to the first heartbeat may come late: had the second
 * round the same name, an old answer would confirm it, and every round before it, for a leader that has been replaced since
 * (etcd issue 20418). So every round has a number of its own.
 */
export class ReadRounds {
  private rounds: ReadRound[] = [];
  /** Rounds begun so far. */
  private begun = 0;

  get last(): ReadRound | null {
    return this.rounds[this.rounds.length - 1] ?? null;
  }

  /** Returns null where a round of that context is already waiting. */
  add(context: Buffer, index: number, request: Message | null): ReadRound | null {
    const key = context.toString('latin1');
    for (const round of this.rounds) if (round.key === key) return null;
    const round = new ReadRound(context, key, ++this.begun, index, request);
    this.rounds.push(round);
    return round;
  }

  /** Notes a confirmation; returns the round it is for, or null if it is over. */
  confirm(from: U64, heartbeat: Buffer): ReadRound | null {
    const key = heartbeat.toString('latin1');
    for (const round of this.rounds) {
      if (round.heartbeatKey !== key) continue;
      round.confirmed.set(from, true);
      return round;
    }
    return null;
  }

  /** Takes out all rounds up to and including `round`. */
  takeThrough(round: ReadRound): ReadRound[] {
    return this.rounds.splice(0, this.rounds.indexOf(round) + 1);
  }

  clear(): void {
    if (this.rounds.length > 0) this.rounds = [];
  }
}
