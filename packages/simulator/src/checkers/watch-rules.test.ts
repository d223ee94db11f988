import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CompactOperation, WatchEvent, WatchRecord } from './history.ts';
import { RevisionLog } from './revision-log.ts';
import { checkWatches, checkWatchesReach } from './watch-rules.ts';

/** Revisions 2 to 6: a=1, b=1, a=2, a and b deleted together, a=3. */
function makeLog(): { log: RevisionLog; events: WatchEvent[] } {
  const log = new RevisionLog();
  const events: WatchEvent[] = [];
  const put = (revision: number, key: string, value: string, create: number, version: number): void => {
    const kv = { key, value, create, mod: revision, version, lease: '0' };
    events.push({ type: 'put', kv, previous: null });
    log.add(revision, [{ key, kv }]);
  };
  put(2, 'a', '1', 2, 1);
  put(3, 'b', '1', 3, 1);
  put(4, 'a', '2', 2, 2);
  log.add(5, [
    { key: 'a', kv: null },
    { key: 'b', kv: null },
  ]);
  for (const key of ['a', 'b']) {
    const kv = { key, value: '', create: 0, mod: 5, version: 0, lease: '0' };
    events.push({ type: 'delete', kv, previous: null });
  }
  put(6, 'a', '3', 6, 1);
  return { log, events };
}

const { log, events } = makeLog();
const watch = (fields: Partial<WatchRecord>): WatchRecord => ({
  type: 'watch',
  id: 1,
  member: 'm',
  run: 0,
  key: 'a',
  end: 'c',
  startRevision: 2,
  createdRevision: 6,
  previous: false,
  without: [],
  responses: [{ at: 10, revision: 6, events }],
  ended: 'open',
  compactRevision: 0,
  ...fields,
});
const response = (...chosen: WatchEvent[]) => ({ at: 10, revision: 6, events: chosen });
const rulesOf = (fields: Partial<WatchRecord>, ...compactions: CompactOperation[]): string[] =>
  checkWatches([watch(fields)], log, compactions).map((one) => one.rule);
const [a2, b3, a4, a5, b5, a6] = events as [WatchEvent, WatchEvent, WatchEvent, WatchEvent, WatchEvent, WatchEvent];
const compaction = (revision: number, start: number): CompactOperation => ({
  type: 'compact',
  revision,
  start,
  end: start + 1,
  outcome: 'ok',
  error: '',
});

describe('the rules of watches', () => {
  it('accept any cut between revisions, bookmarks in between, and a narrower question', () => {
    assert.deepEqual(rulesOf({}), []);
    assert.deepEqual(rulesOf({ responses: [response(a2), response(b3, a4), response(a5, b5), response(a6)] }), []);
    const bookmark = { at: 10, revision: 3, events: [] };
    assert.deepEqual(rulesOf({ responses: [response(a2, b3), bookmark, response(a4, a5, b5, a6)] }), []);
    assert.deepEqual(rulesOf({ end: '', responses: [response(a2, a4, a5, a6)] }), []);
    assert.deepEqual(rulesOf({ without: ['delete'], responses: [response(a2, b3, a4, a6)] }), []);
    assert.deepEqual(rulesOf({ startRevision: 0, createdRevision: 4, responses: [response(a5, b5, a6)] }), []);
    assert.deepEqual(rulesOf({ startRevision: 4, responses: [response(a4, a5, b5)], ended: 'lost' }), []);
  });

  it('find what is missing, torn, twice, out of order, too old or not asked for', () => {
    assert.deepEqual(rulesOf({ responses: [response(a2, a4, a5, b5, a6)] }), ['watch complete']);
    assert.deepEqual(rulesOf({ responses: [response(a2, b3, a4, a5), response(b5, a6)] }), [
      'watch atomic',
      'watch atomic or unique',
    ]);
    assert.deepEqual(rulesOf({ responses: [response(a2, a2, b3, a4, a5, b5, a6)] }), ['watch unique']);
    assert.deepEqual(rulesOf({ responses: [response(a2, b3, a4), response(b3), response(a5, b5, a6)] }), [
      'watch ordered',
    ]);
    assert.deepEqual(rulesOf({ startRevision: 3 }), ['watch bookmarks']);
    assert.deepEqual(rulesOf({ end: '' }), ['watch contents', 'watch contents']);
    assert.deepEqual(rulesOf({ startRevision: 0, createdRevision: 4, responses: [response(a6)] }), ['watch complete']);
  });

  it('find a bookmark that vouches for what did not come, and one that goes back', () => {
    const at = (revision: number) => ({ at: 10, revision, events: [] });
    assert.deepEqual(rulesOf({ responses: [response(a2), at(3), response(b3, a4, a5, b5, a6)] }), [
      'watch complete',
      'watch bookmarks',
    ]);
    assert.deepEqual(rulesOf({ responses: [response(...events), at(5)] }), ['watch bookmarks']);
  });

  it('excuse a missing past only where it was compacted in time', () => {
    const past = events.map((event) => ({ ...event, previous: log.at(event.kv.key, event.kv.mod - 1) }));
    assert.deepEqual(rulesOf({ previous: true, responses: [response(...past)] }), []);
    const bare = past.map((event) => (event.kv.mod === 4 ? { ...event, previous: null } : event));
    assert.deepEqual(rulesOf({ previous: true, responses: [response(...bare)] }), ['watch previous']);
    assert.deepEqual(rulesOf({ previous: true, responses: [response(...bare)] }, compaction(4, 5)), []);
    assert.deepEqual(rulesOf({ previous: true, responses: [response(...bare)] }, compaction(4, 20)), [
      'watch previous',
    ]);
  });

  it('let a watch be cancelled for a compaction that took what it needed, and for nothing else', () => {
    const cancelled: Partial<WatchRecord> = { responses: [], ended: 'compacted', compactRevision: 5 };
    assert.deepEqual(rulesOf(cancelled, compaction(5, 1)), []);
    assert.deepEqual(rulesOf(cancelled), ['watch cancelled']);
    assert.deepEqual(rulesOf({ ...cancelled, startRevision: 5 }, compaction(5, 1)), ['watch cancelled']);
  });

  it('hold an open watch to the end', () => {
    const reach = (fields: Partial<WatchRecord>): number => checkWatchesReach([watch(fields)], 6).length;
    assert.equal(reach({}), 0);
    assert.equal(reach({ responses: [response(a2)] }), 1);
    assert.equal(reach({ responses: [response(a2)], ended: 'lost' }), 0);
    assert.equal(reach({ responses: [{ at: 1, revision: 6, events: [] }] }), 0);
  });
});
