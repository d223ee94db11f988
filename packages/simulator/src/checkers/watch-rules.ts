import type { CompactOperation, Violation, WatchEvent, WatchRecord, WatchResponse } from './history.ts';
import { type Change, covers, type RevisionLog, sameKey } from './revision-log.ts';

/**
 * What a watch promises, against what was committed:
 *
 * - ordered: revisions never go back within a watch;
 * - unique: no event comes twice, and none from before the revision asked for;
 * - atomic: all changes of one revision come in one response;
 * - complete: between where it began and the newest thing it said, nothing that it covers is missing, and nothing else is
 *   in it; with it resumable, since a watch that goes on where another one was lost is held to the same;
 * - bookmarks: a response without events says that all up to its revision was sent; no event follows that is older, and
 *   it is not from before the revision asked for;
 * - contents: each event is the change that was committed, with the key as it was before where that was asked for;
 * - cancelled only if what it needed was compacted.
 */
export function checkWatches(
  watches: readonly WatchRecord[],
  log: RevisionLog,
  compactions: readonly CompactOperation[] = [],
): Violation[] {
  const violations: Violation[] = [];
  for (const watch of watches) new WatchCheck(watch, log, compactions, violations).run();
  return violations;
}

/** Every watch that is still open has said, by event or by bookmark, that it has everything up to `revision`. */
export function checkWatchesReach(watches: readonly WatchRecord[], revision: number): Violation[] {
  const violations: Violation[] = [];
  for (const watch of watches) {
    // One on the future owes what comes after the revision at which it was made.
    const first = watch.startRevision === 0 ? watch.createdRevision + 1 : watch.startRevision;
    if (watch.ended !== 'open' || first > revision) continue;
    let reached = 0;
    for (const response of watch.responses) reached = Math.max(reached, reachOf(response));
    if (reached >= revision) continue;
    violations.push({
      rule: 'watch progress',
      text: `${nameOf(watch)} knows of ${reached}, the store is at ${revision}`,
    });
  }
  return violations;
}

function reachOf(response: WatchResponse): number {
  return response.events.length === 0 ? response.revision : (response.events.at(-1) as WatchEvent).kv.mod;
}

function nameOf({ id, member, run, key, end, startRevision }: WatchRecord): string {
  return `watch ${id} at ${member}#${run} over ${JSON.stringify([key, end])} from ${startRevision}`;
}

class WatchCheck {
  private readonly watch: WatchRecord;
  private readonly log: RevisionLog;
  private readonly compactions: readonly CompactOperation[];
  private readonly violations: Violation[];
  /** The newest revision of which an event came, or that a bookmark vouched for. */
  private reached: number;
  private newestEvent = 0;

  constructor(watch: WatchRecord, log: RevisionLog, compactions: readonly CompactOperation[], violations: Violation[]) {
    this.watch = watch;
    this.log = log;
    this.compactions = compactions;
    this.violations = violations;
    this.reached = (watch.startRevision === 0 ? watch.createdRevision + 1 : watch.startRevision) - 1;
  }

  run(): void {
    if (this.watch.createdRevision === 0) return;
    for (const response of this.watch.responses) {
      if (response.events.length === 0) this.bookmark(response);
      else this.events(response);
    }
    if (this.watch.ended === 'compacted') this.cancelled();
  }

  private wrong(rule: string, text: string): void {
    this.violations.push({ rule: `watch ${rule}`, text: `${nameOf(this.watch)}: ${text}` });
  }

  private bookmark({ revision }: WatchResponse): void {
    if (revision < this.newestEvent)
      this.wrong('bookmarks', `bookmark ${revision} after an event of ${this.newestEvent}`);
    // Whoever goes on behind it would get what was not asked for.
    if (revision < this.watch.startRevision - 1) this.wrong('bookmarks', `bookmark ${revision} from before the start`);
    this.nothingBetween(this.reached, revision, `bookmark ${revision}`);
    this.reached = Math.max(this.reached, revision);
  }

  private events({ events, revision, at }: WatchResponse): void {
    let index = 0;
    while (index < events.length) {
      const { mod } = (events[index] as WatchEvent).kv;
      const together: WatchEvent[] = [];
      while (events[index]?.kv.mod === mod) together.push(events[index++] as WatchEvent);
      if (mod < this.newestEvent) this.wrong('ordered', `event of ${mod} after one of ${this.newestEvent}`);
      else if (mod === this.newestEvent) this.wrong('atomic or unique', `events of ${mod} in two places`);
      else if (mod <= this.reached)
        this.wrong('bookmarks', `event of ${mod} though all up to ${this.reached} was done`);
      else {
        this.nothingBetween(this.reached, mod - 1, `event of ${mod}`);
        this.wholeRevision(mod, together, at);
        this.reached = mod;
      }
      this.newestEvent = Math.max(this.newestEvent, mod);
    }
    if (revision < this.newestEvent)
      this.wrong('bookmarks', `header ${revision} under an event of ${this.newestEvent}`);
  }

  /** The changes of a revision that this watch is owed. */
  private owed(revision: number): Change[] {
    const { key, end, without } = this.watch;
    return this.log
      .changesAt(revision)
      .filter((change) => covers(key, end, change.key) && !without.includes(change.kv === null ? 'delete' : 'put'));
  }

  private nothingBetween(after: number, to: number, next: string): void {
    const { key, end } = this.watch;
    for (const revision of this.log.revisionsOf(key, end, after, to)) {
      const [change] = this.owed(revision);
      if (change === undefined) continue;
      this.wrong('complete', `${next} came, and ${change.key} at ${revision} never did`);
      return;
    }
  }

  private wholeRevision(revision: number, events: readonly WatchEvent[], at: number): void {
    const owed = this.owed(revision);
    const names = new Set(events.map((event) => event.kv.key));
    if (names.size !== events.length) this.wrong('unique', `a key twice at ${revision}`);
    for (const change of owed) {
      if (!names.has(change.key)) this.wrong('atomic', `${change.key} is missing from ${revision}`);
    }
    for (const event of events) {
      const change = owed.find((candidate) => candidate.key === event.kv.key);
      if (change === undefined) {
        this.wrong('contents', `${event.type} of ${event.kv.key} at ${revision} was not asked for or never happened`);
        continue;
      }
      const same = change.kv === null ? event.type === 'delete' : event.type === 'put' && sameKey(change.kv, event.kv);
      if (!same) this.wrong('contents', `sent ${JSON.stringify(event)}, committed ${JSON.stringify(change)}`);
      this.before(event, at);
    }
  }

  private before(event: WatchEvent, at: number): void {
    if (!this.watch.previous) {
      if (event.previous !== null) this.wrong('previous', `${event.kv.key} at ${event.kv.mod}: not asked for`);
      return;
    }
    const { key, mod } = event.kv;
    const before = this.log.at(key, mod - 1);
    if (sameKey(before, event.previous)) return;
    // What was compacted when the event was sent cannot be shown.
    if (event.previous === null && this.compactedBefore(at) > mod - 1) return;
    this.wrong(
      'previous',
      `${key} at ${mod}: sent ${JSON.stringify(event.previous)}, it was ${JSON.stringify(before)}`,
    );
  }

  private compactedBefore(moment: number): number {
    let newest = 0;
    for (const { revision, start, outcome } of this.compactions) {
      if (outcome !== 'failed' && start < moment) newest = Math.max(newest, revision);
    }
    return newest;
  }

  private cancelled(): void {
    const { compactRevision } = this.watch;
    const asked = this.compactions.some((one) => one.revision >= compactRevision && one.outcome !== 'failed');
    if (this.reached + 1 >= compactRevision || !asked) {
      this.wrong('cancelled', `as compacted at ${compactRevision}, needed from ${this.reached + 1}`);
    }
  }
}
