import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Prng } from '@etsd/base';
import { checkHistory } from './check-history.ts';
import { type MadeHistory, makeHistory } from './history.fixture.ts';
import type { KeyRecord, KvOperation, WatchEvent, WatchRecord, WatchResponse } from './history.ts';
import { checkRegisters } from './register.ts';

/** Turns a right history into a wrong one; false where it found nothing to turn. */
type Mutation = (made: MadeHistory, prng: Prng) => boolean;

function draw<T>(prng: Prng, list: readonly T[], test: (one: T) => boolean): T | null {
  const fitting = list.filter(test);
  return fitting.length === 0 ? null : prng.pick(fitting);
}

function change<T extends object>(target: T, fields: Partial<{ -readonly [K in keyof T]: T[K] }>): true {
  Object.assign(target, fields);
  return true;
}

const isAnswered = (one: KvOperation): boolean => one.outcome === 'ok';
const isPut = (one: KvOperation): boolean =>
  isAnswered(one) && one.compares.length === 0 && one.success[0]?.do === 'put';
const readKeys = (one: KvOperation): readonly KeyRecord[] => one.results[0]?.kvs ?? [];
const hasRead = (one: KvOperation): boolean => isAnswered(one) && readKeys(one).length > 0;
const isLinearizable = (one: KvOperation): boolean => !one.serializable;

/** The events of a watch, each with where it stands. */
function placesOf(watch: WatchRecord): { response: WatchResponse; index: number; event: WatchEvent }[] {
  return watch.responses.flatMap((response) => response.events.map((event, index) => ({ response, index, event })));
}

const onEvent =
  (mutate: (place: ReturnType<typeof placesOf>[number], watch: WatchRecord, prng: Prng) => boolean): Mutation =>
  (made, prng) => {
    const watch = prng.pick(made.watches);
    const places = placesOf(watch);
    return places.length > 0 && mutate(prng.pick(places), watch, prng);
  };

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'a read shows a value of another time': (made, prng) => {
    const read = draw(prng, made.operations, hasRead);
    if (read === null) return false;
    const kvs = [...readKeys(read)];
    kvs[0] = { ...(kvs[0] as KeyRecord), value: 'v0' };
    return change(read, { results: [{ kvs, count: read.results[0]?.count ?? 0, deleted: 0 }] });
  },
  'a read misses a key': (made, prng) => {
    const read = draw(prng, made.operations, hasRead);
    if (read === null) return false;
    const kvs = readKeys(read).slice(1);
    return change(read, { results: [{ kvs, count: (read.results[0]?.count ?? 1) - 1, deleted: 0 }] });
  },
  'a linearizable read is as old as a serializable one may be': (made, prng) => {
    const newest = (one: KvOperation): number =>
      Math.max(
        ...made.operations.filter((other) => isAnswered(other) && other.end < one.start).map((other) => other.revision),
      );
    const read = draw(
      prng,
      made.operations,
      (one) => one.serializable && isAnswered(one) && one.revision < newest(one),
    );
    return read !== null && change(read, { serializable: false });
  },
  'a serializable read knows the future': (made, prng) => {
    const read = draw(prng, made.operations, (one) => one.serializable && isAnswered(one));
    const asked = made.operations.find((one) => isPut(one) && one.revision === read?.revision);
    if (read === null || asked === undefined || asked.start < 10) return false;
    return change(read, { start: asked.start - 2, end: asked.start - 1 });
  },
  'an acknowledged write is gone': (made, prng) => {
    const put = draw(prng, made.operations, isPut);
    if (put === null) return false;
    for (const watch of made.watches) {
      for (const response of watch.responses) {
        change(response, { events: response.events.filter((event) => event.kv.mod !== put.revision) });
      }
      change(watch, {
        responses: watch.responses.filter((one) => one.events.length > 0 || one.revision < put.revision),
      });
    }
    return true;
  },
  'a refused write happened': (made, prng) => {
    const put = draw(prng, made.operations, isPut);
    return put !== null && change(put, { outcome: 'failed', error: 'refused', results: [], revision: 0 });
  },
  'two writes have one revision': (made, prng) => {
    const [a, b] = [draw(prng, made.operations, isPut), draw(prng, made.operations, isPut)];
    return a !== null && b !== null && a !== b && change(a, { revision: b.revision });
  },
  'a write stands before one that had ended': (made, prng) => {
    const write = draw(
      prng,
      made.operations,
      (one) =>
        isPut(one) &&
        made.operations.some((other) => isPut(other) && other.revision > one.revision && other.end > one.end),
    );
    if (write === null) return false;
    const late = Math.max(...made.operations.filter(isAnswered).map((one) => one.end)) + 1;
    return change(write, { start: late, end: late + 1 });
  },
  'a condition was judged wrongly': (made, prng) => {
    const swap = draw(prng, made.operations, (one) => isAnswered(one) && one.compares.length > 0 && !one.succeeded);
    if (swap === null) return false;
    return change(swap, { success: swap.failure, failure: swap.success, succeeded: true });
  },
  'a write without an answer happened before it was asked for': (made, prng) => {
    const put = draw(prng, made.operations, (one) => isPut(one) && one.end < made.endedAt - 50);
    if (put === null) return false;
    return change(put, { outcome: 'unknown', start: made.endedAt + 10, end: made.endedAt + 11, results: [] });
  },
  'a term falls': (made) => {
    const last = made.operations.findLast((one) => isAnswered(one) && isLinearizable(one));
    return last !== undefined && change(last, { term: 1 });
  },
  'a watch misses an event': onEvent(({ response, index, event }, watch) => {
    if (event === placesOf(watch).at(-1)?.event && watch.responses.at(-1) === response) return false;
    return change(response, { events: response.events.filter((_one, at) => at !== index) });
  }),
  'a watch has an event twice': onEvent(({ response, event }, watch) => {
    watch.responses.splice(watch.responses.indexOf(response) + 1, 0, { ...response, events: [event] });
    return true;
  }),
  'a watch goes back': onEvent(({ response, event }, watch) => {
    const other = watch.responses.find(
      (one) => one.events.length > 0 && (one.events[0] as WatchEvent).kv.mod > event.kv.mod,
    );
    return other !== undefined && change(response, { events: [...response.events, ...other.events, event] });
  }),
  'a watch shows something else than happened': onEvent(({ response, index, event }) => {
    if (event.type === 'delete') return false;
    const events = [...response.events];
    events[index] = { ...event, kv: { ...event.kv, version: event.kv.version + 1 } };
    return change(response, { events });
  }),
  'a watch shows a wrong past': onEvent(({ response, index, event }) => {
    if (event.previous === null) return false;
    const events = [...response.events];
    events[index] = { ...event, previous: { ...event.previous, value: 'v0' } };
    return change(response, { events });
  }),
  'a watch does not show the past': onEvent(({ response, index, event }) => {
    if (event.previous === null) return false;
    const events = [...response.events];
    events[index] = { ...event, previous: null };
    return change(response, { events });
  }),
  'a bookmark overtakes an event': onEvent(({ response, event }, watch) => {
    watch.responses.splice(watch.responses.indexOf(response), 0, {
      at: response.at,
      revision: event.kv.mod,
      events: [],
    });
    return true;
  }),
  'a watch begins before what it asked for': onEvent(({ response }, watch) => {
    const first = response.events[0] as WatchEvent;
    return change(watch, { startRevision: first.kv.mod + 1 });
  }),
  'a revision comes in two parts': (made, prng) => {
    const watch = prng.pick(made.watches);
    for (const [index, response] of watch.responses.entries()) {
      const cut = response.events.findIndex((event, at) => at > 0 && event.kv.mod === response.events[at - 1]?.kv.mod);
      if (cut < 0) continue;
      watch.responses.splice(
        index,
        1,
        { ...response, events: response.events.slice(0, cut) },
        { ...response, events: response.events.slice(cut) },
      );
      return true;
    }
    return false;
  },
  'a watch is left behind': (made, prng) => {
    const watch = prng.pick(made.watches);
    return change(watch, {
      responses: watch.responses.slice(0, -1).filter((one) => one.revision < made.finalRevision),
    });
  },
  'two members sent different changes': (made, prng) => {
    const place = draw(prng, placesOf(made.watches[0] as WatchRecord), ({ event }) => event.type === 'put');
    if (place === null) return false;
    const { response, index, event } = place;
    return change(response, { events: response.events.with(index, { ...event, kv: { ...event.kv, value: 'v0' } }) });
  },
  'hashes differ': (made, prng) => {
    const hash = { type: 'hash', revision: 5, compactRevision: -1 } as const;
    made.records.push({ ...hash, member: 'm0', hash: prng.u32() }, { ...hash, member: 'm1', hash: prng.u32() });
    return true;
  },
  'a lease ends early': (made) => {
    // The last one that got a key still holds it when it ends.
    const last = placesOf(made.watches[0] as WatchRecord).findLast(({ event }) => event.kv.lease !== '0');
    const grant = made.leases.find((one) => one.lease === last?.event.kv.lease);
    return grant !== undefined && change(grant, { ttl: 1_000_000 });
  },
};

describe('histories with something wrong', () => {
  for (const [name, mutation] of Object.entries(MUTATIONS)) {
    // Goal: each kind of breach is found wherever it sits.
    it(`${name}: found`, () => {
      let made = 0;
      for (let seed = 1; seed <= 25; seed++) {
        const history = makeHistory({ seed, operations: 300, clients: 6, keys: 4, unknown: 0.03 });
        if (!mutation(history, new Prng(seed * 31))) continue;
        made++;
        const records = [...history.records, ...history.watches.filter((one) => !history.records.includes(one))];
        const { violations } = checkHistory(records, { finalRevision: history.finalRevision, leases: null });
        assert.notEqual(violations.length, 0, `seed ${seed} was accepted`);
      }
      assert.ok(made >= 5, `only ${made} histories could be turned`);
    });
  }

  // Goal: the search that ignores revisions catches on its own what can be seen without them.
  it('are found by the search over values alone', () => {
    for (const name of [
      'a read shows a value of another time',
      'a linearizable read is as old as a serializable one may be',
    ]) {
      let found = 0;
      for (let seed = 1; seed <= 25; seed++) {
        const history = makeHistory({ seed, operations: 300, clients: 6, keys: 4, unknown: 0.03 });
        if ((MUTATIONS[name] as Mutation)(history, new Prng(seed)) && checkRegisters(history.operations).length > 0)
          found++;
      }
      assert.ok(found >= 10, `${name}: ${found}`);
    }
  });
});
