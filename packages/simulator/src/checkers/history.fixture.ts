import { Prng } from '@etsd/base';
import type {
  Compare,
  HistoryRecord,
  KeyRecord,
  KvOperation,
  LeaseOperation,
  Step,
  StepResult,
  WatchEvent,
  WatchRecord,
  WatchResponse,
} from './history.ts';
import { covers } from './revision-log.ts';

/** What a right cluster could have answered, made without the checkers' own code. Times are milliseconds. */
export interface MadeHistory {
  readonly records: HistoryRecord[];
  readonly operations: KvOperation[];
  readonly leases: LeaseOperation[];
  readonly watches: WatchRecord[];
  readonly finalRevision: number;
  readonly endedAt: number;
}

export interface MakeOptions {
  readonly seed: number;
  readonly operations: number;
  readonly clients: number;
  readonly keys: number;
  /** Probability that an operation gets no answer. */
  readonly unknown: number;
}

type Store = Map<string, KeyRecord>;

interface Draft {
  client: number;
  start: number;
  /** When it takes effect. */
  point: number;
  end: number;
  serializable: boolean;
  compares: Compare[];
  success: Step[];
  failure: Step[];
}

const STATES_KEPT = 40;
const LEASE_TTL = 5;
export const ALL = { key: '\0', end: '\0' };

export function makeHistory(options: MakeOptions): MadeHistory {
  return new Maker(options).make();
}

class Maker {
  private readonly options: MakeOptions;
  private readonly prng: Prng;
  private store: Store = new Map();
  private revision = 1;
  private counter = 0;
  /** The newest states, for reads that are behind. */
  private readonly states = new Map<number, Store>();
  private readonly events = new Map<number, { at: number; events: WatchEvent[] }>();
  private readonly operations: KvOperation[] = [];
  private readonly leaseOperations: LeaseOperation[] = [];
  private readonly expiring: { lease: string; at: number }[] = [];
  /** Of each client: the newest value it read, by key. */
  private readonly known: Map<string, KeyRecord>[] = [];
  private now = 0;

  constructor(options: MakeOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
    this.states.set(1, new Map());
  }

  make(): MadeHistory {
    const drafts: Draft[] = [];
    for (let client = 0; client < this.options.clients; client++) {
      this.known.push(new Map());
      drafts.push(this.draft(client, this.prng.float() * 5));
    }
    for (let done = 0; done < this.options.operations; done++) {
      let next = drafts[0] as Draft;
      for (const draft of drafts) if (draft.point < next.point) next = draft;
      this.expire(next.point);
      this.now = next.point;
      const end = this.execute(next);
      drafts[next.client] = this.draft(next.client, end + this.prng.float());
    }
    this.expire(Number.POSITIVE_INFINITY);
    const watches = this.watches();
    const { operations, leaseOperations: leases, revision: finalRevision, now: endedAt } = this;
    const records = [...operations, ...leases, ...watches];
    return { records, operations, leases, watches, finalRevision, endedAt };
  }

  private key(): string {
    return `k${this.prng.below(this.options.keys)}`;
  }

  private put(key: string, lease = '0'): Step {
    return { do: 'put', key, value: `v${++this.counter}`, lease };
  }

  private draft(client: number, from: number): Draft {
    const start = from;
    const point = start + 0.01 + this.prng.float() * 4;
    const end = point + 0.01 + this.prng.float() * 4;
    const draft: Draft = { client, start, point, end, serializable: false, compares: [], success: [], failure: [] };
    const kind = this.prng.below(100);
    const key = this.key();
    const range = (name: string, rangeEnd: string): Step => ({
      do: 'range',
      key: name,
      end: rangeEnd,
      revision: 0,
      limit: this.prng.chance(0.1) && rangeEnd !== '' ? 2 : 0,
    });
    if (kind < 30) draft.success.push(this.put(key));
    else if (kind < 50) draft.success.push(range(key, ''));
    else if (kind < 60) draft.success.push(range('k', 'l'));
    else if (kind < 70) {
      draft.serializable = true;
      draft.success.push(range('k', 'l'));
    } else if (kind < 80) draft.success.push({ do: 'delete', key, end: this.prng.chance(0.1) ? 'l' : '' });
    else if (kind < 83) draft.success.push(this.put(`lease${this.prng.below(5)}`, this.grant(start, point, end)));
    else if (kind < 90) draft.success.push(this.put('ka'), this.put('kb'), range('k', 'l'));
    else this.swap(draft, key);
    return draft;
  }

  /** A lease for one put, which it precedes. */
  private grant(start: number, point: number, end: number): string {
    const lease = String(1000 + ++this.counter);
    this.leaseOperations.push({
      type: 'lease',
      do: 'grant',
      lease,
      ttl: LEASE_TTL,
      start: start - 0.02,
      end: start - 0.01,
      outcome: 'ok',
      error: '',
    });
    this.expiring.push({ lease, at: Math.max(start + LEASE_TTL * 1000, point) + (end - start) });
    return lease;
  }

  private swap(draft: Draft, key: string): void {
    const seen = this.known[draft.client]?.get(key);
    const byValue = this.prng.chance(0.5);
    const target = byValue && seen !== undefined ? 'value' : 'mod';
    const operand = target === 'value' ? (seen as KeyRecord).value : (seen?.mod ?? 0);
    draft.compares.push({ key, target, result: '=', operand });
    draft.success.push(this.put(key));
    draft.failure.push({ do: 'range', key, end: '', revision: 0, limit: 0 });
  }

  private execute(draft: Draft): number {
    const isUnknown = this.prng.chance(this.options.unknown);
    const happens = !isUnknown || this.prng.chance(0.5);
    let { store, revision } = this;
    if (draft.serializable) {
      revision = Math.max(1, this.revision - this.prng.below(STATES_KEPT - 1));
      store = this.states.get(revision) as Store;
    }
    const succeeded = draft.compares.every(({ key, target, operand }) => {
      const kv = store.get(key);
      if (target === 'value') return kv?.value === operand;
      return (kv?.mod ?? 0) === operand;
    });
    const results = happens ? this.steps(succeeded ? draft.success : draft.failure, store) : [];
    if (!draft.serializable) revision = this.revision;
    for (const result of results) for (const kv of result.kvs) this.known[draft.client]?.set(kv.key, kv);
    // Who gets no answer gives up some time, before or after what it asked for has happened.
    const end = isUnknown ? draft.start + this.prng.float() * 8 : draft.end;
    this.operations.push({
      type: 'kv',
      client: draft.client,
      member: `m${draft.client % 3}`,
      run: draft.serializable ? this.operations.length : 0,
      start: draft.start,
      end,
      serializable: draft.serializable,
      compares: draft.compares,
      success: draft.success,
      failure: draft.failure,
      outcome: isUnknown ? 'unknown' : 'ok',
      error: '',
      revision: isUnknown ? 0 : revision,
      term: isUnknown ? 0 : 2,
      succeeded: !isUnknown && succeeded,
      results: isUnknown ? [] : results,
    });
    return Math.max(end, draft.point);
  }

  private steps(steps: readonly Step[], store: Store): StepResult[] {
    const changed: WatchEvent[] = [];
    const results = steps.map((step): StepResult => {
      if (step.do === 'range') {
        const all = [...store.values()].filter((kv) => covers(step.key, step.end, kv.key));
        all.sort((a, b) => (a.key < b.key ? -1 : 1));
        return { kvs: step.limit > 0 ? all.slice(0, step.limit) : all, count: all.length, deleted: 0 };
      }
      if (step.do === 'put') {
        changed.push(this.putEvent(step.key, step.value, step.lease));
        return { kvs: [], count: 0, deleted: 0 };
      }
      const found = [...store.values()].filter((kv) => covers(step.key, step.end, kv.key));
      for (const kv of found) changed.push(this.deleteEvent(kv));
      return { kvs: [], count: 0, deleted: found.length };
    });
    this.commit(changed);
    return results;
  }

  private putEvent(key: string, value: string, lease: string): WatchEvent {
    const previous = this.store.get(key) ?? null;
    const mod = this.revision + 1;
    const kv = { key, value, create: previous?.create ?? mod, mod, version: (previous?.version ?? 0) + 1, lease };
    this.store.set(key, kv);
    return { type: 'put', kv, previous };
  }

  private deleteEvent(previous: KeyRecord): WatchEvent {
    this.store.delete(previous.key);
    const kv = { key: previous.key, value: '', create: 0, mod: this.revision + 1, version: 0, lease: '0' };
    return { type: 'delete', kv, previous };
  }

  private commit(events: WatchEvent[]): void {
    if (events.length === 0) return;
    this.revision++;
    this.events.set(this.revision, { at: this.now, events });
    this.states.set(this.revision, new Map(this.store));
    this.states.delete(this.revision - STATES_KEPT);
  }

  private expire(until: number): void {
    this.expiring.sort((a, b) => b.at - a.at);
    for (let next = this.expiring.at(-1); next !== undefined && next.at < until; next = this.expiring.at(-1)) {
      this.expiring.pop();
      this.now = Math.max(this.now, next.at);
      const lease = next.lease;
      this.commit([...this.store.values()].filter((kv) => kv.lease === lease).map((kv) => this.deleteEvent(kv)));
    }
  }

  private watches(): WatchRecord[] {
    const made = [this.watch(0, ALL, 2), this.watch(1, ALL, 2)];
    for (let id = 2; id < 12; id++) {
      const range = this.prng.chance(0.5) ? { key: this.key(), end: '' } : { key: 'k', end: 'k5' };
      made.push(this.watch(id, range, this.prng.between(0, this.revision)));
    }
    return made;
  }

  private watch(id: number, range: { key: string; end: string }, startRevision: number): WatchRecord {
    const previous = this.prng.chance(0.5);
    const without: ('put' | 'delete')[] = this.prng.chance(0.2) && id > 1 ? ['delete'] : [];
    const createdRevision = startRevision === 0 ? this.prng.between(1, this.revision) : this.revision;
    const responses: WatchResponse[] = [];
    let batch: WatchEvent[] = [];
    let at = 0;
    const flush = (revision: number): void => {
      if (batch.length > 0) responses.push({ at, revision, events: batch });
      batch = [];
    };
    for (
      let revision = startRevision === 0 ? createdRevision + 1 : startRevision;
      revision <= this.revision;
      revision++
    ) {
      const change = this.events.get(revision) as { at: number; events: WatchEvent[] } | undefined;
      if (change === undefined) continue;
      at = Math.max(at, change.at + this.prng.float() * 10);
      for (const event of change.events) {
        if (!covers(range.key, range.end, event.kv.key) || without.includes(event.type)) continue;
        batch.push(previous ? event : { ...event, previous: null });
      }
      if (this.prng.chance(0.3)) flush(revision);
      if (batch.length === 0 && this.prng.chance(0.02)) responses.push({ at, revision, events: [] });
    }
    flush(this.revision);
    responses.push({ at: this.now, revision: this.revision, events: [] });
    const { key, end } = range;
    const ended = 'open';
    return {
      type: 'watch',
      id,
      member: `m${id % 3}`,
      run: 0,
      key,
      end,
      startRevision,
      createdRevision,
      previous,
      without,
      responses,
      ended,
      compactRevision: 0,
    };
  }
}
