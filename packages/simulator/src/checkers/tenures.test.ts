/**
 * Goal: whatever goes wrong with locks and elections is named. Method: one right history of two holders and two leaders, made by
 * hand; then the same with one thing changed.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHistory } from './check-history.ts';
import type { HistoryRecord, KeyRecord, KvOperation, LeaseOperation, WatchEvent, WatchRecord } from './history.ts';
import type { LeaderRecord, TenurePart } from './tenure-records.ts';

/** Revision n happens 10 n ms after the beginning, which is late enough for leases from before. */
const at = (revision: number): number => 10_000 + revision * 10;

class Story {
  readonly events: WatchEvent[] = [];
  private readonly now = new Map<string, KeyRecord>();
  revision = 1;

  put(key: string, value: string, lease = '0'): KeyRecord {
    const mod = ++this.revision;
    const before = this.now.get(key);
    const kv = { key, value, create: before?.create ?? mod, mod, version: (before?.version ?? 0) + 1, lease };
    this.now.set(key, kv);
    this.events.push({ type: 'put', kv, previous: null });
    return kv;
  }

  delete(key: string): void {
    this.now.delete(key);
    const kv = { key, value: '', create: 0, mod: ++this.revision, version: 0, lease: '0' };
    this.events.push({ type: 'delete', kv, previous: null });
  }

  watch(): WatchRecord {
    return {
      type: 'watch',
      id: 1,
      member: 'm1',
      run: 1,
      key: '\0',
      end: '\0',
      startRevision: 2,
      createdRevision: 1,
      previous: false,
      without: [],
      responses: this.events.map((event) => ({ at: at(event.kv.mod), revision: event.kv.mod, events: [event] })),
      ended: 'open',
      compactRevision: 0,
    };
  }

  /** Somebody who reads something else between any two revisions, so that it is known when was what. */
  reads(): KvOperation[] {
    return Array.from({ length: this.revision - 1 }, (_unused, place) => ({
      type: 'kv',
      client: 1,
      member: 'm1',
      run: 1,
      start: at(place + 2) + 4,
      end: at(place + 2) + 5,
      serializable: false,
      compares: [],
      success: [{ do: 'range', key: 'k', end: '', revision: 0, limit: 0 }],
      failure: [],
      outcome: 'ok',
      error: '',
      revision: place + 2,
      term: 2,
      succeeded: true,
      results: [{ kvs: [], count: 0, deleted: 0 }],
    }));
  }
}

const A = 'lock/0/a';
const B = 'lock/0/b';
const C = 'poll/0/c';
const D = 'poll/0/d';
const FENCE = 'fence/lock/0';

interface Made {
  readonly story: Story;
  readonly parts: TenurePart[];
}

const stand = (key: string, value: string, revision: number): TenurePart => ({
  type: 'stand',
  key,
  value,
  start: at(revision) - 3,
});
const tenure = (name: string, key: string, revision: number, end: number): TenurePart => ({
  type: 'tenure',
  name,
  key,
  revision,
  start: at(revision) - 3,
  end,
});
const fenced = (key: string, value: string, revision: number): TenurePart => ({
  type: 'fenced',
  key,
  value,
  start: at(revision) - 2,
  end: at(revision) + 1,
  outcome: 'ok',
  revision,
});
const givenUp = (key: string, revision: number): TenurePart => ({ type: 'given up', key, start: at(revision) - 2 });
const leads = (kv: KeyRecord, revision: number, stream: number): LeaderRecord => ({
  type: 'leader',
  name: 'poll/0',
  stream,
  kv,
  revision,
  start: stream === 0 ? at(revision) + 1 : 0,
  end: at(revision) + 3,
});

/** `fence` is what the first of the two holders writes. */
function make(fence = `${A}@2#1`): Made {
  const story = new Story();
  story.put(A, '', '1');
  story.put(B, '', '2');
  story.put(FENCE, fence);
  story.delete(A);
  story.put(FENCE, `${B}@3#2`);
  story.delete(B);
  const first = story.put(C, 'v1', '3');
  const second = story.put(C, 'v2', '3');
  const third = story.put(C, 'v3', '3');
  story.put(D, 'w1', '4');
  story.delete(C);
  const fourth = story.put(D, 'w2', '4');
  const parts = [
    stand(A, '', 2),
    tenure('lock/0', A, 2, at(2) + 2),
    stand(B, '', 3),
    fenced(FENCE, fence, 4),
    givenUp(A, 5),
    tenure('lock/0', B, 3, at(5) + 2),
    fenced(FENCE, `${B}@3#2`, 6),
    givenUp(B, 7),
    stand(C, 'v1', 8),
    tenure('poll/0', C, 8, at(8) + 2),
    fenced(C, 'v2', 9),
    fenced(C, 'v3', 10),
    stand(D, 'w1', 11),
    givenUp(C, 12),
    tenure('poll/0', D, 11, at(12) + 2),
    fenced(D, 'w2', 13),
    leads(second, 9, 0),
    leads(first, 8, 7),
    leads(second, 9, 7),
    leads(third, 10, 7),
    leads(fourth, 13, 7),
  ];
  return { story, parts };
}

function rulesOf({ story, parts }: Made, more: readonly HistoryRecord[] = []): string[] {
  const records = [...story.reads(), story.watch(), ...parts, ...more];
  const { violations } = checkHistory(records, { finalRevision: 0, leases: null });
  return [...new Set(violations.map(({ rule }) => rule))];
}

/** The right history with one of its records changed, or left out. */
function changed(isMeant: (part: TenurePart) => boolean, fields: Partial<TenurePart> | null): Made {
  const made = make();
  const place = made.parts.findIndex(isMeant);
  assert.ok(place >= 0);
  if (fields === null) made.parts.splice(place, 1);
  else made.parts[place] = { ...(made.parts[place] as TenurePart), ...fields } as TenurePart;
  return made;
}

const is =
  (type: TenurePart['type'], key: string) =>
  (part: TenurePart): boolean =>
    part.type === type && 'key' in part && part.key === key;
const observed =
  (mod: number) =>
  (part: TenurePart): boolean =>
    part.type === 'leader' && part.stream === 7 && part.kv?.mod === mod;

describe('locks and elections', () => {
  it('that went right pass', () => {
    assert.deepEqual(rulesOf(make()), []);
  });

  it('have one holder at a time', () => {
    assert.deepEqual(rulesOf(changed(is('tenure', B), { end: at(4) + 2 })), ['one holder']);
    assert.deepEqual(rulesOf(changed(is('tenure', B), { revision: 2 })), ['one holder']);
    assert.deepEqual(rulesOf(changed(is('tenure', D), { end: at(11) + 2 })), ['one holder']);
  });

  it('let nobody write whose turn it is not', () => {
    assert.deepEqual(rulesOf(make(`${B}@3#1`)), ['fencing']);
    assert.deepEqual(rulesOf(make(`${A}@1#1`)), ['fencing']);
    const refused = { outcome: 'failed' } as const;
    assert.deepEqual(rulesOf(changed(is('fenced', C), refused)), ['no invention', 'fencing']);
  });

  it('keep what holders were told is written', () => {
    assert.deepEqual(rulesOf(changed(is('fenced', D), { value: 'w3' })), ['no invention', 'durability']);
    assert.deepEqual(rulesOf(changed(is('fenced', FENCE), { revision: 6 })), ['durability']);
  });

  it('show nothing that nobody asked for, or not yet', () => {
    assert.deepEqual(rulesOf(changed(is('stand', B), null)), ['no invention']);
    assert.deepEqual(rulesOf(changed(is('stand', C), { start: at(8) + 1 })), ['no invention']);
  });

  it('say who leads, and nobody else', () => {
    const early = { kv: make().story.events[9]?.kv ?? null, revision: 11 };
    assert.equal(early.kv?.key, D);
    assert.deepEqual(rulesOf(changed(observed(13), early)), ['leader']);
    assert.deepEqual(rulesOf(changed(observed(9), { revision: 10 })), ['leader']);
    const late = { revision: 9, start: at(10) + 1, end: at(10) + 2 };
    assert.deepEqual(rulesOf(changed((part) => part.type === 'leader' && part.stream === 0, late)), ['real time']);
    const unnumbered = { ...late, revision: 0 };
    assert.deepEqual(rulesOf(changed((part) => part.type === 'leader' && part.stream === 0, unnumbered)), ['leader']);
    const none = { kv: null, revision: 9 };
    assert.deepEqual(rulesOf(changed((part) => part.type === 'leader' && part.stream === 0, none)), ['leader']);
  });

  it('are observed in order and whole', () => {
    assert.deepEqual(rulesOf(changed(observed(9), null)), ['observed whole']);
    assert.deepEqual(rulesOf(changed(observed(10), null)), ['observed whole']);
    const compacted = (revision: number): HistoryRecord => ({
      type: 'compact',
      revision,
      start: at(10),
      end: at(10) + 1,
      outcome: 'ok',
      error: '',
    });
    assert.deepEqual(rulesOf(changed(observed(9), null), [compacted(8)]), ['observed whole'], 'not overtaken');
    assert.deepEqual(rulesOf(changed(observed(9), null), [compacted(9)]), [], 'the compaction may have overtaken it');
    const made = make();
    const places = [8, 9].map((mod) => made.parts.findIndex(observed(mod))) as [number, number];
    const [first, second] = places.map((place) => made.parts[place]) as [TenurePart, TenurePart];
    made.parts.splice(places[0], 2, second, first);
    assert.deepEqual(rulesOf(made), ['observed in order', 'observed whole']);
  });

  it('lose a place only when it is given up or its lease may end', () => {
    const silent = changed(is('given up', A), null);
    assert.deepEqual(rulesOf(silent), ['lease']);
    const grant = (ttl: number): LeaseOperation => ({
      type: 'lease',
      do: 'grant',
      lease: '1',
      ttl,
      start: at(0) - 2000,
      end: at(0) - 1990,
      outcome: 'ok',
      error: '',
    });
    assert.deepEqual(rulesOf(silent, [grant(2)]), []);
    assert.deepEqual(rulesOf(silent, [grant(3)]), ['lease early']);
    const held = (lostAt: number): TenurePart => ({ type: 'held', lease: '1', ttlMs: 2000, lostAt });
    assert.deepEqual(rulesOf(silent, [held(at(5))]), []);
    assert.deepEqual(rulesOf(silent, [held(at(5) + 1)]), ['lease early']);
  });
});
