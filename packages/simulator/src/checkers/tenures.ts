import type { CompactOperation, HistoryRecord, KvOperation, Violation } from './history.ts';
import { type PlaceLife, Places } from './places.ts';
import type { RevisionLog } from './revision-log.ts';
import type { LeaseEnd, StoreOrder } from './store-order.ts';
import {
  type FencedRecord,
  fenceOf,
  type HeldRecord,
  isTended,
  type LeaderRecord,
  readFence,
  type TenureRecord,
} from './tenure-records.ts';

export interface TenureVerdict {
  readonly violations: Violation[];
  /** Places that went away without anybody having given them up: so their lease has ended. */
  readonly leaseEnds: LeaseEnd[];
  readonly counts: Readonly<Record<string, number>>;
}

/** What was seen of locks and elections, by what it is about. */
class Seen {
  readonly tenures: TenureRecord[] = [];
  readonly fenced: FencedRecord[] = [];
  readonly leaders: LeaderRecord[] = [];
  readonly held = new Map<string, HeldRecord>();
  /** Key and value of all that anybody wanted to put, with when it was asked for first. */
  readonly wanted = new Map<string, number>();
  /** When a place was first given up, by its key. */
  readonly givenUp = new Map<string, number>();
  isEmpty = true;

  constructor(records: readonly HistoryRecord[]) {
    for (const record of records) this.add(record);
  }

  private add(record: HistoryRecord): void {
    switch (record.type) {
      case 'stand':
        this.want(record.key, record.value, record.start);
        break;
      case 'tenure':
        this.tenures.push(record);
        break;
      case 'fenced':
        this.fenced.push(record);
        if (record.outcome !== 'failed') this.want(record.key, record.value, record.start);
        break;
      case 'given up':
        this.givenUp.set(record.key, Math.min(record.start, this.givenUp.get(record.key) ?? record.start));
        break;
      case 'leader':
        this.leaders.push(record);
        break;
      case 'held':
        this.held.set(record.lease, record);
        break;
      default:
        return;
    }
    this.isEmpty = false;
  }

  private want(key: string, value: string, start: number): void {
    const wish = `${key}=${value}`;
    this.wanted.set(wish, Math.min(start, this.wanted.get(wish) ?? start));
  }
}

/** Knows, for any moment, a revision that the store had certainly not passed: that of an answer asked for later. */
class Ceiling {
  private readonly starts: number[] = [];
  private readonly revisions: number[] = [];

  constructor(operations: readonly KvOperation[]) {
    const answered = operations.filter(({ outcome, serializable }) => outcome === 'ok' && !serializable);
    answered.sort((a, b) => b.start - a.start);
    let lowest = Number.POSITIVE_INFINITY;
    for (const { start, revision } of answered) {
      lowest = Math.min(lowest, revision);
      this.starts.push(start);
      this.revisions.push(lowest);
    }
  }

  at(moment: number): number {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.starts[middle] as number) >= moment) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? Number.POSITIVE_INFINITY : (this.revisions[low - 1] as number);
  }
}

export interface TenureInput {
  readonly records: readonly HistoryRecord[];
  readonly operations: readonly KvOperation[];
  readonly compactions: readonly CompactOperation[];
  readonly log: RevisionLog;
  readonly order: StoreOrder;
  /** As of `LeaseLimits`. */
  readonly fastestClock: number;
}

/**
 * Locks and elections, by the fencing order that the revisions of their places are. Nobody is told that it is its turn while
 * somebody else stands before it; nothing is written under a tenure that is over, or has not begun; who leads is who stands
 * first, and observers see its proclamations in order and all of them; and a place that was held goes away only because it
 * was given up, or because its lease ended when leases may.
 */
export function checkTenures(input: TenureInput): TenureVerdict {
  const seen = new Seen(input.records);
  if (seen.isEmpty) return { violations: [], leaseEnds: [], counts: {} };
  const check = new TenureCheck(input, seen);
  check.granted();
  check.written();
  check.answered();
  check.led();
  check.observed();
  const { violations, leaseEnds } = check;
  const { tenures, fenced, leaders } = seen;
  return {
    violations,
    leaseEnds,
    counts: { tenures: tenures.length, fencedWrites: fenced.length + check.fences, leaders: leaders.length },
  };
}

class TenureCheck {
  readonly violations: Violation[] = [];
  readonly leaseEnds: LeaseEnd[] = [];
  /** Writes of holders that are operations as any other. */
  fences = 0;
  private readonly input: TenureInput;
  private readonly seen: Seen;
  private readonly places: Places;
  private readonly ceiling: Ceiling;
  private readonly held = new Set<PlaceLife>();
  /** Where a tended key got a value. */
  private readonly putAt = new Map<string, number>();

  constructor(input: TenureInput, seen: Seen) {
    this.input = input;
    this.seen = seen;
    this.places = new Places(input.log);
    this.ceiling = new Ceiling(input.operations);
  }

  private wrong(rule: string, text: string): void {
    this.violations.push({ rule, text });
  }

  /** Nobody holds what another one holds. */
  granted(): void {
    for (const { key, name, revision, end } of this.seen.tenures) {
      const life = this.places.standingAt(key, revision);
      if (life === null) {
        this.wrong('one holder', `${key} was told its turn, and did not stand at ${revision}`);
        continue;
      }
      this.held.add(life);
      const latest = this.ceiling.at(end);
      if (life.firstAt < life.ends && life.firstAt <= latest) continue;
      const other = this.places.firstAt(name, Math.min(latest, this.input.log.last));
      this.wrong(
        'one holder',
        `${key} of ${life.created} was told its turn at ${end.toFixed(1)}, no later than revision ${latest}; then it was that of ${other?.key} of ${other?.created}`,
      );
    }
  }

  /** Everything in the log, whoever was told of it. */
  written(): void {
    const { log, order } = this.input;
    for (let revision = 2; revision <= log.last; revision++) {
      for (const { key, kv } of log.changesAt(revision)) {
        if (!isTended(key)) continue;
        if (kv === null) {
          this.gone(key, revision);
          continue;
        }
        this.putAt.set(`${key}=${kv.value}`, revision);
        if (!order.writers.has(revision)) this.invented(key, kv.value, revision);
        if (key.startsWith('fence/')) this.fence(key, kv.value, revision);
        else if (kv.create !== revision) this.proclaimed(key, kv.create, revision);
      }
    }
  }

  private invented(key: string, value: string, revision: number): void {
    const start = this.seen.wanted.get(`${key}=${value}`);
    if (start !== undefined && start <= this.input.order.horizon.reached(revision)) return;
    this.wrong('no invention', `nobody asked for ${key}=${value} at ${revision} before it was there`);
  }

  private fence(key: string, value: string, revision: number): void {
    const token = readFence(value);
    const life = token === null ? null : this.places.get(token.place, token.created);
    this.fences++;
    if (life !== null && fenceOf(life.name) === key && this.isFirst(life, revision - 1)) return;
    this.wrong('fencing', `${key}=${value} was written at ${revision}; it was not the turn of that place then`);
  }

  private proclaimed(key: string, created: number, revision: number): void {
    const life = this.places.get(key, created);
    if (life !== null && this.isFirst(life, revision - 1)) return;
    this.wrong('fencing', `${key} of ${created} proclaimed at ${revision}, and did not lead then`);
  }

  private isFirst({ firstAt, ends }: PlaceLife, revision: number): boolean {
    return firstAt <= revision && revision < ends;
  }

  /** A place that was held is given up, or its lease has ended. */
  private gone(key: string, revision: number): void {
    const life = this.places.standingAt(key, revision - 1);
    if (life === null || !this.held.has(life)) return;
    const seenAt = this.input.order.horizon.reached(revision);
    if ((this.seen.givenUp.get(key) ?? Number.POSITIVE_INFINITY) <= seenAt) return;
    const kept = this.seen.held.get(life.lease);
    if (kept === undefined) {
      this.leaseEnds.push({ lease: life.lease, revision, seenAt });
      return;
    }
    const mayBeEarlyMs = kept.ttlMs * (1 - 1 / this.input.fastestClock);
    if (kept.lostAt - seenAt <= mayBeEarlyMs) return;
    const when = Number.isFinite(kept.lostAt) ? `only ${(kept.lostAt - seenAt).toFixed(0)} ms later` : 'never';
    this.wrong('lease early', `${key} was gone at ${revision}; its client said ${when} that the lease is lost`);
  }

  /** What holders were answered. */
  answered(): void {
    for (const { key, value, outcome, revision } of this.seen.fenced) {
      const at = this.putAt.get(`${key}=${value}`);
      if (outcome === 'failed' && at !== undefined) {
        this.wrong('fencing', `${key}=${value} was refused, and written at ${at}`);
      } else if (outcome === 'ok' && (at === undefined || (revision > 0 && at !== revision))) {
        this.wrong('durability', `${key}=${value} was written at ${revision}, the log has it at ${at}`);
      }
    }
  }

  /** Who was said to lead did, then. */
  led(): void {
    const { horizon } = this.input.order;
    for (const { name, kv, revision, start, end, stream } of this.seen.leaders) {
      const who = kv === null ? 'nobody' : `${kv.key} of ${kv.create} at ${kv.mod}`;
      if (kv === null) {
        if (revision > 0 && this.places.firstAt(name, revision) !== null)
          this.wrong('leader', `${name}: nobody was said to lead at ${revision}`);
        continue;
      }
      const span = this.places.spanOf(kv);
      const least = stream === 0 ? horizon.before(start) : 0;
      // Without a revision: it led at some moment between question and answer.
      const from = revision > 0 ? revision : least;
      const to = revision > 0 ? revision : this.ceiling.at(end);
      if (span === null || span[0] > to || span[1] <= from) {
        this.wrong('leader', `${name}: ${who} was said to lead at ${from}…${to}, it did so at ${span?.join('…')}`);
      } else if (revision > 0 && revision < least) {
        this.wrong('real time', `${name}: ${who} was said to lead at ${revision}, ${least} was known before`);
      }
    }
  }

  /**
   * Observers see leaders in their order, and nothing is left out of what the same one proclaims, unless a compaction may
   * have overtaken the observer where it had come to: then it looks at what is now, and goes on from there.
   */
  observed(): void {
    const last = new Map<number, LeaderRecord>();
    for (const record of this.seen.leaders) {
      if (record.stream === 0 || record.kv === null) continue;
      const before = last.get(record.stream)?.kv ?? null;
      last.set(record.stream, record);
      if (before === null) continue;
      const { kv, name, end } = record;
      if (kv.create < before.create || (kv.create === before.create && kv.mod < before.mod)) {
        this.wrong('observed in order', `${name}: ${kv.key} at ${kv.mod} after ${before.key} at ${before.mod}`);
        continue;
      }
      const life = this.places.get(before.key, before.create);
      if (life === null) continue;
      const missed = this.places
        .proclaimedAfter(life, before.mod)
        .filter((revision) => kv.create !== before.create || revision < kv.mod);
      const [first] = missed;
      if (first === undefined || before.mod < this.compactedBefore(end)) continue;
      this.wrong(
        'observed whole',
        `${name}: ${kv.key} at ${kv.mod} came, what ${before.key} said at ${first} never did`,
      );
    }
  }

  private compactedBefore(moment: number): number {
    let newest = 0;
    for (const { revision, start, outcome } of this.input.compactions) {
      if (outcome !== 'failed' && start < moment) newest = Math.max(newest, revision);
    }
    return newest;
  }
}
