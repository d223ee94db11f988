import assert from 'node:assert/strict';
import { it } from 'node:test';
import { OPEN_END, Prng } from '@etsd/base';
import { WatchHub } from './watch-hub.ts';
import { expectedEvents, ModelClient, ModelStore, request, settle, type Told } from './watch-model.fixture.ts';
import { OVER, type Watcher, type WatchRequest, type WatchStream } from './watch-stream.ts';

const seed = Number(process.env['SEED'] ?? 20261121);
const runs = Number(process.env['RUNS'] ?? 30);

interface Made {
  watcher: Watcher;
  wanted: WatchRequest;
  made: number;
  client: ModelClient;
  /** Answers its client had got before it was made. */
  toldBefore: number;
}

const KEYS = ['a', 'aa', 'ab', 'b', 'c', '\0', 'ÿ'];
const ENDS = ['', '', OPEN_END, 'b', 'c', 'zz'];

class Run {
  readonly random: Prng;
  readonly store = new ModelStore();
  readonly hub: WatchHub;
  readonly streams: WatchStream[] = [];
  readonly clients: ModelClient[] = [];
  readonly made: Made[] = [];

  constructor(runSeed: number) {
    this.random = new Prng(runSeed);
    this.hub = new WatchHub(this.store, { fragmentBytes: 60 + this.random.below(400), wake: () => {} });
    for (let count = 1 + this.random.below(5); count > 0; count--) {
      const client = new ModelClient();
      client.shareLate = this.random.below(3) === 0;
      this.clients.push(client);
      this.streams.push(this.hub.open(client));
    }
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)] as T;
  }

  write(): void {
    const pairs = new Map<string, string | null>();
    for (let count = 1 + this.random.below(4); count > 0; count--) {
      const key = this.pick(KEYS);
      const isDelete = this.store.has(key) && this.random.below(3) === 0;
      pairs.set(key, isDelete ? null : 'v'.repeat(this.random.below(60)) + this.random.below(1000));
    }
    this.hub.changed(this.store.revision + 1, this.store.write([...pairs]));
  }

  create(): void {
    const place = this.random.below(this.streams.length);
    const client = this.clients[place] as ModelClient;
    const bit = (): boolean => this.random.below(3) === 0;
    const wanted = request({
      key: this.pick(KEYS),
      rangeEnd: this.pick(ENDS),
      startRevision: bit() ? 0 : Math.max(0, this.store.revision + 5 - this.random.below(40)),
      prevKv: bit(),
      noPuts: this.random.below(8) === 0,
      noDeletes: this.random.below(8) === 0,
      fragment: bit(),
    });
    const watcher = (this.streams[place] as WatchStream).create(wanted);
    if (typeof watcher === 'string') return;
    this.made.push({ watcher, wanted, made: this.store.revision, client, toldBefore: client.told.length });
  }

  act(): void {
    const dice = this.random.below(100);
    const place = this.random.below(this.streams.length);
    if (dice < 50) this.write();
    else if (dice < 58) this.create();
    else if (dice < 72) this.hub.step(1 + this.random.below(60));
    else if (dice < 80) (this.clients[place] as ModelClient).room = this.random.below(6);
    else if (dice < 90) this.open(place);
    else if (dice < 93) this.compact();
    else if (dice < 96) (this.streams[place] as WatchStream).requestProgress();
    else if (dice < 97 && this.made.length > 0) {
      const { watcher } = this.pick(this.made);
      watcher.stream.cancel(watcher.id);
    }
  }

  open(place: number): void {
    (this.clients[place] as ModelClient).room = Number.POSITIVE_INFINITY;
    (this.streams[place] as WatchStream).drained();
  }

  compact(): void {
    const from = Math.max(this.store.compactRevision, 1);
    this.store.compactRevision = from + this.random.below(this.store.revision - from + 1);
  }

  finish(): void {
    for (let place = 0; place < this.streams.length; place++) this.open(place);
    settle(this.hub);
    for (const client of this.clients) client.settle();
  }
}

/** Watch ids may be used again after a cancel, so the answers of a watcher are those up to its end. */
function checkWatcher(run: Run, one: Made): void {
  const told = one.client.told.filter((entry) => entry.watchId === one.watcher.id);
  const events = told.flatMap((entry) => entry.events);
  const expected = expectedEvents(run.store.log, one.wanted, one.made);
  const end = told.find((entry) => entry.kind === 'compacted');
  if (one.watcher.state !== OVER) {
    assert.equal(end, undefined);
    assert.equal(events.length, expected.length);
  }
  for (let place = 0; place < events.length; place++) {
    const want = expected[place];
    const got = events[place];
    // A previous value may be compacted away by the time a slow watcher hears of the event.
    if (want !== undefined && got?.previous === null && want.revision - 1 < run.store.compactRevision) {
      assert.deepEqual({ ...got, previous: null }, { ...want, previous: null });
    } else {
      assert.deepEqual(got, want);
    }
  }
  if (end !== undefined) assert.equal(told.at(-1), end, 'nothing follows the end');
  checkAtomic(told);
}

function checkAtomic(told: Told[]): void {
  let last = 0;
  let isFragment = false;
  for (const entry of told) {
    for (let place = 0; place < entry.events.length; place++) {
      const revision = entry.events[place]?.revision as number;
      if (place > 0 || isFragment) assert.ok(revision >= last);
      else assert.ok(revision > last, 'a revision is never split over responses');
      assert.ok(revision <= entry.revision, 'the header is not behind the events');
      last = revision;
    }
    isFragment = entry.fragment;
  }
}

/** A notice for the whole stream promises that its watchers will hear of nothing up to that revision any more. */
function checkProgress(one: Made): void {
  let promised = 0;
  for (const entry of one.client.told.slice(one.toldBefore)) {
    if (entry.kind === 'progress') promised = entry.revision;
    if (entry.watchId !== one.watcher.id) continue;
    for (const event of entry.events) assert.ok(event.revision > promised, `${event.revision} after ${promised}`);
  }
}

it('every watcher is told exactly its events, once, in order, whole revisions at a time', () => {
  // Method: random writes, watchers, slow clients, compactions and slices, compared with a list of all changes.
  console.log(`seed ${seed}, ${runs} runs`);
  for (let number = 0; number < runs; number++) {
    const run = new Run(seed + number);
    for (let round = 0; round < 600; round++) run.act();
    run.finish();
    try {
      for (const one of run.made) {
        checkWatcher(run, one);
        checkProgress(one);
      }
    } catch (error) {
      console.log(`failed with SEED=${seed + number} RUNS=1`);
      throw error;
    }
  }
});
