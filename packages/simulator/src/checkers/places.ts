import type { KeyRecord } from './history.ts';
import type { RevisionLog } from './revision-log.ts';
import { nameOfPlace } from './tenure-records.ts';

/** A place in a queue, from the revision that made it to the one that took it away. */
export interface PlaceLife {
  readonly key: string;
  readonly name: string;
  /** The fencing token. */
  readonly created: number;
  readonly lease: string;
  /** The revision that deletes it; Infinity. */
  ends: number;
  /** From this revision on nobody stands before it; not before `ends` where its turn never came. */
  firstAt: number;
}

function isPlace(key: string): boolean {
  return key.startsWith('lock/') || key.startsWith('poll/');
}

/** All places that ever were, and whose turn it was when. */
export class Places {
  private readonly log: RevisionLog;
  /** By name, in the order in which they were made. */
  private readonly byName = new Map<string, PlaceLife[]>();
  private readonly byToken = new Map<string, PlaceLife>();

  constructor(log: RevisionLog) {
    this.log = log;
    const standing = new Map<string, PlaceLife>();
    for (let revision = 2; revision <= log.last; revision++) {
      for (const { key, kv } of log.changesAt(revision)) {
        if (!isPlace(key)) continue;
        if (kv === null) {
          const life = standing.get(key);
          if (life !== undefined) life.ends = revision;
          standing.delete(key);
        } else if (!standing.has(key)) standing.set(key, this.made(key, kv));
      }
    }
    for (const lives of this.byName.values()) {
      let turn = 0;
      for (const life of lives) {
        life.firstAt = Math.max(life.created, turn);
        turn = Math.max(turn, life.ends);
      }
    }
  }

  private made(key: string, { create, lease }: KeyRecord): PlaceLife {
    const never = Number.POSITIVE_INFINITY;
    const life = { key, name: nameOfPlace(key), created: create, lease, ends: never, firstAt: never };
    const others = this.byName.get(life.name);
    if (others === undefined) this.byName.set(life.name, [life]);
    else others.push(life);
    this.byToken.set(`${key}@${create}`, life);
    return life;
  }

  get(key: string, created: number): PlaceLife | null {
    return this.byToken.get(`${key}@${created}`) ?? null;
  }

  /** The place that stood there at a revision. */
  standingAt(key: string, revision: number): PlaceLife | null {
    const kv = this.log.at(key, revision);
    return kv === null ? null : this.get(key, kv.create);
  }

  /** Whose turn it is at a revision. */
  firstAt(name: string, revision: number): PlaceLife | null {
    return this.byName.get(name)?.find((life) => life.firstAt <= revision && revision < life.ends) ?? null;
  }

  /** From which revision on, and to which (not included), a record was what the one showed whose turn it was; null: never. */
  spanOf(kv: KeyRecord): readonly [from: number, to: number] | null {
    const life = this.get(kv.key, kv.create);
    if (life === null || this.log.at(kv.key, kv.mod)?.value !== kv.value) return null;
    const [next] = this.log.revisionsOf(kv.key, '', kv.mod, this.log.last);
    const from = Math.max(kv.mod, life.firstAt);
    const to = Math.min(next ?? life.ends, life.ends);
    return from < to ? [from, to] : null;
  }

  /** What a place showed after a revision, as long as it stood: the revisions of its proclamations. */
  proclaimedAfter({ key, ends }: PlaceLife, revision: number): number[] {
    const to = Math.min(ends - 1, this.log.last);
    return this.log.revisionsOf(key, '', revision, to);
  }
}
