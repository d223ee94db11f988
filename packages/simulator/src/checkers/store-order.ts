import { differenceOf, evaluate, hasWritten, mayDelete, sameChanges } from './evaluate.ts';
import { describeOperation, type KvOperation, type StepResult, type Violation, type WatchRecord } from './history.ts';
import type { Change, RevisionLog } from './revision-log.ts';
import { isTended } from './tenure-records.ts';

/** Everything a lease held was deleted, and no client had asked for it in a request that deletes. */
export interface LeaseEnd {
  readonly lease: string;
  readonly revision: number;
  /** When somebody first saw it; Infinity if nobody did. */
  seenAt: number;
}

export interface StoreOrder {
  readonly violations: Violation[];
  readonly leaseEnds: LeaseEnd[];
  /** For each revision that a client wrote, who did. */
  readonly writers: Map<number, KvOperation>;
  readonly horizon: Horizon;
}

/**
 * Is the whole store linearizable? Revisions number the writes, so nothing has to be searched: each operation has its
 * place (a write at its revision, a read behind the revision of its answer), and it is right if
 *
 * - what it answered follows from the log before that place,
 * - what it wrote is what the log has there, and nobody else wrote it,
 * - no operation that had ended before another one began stands behind it,
 * - every revision has somebody who wrote it: a client, also one that got no answer, or a lease that ended. (Who wrote the
 *   places of locks and elections is looked at by `tenures.ts`.)
 *
 * Herlihy and Wing, "Linearizability" (1990): such an order of all operations, each between its call and its return, is
 * the definition itself. Serializable reads have to fit a place too, but may stand before their call.
 */
export function checkStoreOrder(
  operations: readonly KvOperation[],
  log: RevisionLog,
  watches: readonly WatchRecord[] = [],
): StoreOrder {
  const horizon = horizonOf(operations, watches);
  const check = new OrderCheck(operations, log, horizon);
  check.place();
  check.matchUnanswered();
  check.realTime(watches);
  return { violations: check.violations, leaseEnds: check.leaseEnds, writers: check.writers, horizon };
}

/** What answers and watches have told. */
function horizonOf(operations: readonly KvOperation[], watches: readonly WatchRecord[]): Horizon {
  const known: { at: number; revision: number }[] = [];
  for (const operation of operations) {
    if (operation.outcome === 'ok') known.push({ at: operation.end, revision: operation.revision });
  }
  for (const watch of watches) {
    for (const { at, events } of watch.responses) {
      const last = events.at(-1);
      if (last !== undefined) known.push({ at, revision: last.kv.mod });
    }
  }
  return new Horizon(known);
}

/** Knows, for any moment, the newest revision that somebody had been told by then. */
export class Horizon {
  private readonly times: number[] = [];
  private readonly revisions: number[] = [];

  /** Moments with the revision that was known from then on. */
  constructor(points: { at: number; revision: number }[]) {
    points.sort((a, b) => a.at - b.at);
    let newest = 0;
    for (const { at, revision } of points) {
      if (revision <= newest) continue;
      newest = revision;
      this.times.push(at);
      this.revisions.push(revision);
    }
  }

  /** The newest revision known before `moment`. */
  before(moment: number): number {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.times[middle] as number) < moment) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : (this.revisions[low - 1] as number);
  }

  /** The first moment at which a revision or a later one was known; Infinity if that never came. */
  reached(revision: number): number {
    let low = 0;
    let high = this.revisions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.revisions[middle] as number) < revision) low = middle + 1;
      else high = middle;
    }
    return this.times[low] ?? Number.POSITIVE_INFINITY;
  }
}

/** A revision that only deletes, of which nobody was told that it was theirs. */
interface Deletion {
  readonly revision: number;
  readonly changes: readonly Change[];
}

/**
 * Finds a writer for as many as possible, each operation for one at most: one that fits in several places must not be used
 * up where another fits, too (augmenting paths, as Kuhn's matching).
 */
function matching(
  deletions: readonly Deletion[],
  writersOf: (deletion: Deletion) => readonly KvOperation[],
): Map<Deletion, KvOperation> {
  const writers = new Map(deletions.map((deletion) => [deletion, writersOf(deletion)]));
  const places = new Map<KvOperation, Deletion>();
  const find = (deletion: Deletion, tried: Set<KvOperation>): boolean => {
    for (const writer of writers.get(deletion) as readonly KvOperation[]) {
      if (tried.has(writer)) continue;
      tried.add(writer);
      const other = places.get(writer);
      if (other !== undefined && !find(other, tried)) continue;
      places.set(writer, deletion);
      return true;
    }
    return false;
  };
  for (const deletion of deletions) find(deletion, new Set());
  return new Map([...places].map(([writer, deletion]) => [deletion, writer]));
}

class OrderCheck {
  readonly violations: Violation[] = [];
  readonly leaseEnds: LeaseEnd[] = [];
  readonly writers = new Map<number, KvOperation>();
  private readonly operations: readonly KvOperation[];
  private readonly log: RevisionLog;
  private readonly horizon: Horizon;

  constructor(operations: readonly KvOperation[], log: RevisionLog, horizon: Horizon) {
    this.operations = operations;
    this.log = log;
    this.horizon = horizon;
  }

  private wrong(rule: string, text: string): void {
    this.violations.push({ rule, text });
  }

  /** Each answered operation against the log at its place. */
  place(): void {
    for (const operation of this.operations) {
      if (operation.outcome !== 'ok') continue;
      const { revision } = operation;
      if (revision < 1 || revision > this.log.last) {
        this.wrong(
          'durability',
          `revision ${revision} was answered, the log ends at ${this.log.last}: ${describeOperation(operation)}`,
        );
        continue;
      }
      const writes = hasWritten(operation);
      const expected = evaluate(operation, this.log, writes ? revision - 1 : revision);
      const rule = operation.serializable ? 'serializable read' : 'linearizability';
      if (expected.succeeded !== operation.succeeded) {
        this.wrong(rule, `the condition was ${expected.succeeded}: ${describeOperation(operation)}`);
        continue;
      }
      for (let index = 0; index < expected.results.length; index++) {
        const difference = differenceOf(expected.results[index] as StepResult, operation.results[index]);
        if (difference !== null) this.wrong(rule, `${difference}: ${describeOperation(operation)}`);
      }
      if (writes) this.claim(operation, revision, expected.changes);
    }
  }

  private claim(operation: KvOperation, revision: number, changes: readonly Change[]): void {
    const other = this.writers.get(revision);
    if (other !== undefined) {
      this.wrong(
        'one writer',
        `two wrote ${revision}:\n  ${describeOperation(other)}\n  ${describeOperation(operation)}`,
      );
      return;
    }
    this.writers.set(revision, operation);
    const actual = this.log.changesAt(revision);
    if (sameChanges(changes, actual)) return;
    this.wrong('durability', `the log has ${JSON.stringify(actual)} there: ${describeOperation(operation)}`);
  }

  /** The revisions nobody claims: whose are they? */
  matchUnanswered(): void {
    const byValue = new Map<string, KvOperation>();
    const deleting: KvOperation[] = [];
    for (const operation of this.operations) {
      if (operation.outcome !== 'unknown') continue;
      const steps = [...operation.success, ...operation.failure];
      for (const step of steps) if (step.do === 'put') byValue.set(step.value, operation);
      // Also one that puts something where its condition holds, and only deletes where it does not.
      if (steps.some((step) => step.do === 'delete')) deleting.push(operation);
    }
    const taken = new Set<KvOperation>();
    const deletions: Deletion[] = [];
    for (let revision = 2; revision <= this.log.last; revision++) {
      if (this.writers.has(revision) || !this.log.has(revision)) continue;
      const changes = this.log.changesAt(revision);
      const put = changes.find((change) => change.kv !== null)?.kv;
      if (put === undefined || put === null) {
        deletions.push({ revision, changes });
        continue;
      }
      const writer = byValue.get(put.value);
      if (writer !== undefined && !taken.has(writer) && this.fits(writer, revision, changes)) {
        taken.add(writer);
        this.writers.set(revision, writer);
      } else if (!this.isElsewhere(revision, changes)) this.invented(revision, changes);
    }
    this.matchDeletions(
      deletions,
      deleting.filter((one) => !taken.has(one)),
    );
  }

  /** Gives each deletion a writer; where the first that fits leaves none for another one, all are looked at again. */
  private matchDeletions(deletions: readonly Deletion[], writers: readonly KvOperation[]): void {
    const left = new Set(writers);
    const firsts = new Map<Deletion, KvOperation>();
    let isEnough = true;
    for (const deletion of deletions) {
      let first: KvOperation | null = null;
      for (const one of left) {
        if (!this.mayHaveDeleted(one, deletion)) continue;
        first = one;
        break;
      }
      if (first !== null) {
        left.delete(first);
        firsts.set(deletion, first);
      } else if (!this.isElsewhere(deletion.revision, deletion.changes)) isEnough = false;
    }
    const found = isEnough
      ? firsts
      : matching(deletions, (deletion) => writers.filter((one) => this.mayHaveDeleted(one, deletion)));
    for (const deletion of deletions) {
      const { revision, changes } = deletion;
      const writer = found.get(deletion);
      if (writer !== undefined) this.writers.set(revision, writer);
      else if (!this.isElsewhere(revision, changes)) this.invented(revision, changes);
    }
  }

  /** Nobody knew of the revision before it was asked for; a put would tell by its value whose it is. */
  private mayHaveDeleted(operation: KvOperation, { revision, changes }: Deletion): boolean {
    // What is cheap first: there are as many of these as deletions times operations without an answer.
    if (!mayDelete(operation, changes) || revision <= this.horizon.before(operation.start)) return false;
    return this.fits(operation, revision, changes);
  }

  private fits(operation: KvOperation, revision: number, changes: readonly Change[]): boolean {
    return sameChanges(evaluate(operation, this.log, revision - 1).changes, changes);
  }

  /** Leases, and whoever tends places of their own, write too. */
  private isElsewhere(revision: number, changes: readonly Change[]): boolean {
    return changes.every(({ key }) => isTended(key)) || this.endsLease(revision, changes);
  }

  private invented(revision: number, changes: readonly Change[]): void {
    this.wrong('no invention', `nobody wrote revision ${revision}: ${JSON.stringify(changes)}${this.explain(changes)}`);
  }

  /** Whether a revision deletes exactly what one lease held. */
  private endsLease(revision: number, changes: readonly Change[]): boolean {
    const [first] = changes;
    const lease = first === undefined ? undefined : this.log.at(first.key, revision - 1)?.lease;
    if (lease === undefined || lease === '0' || changes.some((change) => change.kv !== null)) return false;
    const held = this.log.heldBy(lease, revision - 1);
    if (held.length !== changes.length || !changes.every((change) => held.includes(change.key))) return false;
    if (!this.leaseEnds.some((end) => end.revision === revision)) {
      this.leaseEnds.push({ lease, revision, seenAt: Number.POSITIVE_INFINITY });
    }
    return true;
  }

  private explain(changes: readonly Change[]): string {
    const values = new Set(changes.map((change) => change.kv?.value));
    const culprit = this.operations.find((operation) =>
      [...operation.success, ...operation.failure].some((step) => step.do === 'put' && values.has(step.value)),
    );
    return culprit === undefined ? '' : `; compare ${describeOperation(culprit)}`;
  }

  /** Nothing stands behind what began after it had ended, and nothing is seen before it was asked for. */
  realTime(watches: readonly WatchRecord[]): void {
    const { horizon } = this;
    const writes = new Set(this.writers.values());
    for (const operation of this.operations) {
      if (operation.outcome !== 'ok' || operation.serializable || writes.has(operation)) continue;
      const least = horizon.before(operation.start);
      if (operation.revision < least) {
        this.wrong('real time', `${least} was known before it began: ${describeOperation(operation)}`);
      }
    }
    for (const [revision, operation] of this.writers) {
      const least = horizon.before(operation.start);
      if (revision <= least) {
        this.wrong(
          'real time',
          `wrote ${revision}, and ${least} was known before it began: ${describeOperation(operation)}`,
        );
      }
    }
    this.noForesight(watches);
    for (const end of this.leaseEnds) end.seenAt = horizon.reached(end.revision);
  }

  private noForesight(watches: readonly WatchRecord[]): void {
    // For each revision, the latest moment at which a write up to there was asked for.
    const asked: number[] = [0, 0];
    for (let revision = 2; revision <= this.log.last; revision++) {
      asked.push(Math.max(asked[revision - 1] as number, this.writers.get(revision)?.start ?? 0));
    }
    for (const operation of this.operations) {
      if (operation.outcome !== 'ok' || operation.revision > this.log.last) continue;
      if (operation.end < (asked[operation.revision] as number)) {
        this.wrong('no foresight', `it ended before its revision was asked for: ${describeOperation(operation)}`);
      }
    }
    for (const watch of watches) {
      for (const { at, events } of watch.responses) {
        const mod = events.at(-1)?.kv.mod ?? 0;
        if (at < (asked[mod] ?? 0)) {
          this.wrong('no foresight', `watch ${watch.id} at ${watch.member} sent ${mod} before it was asked for`);
        }
      }
    }
  }
}
