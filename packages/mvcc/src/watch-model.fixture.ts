/** A store and a client as simple as can be, to test the watch hub against. */
import { inRange, type Key } from '@etsd/base';
import { type Event, KeyValue, WatchResponse } from '@etsd/proto';
import type { EventSelection } from './event.ts';
import type { PublishedChanges, WatchHub, WatchSource } from './watch-hub.ts';
import type { Watcher, WatchRequest, WatchSink, WatchStream } from './watch-stream.ts';

export interface ModelEvent {
  key: Key;
  revision: number;
  value: string | null;
  previous: string | null;
}

/** All changes ever, in one list. */
export class ModelStore implements WatchSource {
  revision = 1;
  compactRevision = -1;
  /** Records shown by `history`, to see what catching up costs. */
  historyReads = 0;
  readonly log: ModelEvent[] = [];
  private readonly current = new Map<Key, string>();
  private readonly records = new Map<Key, { revision: number; record: Buffer | null }[]>();

  /** One transaction: each pair is a put, or with null a delete of a key that must exist. */
  write(pairs: [Key, string | null][]): PublishedChanges {
    const revision = ++this.revision;
    const changes = { count: 0, keys: [] as Key[], records: [] as Buffer[], deleted: [] as boolean[] };
    for (const [key, value] of pairs) {
      const previous = this.current.get(key) ?? null;
      if (value === null) this.current.delete(key);
      else this.current.set(key, value);
      this.log.push({ key, revision, value, previous });
      const record = recordOf(key, revision, value);
      const versions = this.records.get(key) ?? [];
      versions.push({ revision, record: value === null ? null : record });
      this.records.set(key, versions);
      changes.count++;
      changes.keys.push(key);
      changes.records.push(record);
      changes.deleted.push(value === null);
    }
    return changes;
  }

  has(key: Key): boolean {
    return this.current.has(key);
  }

  recordBefore(key: Key, revision: number): Buffer | null {
    let found: Buffer | null = null;
    for (const version of this.records.get(key) ?? []) if (version.revision < revision) found = version.record;
    return found;
  }

  history(
    from: number,
    to: number,
    visit: (main: number, sub: number, isTombstone: boolean, record: Buffer) => boolean,
  ): void {
    let sub = 0;
    let last = 0;
    const first = this.firstFrom(from);
    for (let index = first; index < this.log.length; index++) {
      const event = this.log[index] as ModelEvent;
      if (event.revision > to) return;
      sub = event.revision === last ? sub + 1 : 0;
      last = event.revision;
      this.historyReads++;
      const record = event.value === null ? KeyValue.encode(KeyValue.create({ key: bytes(event.key) })) : null;
      const scratch = record ?? recordOf(event.key, event.revision, event.value);
      const goOn = visit(event.revision, sub, event.value === null, scratch);
      // A record is valid only during the visit.
      scratch.fill(0xcc);
      if (!goOn) return;
    }
  }

  private firstFrom(revision: number): number {
    let low = 0;
    let high = this.log.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.log[middle] as ModelEvent).revision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function recordOf(key: Key, revision: number, value: string | null): Buffer {
  if (value === null) return KeyValue.encode(KeyValue.create({ key: bytes(key), modRevision: revision }));
  return KeyValue.encode(KeyValue.create({ key: bytes(key), modRevision: revision, value: bytes(value) }));
}

export interface Told {
  /** Events, a progress notice, or the end by compaction. */
  kind: 'events' | 'progress' | 'compacted';
  watchId: number;
  revision: number;
  events: ModelEvent[];
  fragment: boolean;
}

/** A client that writes down what it is told. */
export class ModelClient implements WatchSink {
  readonly told: Told[] = [];
  /** Responses it takes before it no longer keeps up. */
  room = Number.POSITIVE_INFINITY;
  /** Keep views of shared bytes and decode them at the end, as a transport does which sends them later. */
  shareLate = false;
  readonly envelope: number;
  private readonly late: { told: Told; chunks: Buffer[] }[] = [];
  onEvents: (() => void) | null = null;

  constructor(envelope = 20) {
    this.envelope = envelope;
  }

  writable(): boolean {
    return this.room > 0;
  }

  envelopeSize(): number {
    return this.envelope;
  }

  events(
    watcher: Watcher,
    revision: number,
    selection: EventSelection,
    from: number,
    to: number,
    fragment: boolean,
  ): void {
    this.room--;
    const told: Told = { kind: 'events', watchId: watcher.id, revision, events: [], fragment };
    this.told.push(told);
    if (this.shareLate) {
      const chunks: Buffer[] = [];
      selection.share(from, to, chunks);
      this.late.push({ told, chunks });
    } else {
      const target = Buffer.alloc(selection.size(from, to));
      const end = selection.write(target, 0, from, to);
      if (end !== target.length) throw new Error('the size said and the bytes written differ');
      told.events = decode(target);
    }
    this.onEvents?.();
  }

  compacted(watcher: Watcher, compactRevision: number): void {
    this.told.push({
      kind: 'compacted',
      watchId: watcher.id,
      revision: compactRevision,
      events: [],
      fragment: false,
    });
  }

  progress(watchId: number, revision: number): void {
    this.told.push({ kind: 'progress', watchId, revision, events: [], fragment: false });
  }

  settle(): void {
    for (const { told, chunks } of this.late) told.events = decode(Buffer.concat(chunks));
    this.late.length = 0;
  }

  eventsOf(watchId: number): ModelEvent[] {
    return this.told.filter((told) => told.watchId === watchId).flatMap((told) => told.events);
  }
}

function decode(frames: Buffer): ModelEvent[] {
  return WatchResponse.decode(frames).events.map((event: Event) => {
    const kv = event.kv as KeyValue;
    return {
      key: kv.key.toString('latin1'),
      revision: kv.modRevision,
      value: event.type === 1 ? null : kv.value.toString('latin1'),
      previous: event.prevKv === null ? null : event.prevKv.value.toString('latin1'),
    };
  });
}

export function request(partial: Partial<WatchRequest>): WatchRequest {
  return {
    key: 'a',
    rangeEnd: '',
    startRevision: 0,
    watchId: 0,
    prevKv: false,
    noPuts: false,
    noDeletes: false,
    fragment: false,
    progressNotify: false,
    ...partial,
  };
}

/** What a watcher with this request, made when the store was at `made`, should be told of what is in `log`. */
export function expectedEvents(log: readonly ModelEvent[], wanted: WatchRequest, made: number): ModelEvent[] {
  const start = wanted.startRevision === 0 ? made + 1 : wanted.startRevision;
  return log
    .filter(
      (event) =>
        event.revision >= start &&
        inRange(event.key, wanted.key, wanted.rangeEnd) &&
        !(wanted.noPuts && event.value !== null) &&
        !(wanted.noDeletes && event.value === null),
    )
    .map((event) => ({ ...event, previous: wanted.prevKv ? event.previous : null }));
}

/** Runs catching up to its end. */
export function settle(hub: WatchHub, streams: WatchStream[] = []): void {
  for (const stream of streams) stream.drained();
  for (let rounds = 0; hub.step(); rounds++) if (rounds > 100_000) throw new Error('catching up does not end');
}
