import { isEmptyRange, OPEN_END } from '@etsd/base';
import type { KeyRecord, Violation, WatchEvent, WatchRecord } from './history.ts';

/** One key's change at a revision. */
export interface Change {
  readonly key: string;
  /** What the key is from here on; null after a delete. */
  readonly kv: KeyRecord | null;
}

const NOTHING: readonly Change[] = [];

/**
 * What a cluster committed, revision by revision, from the empty store at revision 1. Everything a client may have read
 * follows from it.
 */
export class RevisionLog {
  private readonly revisions = new Map<number, readonly Change[]>();
  private readonly keys = new Map<string, { readonly mods: number[]; readonly kvs: (KeyRecord | null)[] }>();
  private ordered: string[] = [];
  /** Of `ordered`, by range: the same few ranges are asked for again and again. */
  private readonly ranges = new Map<string, readonly string[]>();
  /** The newest revision; 1 while there is none. */
  last = 1;

  /** Revisions come in ascending order. */
  add(revision: number, changes: readonly Change[]): void {
    if (revision <= this.last) throw new Error(`revision ${revision} after ${this.last}`);
    this.last = revision;
    this.revisions.set(revision, changes);
    for (const change of changes) {
      let line = this.keys.get(change.key);
      if (line === undefined) {
        line = { mods: [], kvs: [] };
        this.keys.set(change.key, line);
        this.ordered = [];
      }
      line.mods.push(revision);
      line.kvs.push(change.kv);
    }
  }

  changesAt(revision: number): readonly Change[] {
    return this.revisions.get(revision) ?? NOTHING;
  }

  has(revision: number): boolean {
    return this.revisions.has(revision);
  }

  /** The key as of a revision; null where there is none. */
  at(key: string, revision: number): KeyRecord | null {
    const line = this.keys.get(key);
    if (line === undefined) return null;
    const { mods, kvs } = line;
    if (revision >= (mods.at(-1) as number)) return kvs.at(-1) as KeyRecord | null;
    const place = firstAbove(mods, revision);
    return place === 0 ? null : (kvs[place - 1] as KeyRecord | null);
  }

  /** The revisions after `from` and up to `to` at which some key of a range changed, in order. */
  revisionsOf(key: string, end: string, from: number, to: number): number[] {
    if (from >= to) return [];
    const found = new Set<number>();
    for (const name of this.keysIn(key, end)) {
      const { mods } = this.keys.get(name) as { mods: number[] };
      for (let index = firstAbove(mods, from); index < mods.length && (mods[index] as number) <= to; index++) {
        found.add(mods[index] as number);
      }
    }
    return [...found].sort((a, b) => a - b);
  }

  /** All names a range covers of those that ever were keys, ascending. */
  keysIn(key: string, end: string): readonly string[] {
    if (this.ordered.length !== this.keys.size) {
      this.ordered = [...this.keys.keys()].sort();
      this.ranges.clear();
    }
    const range = `${key}\0${end}`;
    let names = this.ranges.get(range);
    if (names === undefined) {
      names = end === '' ? this.only(key) : this.ordered.filter((name) => covers(key, end, name));
      this.ranges.set(range, names);
    }
    return names;
  }

  private only(key: string): string[] {
    return this.keys.has(key) ? [key] : [];
  }

  /** The keys that a lease holds as of a revision. */
  heldBy(lease: string, revision: number): string[] {
    const held: string[] = [];
    for (const name of this.keys.keys()) if (this.at(name, revision)?.lease === lease) held.push(name);
    return held;
  }
}

/** Where in these ascending numbers the first stands that is greater. */
function firstAbove(numbers: readonly number[], bound: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] as number) <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a range covers a key. */
export function covers(key: string, end: string, name: string): boolean {
  if (end === '') return name === key;
  if (isEmptyRange(key, end)) return false;
  return name >= key && (end === OPEN_END || name < end);
}

/** What the members say they committed, put together, and where two of them say different things. */
export interface MergedLog {
  readonly log: RevisionLog;
  readonly violations: Violation[];
}

function sameEvent(a: WatchEvent, b: WatchEvent): boolean {
  return a.type === b.type && (a.type === 'delete' || sameKey(a.kv, b.kv));
}

/** Whether two answers show the same key at the same state. */
export function sameKey(a: KeyRecord | null, b: KeyRecord | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.key === b.key &&
    a.value === b.value &&
    a.mod === b.mod &&
    a.create === b.create &&
    a.version === b.version &&
    a.lease === b.lease
  );
}

/**
 * The log as all watches together saw it. Watches that cover everything from the first revision make it complete; a
 * revision that nobody saw, though later ones were seen, is a violation.
 */
export function logFromWatches(watches: readonly WatchRecord[]): MergedLog {
  const violations: Violation[] = [];
  const seen = new Map<number, Map<string, { event: WatchEvent; member: string }>>();
  for (const watch of watches) {
    for (const response of watch.responses) {
      for (const event of response.events) {
        let changes = seen.get(event.kv.mod);
        if (changes === undefined) {
          changes = new Map();
          seen.set(event.kv.mod, changes);
        }
        const other = changes.get(event.kv.key);
        if (other === undefined) changes.set(event.kv.key, { event, member: watch.member });
        else if (!sameEvent(other.event, event)) {
          violations.push({
            rule: 'log agreement',
            text: `revision ${event.kv.mod} of ${event.kv.key}: ${other.member} sent ${JSON.stringify(other.event)}, ${watch.member} ${JSON.stringify(event)}`,
          });
        }
      }
    }
  }
  const log = new RevisionLog();
  for (const revision of [...seen.keys()].sort((a, b) => a - b)) {
    const changes = [...(seen.get(revision) as Map<string, { event: WatchEvent }>).values()];
    log.add(
      revision,
      changes.map(({ event }) => ({ key: event.kv.key, kv: event.type === 'put' ? event.kv : null })),
    );
  }
  violations.push(...checkLog(log));
  return { log, violations };
}

/** A log is sound in itself: no revision is missing, no absent key deleted, and the counters of each key follow its past. */
export function checkLog(log: RevisionLog): Violation[] {
  const violations: Violation[] = [];
  const wrong = (text: string): void => {
    violations.push({ rule: 'log', text });
  };
  for (let revision = 2; revision <= log.last; revision++) {
    if (!log.has(revision)) wrong(`revision ${revision} is missing`);
    for (const { key, kv } of log.changesAt(revision)) {
      const before = log.at(key, revision - 1);
      if (kv === null) {
        if (before === null) wrong(`revision ${revision} deletes ${key}, which was not there`);
        continue;
      }
      const create = before === null ? revision : before.create;
      const version = before === null ? 1 : before.version + 1;
      if (kv.mod !== revision || kv.create !== create || kv.version !== version) {
        wrong(`revision ${revision} of ${key}: ${JSON.stringify(kv)} does not follow ${JSON.stringify(before)}`);
      }
    }
  }
  return violations;
}
