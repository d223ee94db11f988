/**
 * The watch hub: tells watchers of changes, every event once, in the order of revisions, a revision never torn apart.
 *
 * Whoever keeps up is *synced* and is told within the write itself; such a watcher costs one copy of bytes that are
 * encoded once. Whoever does not keep up, or starts in the past, only remembers its next revision and is fed from
 * history in slices: all watchers behind lie in a heap by that revision, a window of history is read once and serves
 * everybody whose next revision lies in it. So a slow reader costs the writer nothing and memory next to nothing.
 *
 * Pure and without a clock: `step` does a slice of catching up whenever the owner finds time, and `wake` asks for it.
 */
import { assert, Heap, isEmptyRange, type Key } from '@etsd/base';
import { EventBatch, EventSelection, keyOfRecord, type PreviousSource, VARIANTS } from './event.ts';
import {
  BLOCKED,
  CATCHING_UP,
  OVER,
  REASON_COMPACTED,
  REASON_DUPLICATE_ID,
  REASON_EMPTY_RANGE,
  type StreamOwner,
  SYNCED,
  Watcher,
  type WatchRequest,
  type WatchSink,
  WatchStream,
} from './watch-stream.ts';
import { type WatchedRange, WatcherIndex } from './watcher-group.ts';

/** What the hub needs of the store. */
export interface WatchSource extends PreviousSource {
  readonly revision: number;
  /** Shows all records of [from, to] in order until `visit` says false; a record is valid only during the visit. */
  history(
    fromRevision: number,
    toRevision: number,
    visit: (main: number, sub: number, isTombstone: boolean, record: Buffer) => boolean,
  ): void;
}

/** The changes of one revision, in order; valid only during the call. */
export interface PublishedChanges {
  readonly count: number;
  readonly keys: ArrayLike<Key>;
  /** Encoded KeyValues; not looked at for deletes. */
  readonly records: ArrayLike<Buffer>;
  readonly deleted: ArrayLike<boolean | number>;
}

export interface WatchHubOptions {
  /** Responses of a watcher that asked for fragments are split from this size on, in bytes. */
  fragmentBytes: number;
  /** Called when there is catching up to do and nobody has been asked since `step` last said it was done. */
  wake: () => void;
}

/** A window of history ends with the revision in which it reaches one of these. */
const WINDOW_RECORDS = 1000;
const WINDOW_BYTES = 256 * 1024;

/** Watchers told within one write; whoever is left is fed from history like those behind, a slice at a time. */
export const TOLD_AT_ONCE_MAX = 8192;

/** Costs of the parts of catching up, in units of about a microsecond. */
const COST_RECORD = 2;
const COST_SELECT_EVENTS = 64;
const COST_WATCHER = 2;
const COST_BYTES = 2048;
/** A slice of catching up: about two milliseconds. */
export const SLICE_COST = 2000;

export class WatchHub implements StreamOwner {
  /** Everything up to here has been told to the synced watchers. */
  revision: number;
  watcherCount = 0;
  streamCount = 0;
  /** Watchers that are not synced. */
  slowCount = 0;
  /** Events handed to watchers since the start. */
  eventsTotal = 0;

  private readonly source: WatchSource;
  private readonly options: WatchHubOptions;
  private readonly index = new WatcherIndex<Watcher>();

  // Publishing: all reused.
  private readonly batch = new EventBatch();
  private readonly selections: EventSelection[] = [];
  private readonly found: WatchedRange<Watcher>[] = [];
  private readonly touched: WatchedRange<Watcher>[] = [];
  private serial = 0;
  private toldLeft = 0;
  /** Telling is under way: streams that close meanwhile are taken apart afterwards. */
  private telling = false;
  private readonly closing: WatchStream[] = [];

  // Catching up.
  private readonly behind = new Heap<Watcher>();
  private readonly window = new EventBatch();
  private windowFrom = 1;
  /** The last revision that the window holds whole; before `windowFrom` where there is no window. */
  private windowTo = 0;
  private windowCut = false;
  private readonly windowSelections = new Map<WatchedRange<Watcher>, (EventSelection | null)[]>();
  private windowKeys: Map<Key, number[]> | null = null;
  private awake = false;

  constructor(source: WatchSource, options: WatchHubOptions) {
    this.source = source;
    this.options = options;
    this.revision = source.revision;
    for (let variant = 0; variant < VARIANTS; variant++) this.selections.push(new EventSelection(this.batch));
  }

  /** How many revisions the watcher that is furthest behind has not been told of; 0 where nobody is behind. */
  get lag(): number {
    const last = this.behind.peek();
    return last === undefined ? 0 : Math.max(0, this.revision + 1 - last.heapKey);
  }

  open(sink: WatchSink): WatchStream {
    this.streamCount++;
    return new WatchStream(this, sink);
  }

  /** Tells the synced watchers of a new revision. */
  changed(revision: number, changes: PublishedChanges): void {
    this.revision = revision;
    if (this.index.size === 0) return;
    const batch = this.batch;
    const { found, touched } = this;
    const serial = ++this.serial;
    let touchedCount = 0;
    batch.clear();
    for (let change = 0; change < changes.count; change++) {
      const key = changes.keys[change] as Key;
      const foundCount = this.index.collect(key, found);
      let place = -1;
      for (let at = 0; at < foundCount; at++) {
        const range = found[at] as WatchedRange<Watcher>;
        if (range.synced.length === 0) continue;
        if (place < 0) {
          place = batch.count;
          if (changes.deleted[change]) batch.addDelete(key, revision);
          else batch.addPut(key, revision, changes.records[change] as Buffer);
        }
        if (range.mark !== serial) {
          range.mark = serial;
          range.matches.length = 0;
          touched[touchedCount++] = range;
        }
        range.matches.push(place);
      }
    }
    if (touchedCount === 0) return;
    this.telling = true;
    this.toldLeft = TOLD_AT_ONCE_MAX;
    for (let at = 0; at < touchedCount; at++) this.tell(touched[at] as WatchedRange<Watcher>, revision);
    this.told();
  }

  private tell(range: WatchedRange<Watcher>, revision: number): void {
    const { synced, matches } = range;
    let selected = 0;
    // From the end: a watcher that falls behind leaves its place to one that was told already.
    for (let at = synced.length - 1; at >= 0; at--) {
      const watcher = synced[at] as Watcher;
      const stream = watcher.stream;
      if (watcher.heapKey > revision || stream.closed) continue;
      const variant = watcher.variant;
      const selection = this.selections[variant] as EventSelection;
      if ((selected & (1 << variant)) === 0) {
        selected |= 1 << variant;
        selection.clear(this.batch);
        for (let index = 0; index < matches.length; index++) {
          selection.add(matches[index] as number, variant, this.source);
        }
      }
      if (selection.count === 0) continue;
      if (!stream.sink.writable()) {
        this.fallBehind(watcher, revision);
        this.block(watcher);
      } else if (this.toldLeft-- > 0) {
        this.send(watcher, revision, selection, 0);
      } else {
        this.fallBehind(watcher, revision);
        this.catchUp(watcher);
      }
    }
  }

  /** Sends the events from place `from` on in one response, or in several where the watcher asked for that. */
  private send(watcher: Watcher, revision: number, selection: EventSelection, from: number): void {
    const sink = watcher.stream.sink;
    const count = selection.count;
    watcher.quiet = false;
    this.eventsTotal += count - from;
    if (watcher.fragment && count - from > 1) {
      const room = this.options.fragmentBytes - sink.envelopeSize(watcher, revision);
      if (selection.size(from, count) >= room) {
        this.sendFragments(watcher, revision, selection, from, room);
        return;
      }
    }
    sink.events(watcher, revision, selection, from, count, false);
  }

  private sendFragments(
    watcher: Watcher,
    revision: number,
    selection: EventSelection,
    from: number,
    room: number,
  ): void {
    const sink = watcher.stream.sink;
    const count = selection.count;
    // The mark of a fragment takes two bytes itself.
    const limit = room - 2;
    let start = from;
    while (start < count) {
      let end = start + 1;
      let bytes = selection.size(start, end);
      while (end < count) {
        const more = selection.size(end, end + 1);
        if (bytes + more >= limit) break;
        bytes += more;
        end++;
      }
      sink.events(watcher, revision, selection, start, end, end < count);
      start = end;
    }
  }

  private told(): void {
    this.telling = false;
    while (this.closing.length > 0) this.takeApart(this.closing.pop() as WatchStream);
  }

  // -- watchers -------------------------------------------------------------------------------------------------------

  /** See `WatchStream.create`. */
  create(stream: WatchStream, request: WatchRequest): Watcher | string {
    assert(!this.telling, 'no watcher is made while others are told');
    const { key, rangeEnd, startRevision } = request;
    if (startRevision < 0) return REASON_COMPACTED;
    if (isEmptyRange(key, rangeEnd)) return REASON_EMPTY_RANGE;
    if (request.watchId !== 0 && stream.watchers.has(request.watchId)) return REASON_DUPLICATE_ID;
    const range = this.index.acquire(key, rangeEnd);
    const watcher = new Watcher(stream, stream.takeId(request.watchId), range, request);
    stream.watchers.set(watcher.id, watcher);
    stream.live++;
    if (startRevision > stream.highestStart) stream.highestStart = startRevision;
    this.watcherCount++;
    if (startRevision === 0 || startRevision > this.revision) {
      watcher.state = SYNCED;
      range.addSynced(watcher);
    } else {
      stream.behind++;
      this.slowCount++;
      this.catchUp(watcher);
    }
    return watcher;
  }

  /** See `WatchStream.cancel`. */
  cancel(watcher: Watcher): void {
    assert(!this.telling, 'no watcher is cancelled while others are told');
    watcher.stream.watchers.delete(watcher.id);
    this.retire(watcher);
  }

  /** See `WatchStream.close`. */
  closeStream(stream: WatchStream): void {
    this.streamCount--;
    if (this.telling) this.closing.push(stream);
    else this.takeApart(stream);
  }

  private takeApart(stream: WatchStream): void {
    for (const watcher of stream.watchers.values()) this.retire(watcher);
    stream.watchers.clear();
  }

  /** Takes a watcher out of wherever it is. */
  private retire(watcher: Watcher): void {
    if (watcher.state === OVER) return;
    if (watcher.state === SYNCED) {
      watcher.range.removeSynced(watcher);
    } else {
      if (watcher.state === BLOCKED) this.leaveBlocked(watcher);
      else this.behind.remove(watcher);
      watcher.stream.behind--;
      this.slowCount--;
    }
    watcher.state = OVER;
    watcher.stream.live--;
    this.watcherCount--;
    this.index.release(watcher.range);
  }

  private fallBehind(watcher: Watcher, nextRevision: number): void {
    watcher.range.removeSynced(watcher);
    watcher.heapKey = nextRevision;
    watcher.stream.behind++;
    this.slowCount++;
  }

  private block(watcher: Watcher): void {
    const blocked = watcher.stream.blocked;
    watcher.state = BLOCKED;
    watcher.place = blocked.length;
    blocked.push(watcher);
  }

  private leaveBlocked(watcher: Watcher): void {
    const blocked = watcher.stream.blocked;
    const last = blocked.pop() as Watcher;
    if (last !== watcher) {
      blocked[watcher.place] = last;
      last.place = watcher.place;
    }
    watcher.place = -1;
  }

  private catchUp(watcher: Watcher): void {
    watcher.state = CATCHING_UP;
    this.behind.push(watcher);
    if (this.awake) return;
    this.awake = true;
    this.options.wake();
  }

  private becomeSynced(watcher: Watcher): void {
    watcher.state = SYNCED;
    // From now on it waits for nothing, unless it was asked to start further on: progress is asked of it at once.
    if (watcher.heapKey <= this.revision + 1) watcher.heapKey = 0;
    watcher.stream.behind--;
    this.slowCount--;
    watcher.range.addSynced(watcher);
  }

  /** See `WatchStream.drained`. */
  unblock(stream: WatchStream): void {
    if (stream.closed) return;
    const blocked = stream.blocked;
    while (blocked.length > 0) {
      const watcher = blocked.pop() as Watcher;
      watcher.place = -1;
      this.catchUp(watcher);
    }
  }

  // -- catching up ----------------------------------------------------------------------------------------------------

  /** Feeds watchers that are behind for about `cost` microseconds; whether there is more to do. */
  step(cost: number = SLICE_COST): boolean {
    let left = cost;
    let watcher = this.behind.peek();
    while (watcher !== undefined && left > 0) {
      this.telling = true;
      left -= this.feed(watcher);
      this.told();
      watcher = this.behind.peek();
    }
    if (this.behind.size === 0) {
      this.awake = false;
      this.dropWindow();
    }
    return this.awake;
  }

  /** Brings the watcher with the oldest need to the end of a window; returns what that cost. */
  private feed(watcher: Watcher): number {
    const stream = watcher.stream;
    const next = watcher.heapKey;
    let cost = COST_WATCHER;
    this.behind.remove(watcher);
    if (next > this.revision) {
      this.becomeSynced(watcher);
      return cost;
    }
    if (next < this.source.compactRevision) {
      this.retire(watcher);
      stream.sink.compacted(watcher, this.source.compactRevision);
      return cost;
    }
    if (!stream.sink.writable()) {
      this.block(watcher);
      return cost;
    }
    if (next < this.windowFrom || next > this.windowTo) {
      this.readWindow(next);
      cost += this.window.count * COST_RECORD;
    }
    const selection = this.select(watcher.range, watcher.variant);
    cost += this.selectionCost;
    const from = selection.firstFrom(next);
    // Where this empties the stream's patience, the next round finds out.
    watcher.heapKey = this.windowTo + 1;
    if (watcher.heapKey > this.revision) this.becomeSynced(watcher);
    else this.behind.push(watcher);
    if (from < selection.count) {
      cost += selection.size(from, selection.count) / COST_BYTES;
      this.send(watcher, this.revision, selection, from);
    }
    return cost;
  }

  private selectionCost = 0;

  private select(range: WatchedRange<Watcher>, variant: number): EventSelection {
    let variants = this.windowSelections.get(range);
    if (variants === undefined) {
      variants = new Array<EventSelection | null>(VARIANTS).fill(null);
      this.windowSelections.set(range, variants);
    }
    const known = variants[variant] as EventSelection | null;
    this.selectionCost = 0;
    if (known !== null) return known;
    const window = this.window;
    const selection = new EventSelection(window);
    if (range.isSingleKey) {
      const places = this.placesOf(range.key);
      for (let index = 0; index < places.length; index++) selection.add(places[index] as number, variant, this.source);
    } else {
      for (let place = 0; place < window.count; place++) {
        if (range.covers(window.keys[place] as Key)) selection.add(place, variant, this.source);
      }
      this.selectionCost = window.count / COST_SELECT_EVENTS;
    }
    variants[variant] = selection;
    return selection;
  }

  private placesOf(key: Key): readonly number[] {
    let byKey = this.windowKeys;
    if (byKey === null) {
      byKey = new Map<Key, number[]>();
      const keys = this.window.keys;
      for (let place = 0; place < this.window.count; place++) {
        const known = byKey.get(keys[place] as Key);
        if (known === undefined) byKey.set(keys[place] as Key, [place]);
        else known.push(place);
      }
      this.windowKeys = byKey;
    }
    return byKey.get(key) ?? NO_PLACES;
  }

  private readWindow(from: number): void {
    this.dropWindow();
    this.windowCut = false;
    this.windowFrom = from;
    this.source.history(from, this.revision, this.visit);
    this.windowTo = this.windowCut ? (this.window.revisions[this.window.count - 1] as number) : this.revision;
  }

  /** Takes one record into the window; made once, so that reading history makes no closures. */
  private readonly visit = (main: number, _sub: number, isTombstone: boolean, record: Buffer): boolean => {
    const window = this.window;
    const isFull = window.count >= WINDOW_RECORDS || window.bytes >= WINDOW_BYTES;
    if (isFull && main !== window.revisions[window.count - 1]) {
      this.windowCut = true;
      return false;
    }
    const key = keyOfRecord(record);
    if (isTombstone) window.addDelete(key, main);
    else window.addPut(key, main, record);
    return true;
  };

  private dropWindow(): void {
    this.window.clear();
    this.windowSelections.clear();
    this.windowKeys = null;
    this.windowFrom = 1;
    this.windowTo = 0;
  }

  /**
   * The store was replaced by a snapshot of a later state, without its changes having been published: whoever was
   * synced has to look up in history what happened meanwhile.
   */
  storeReplaced(): void {
    const told = this.revision;
    this.revision = this.source.revision;
    this.dropWindow();
    this.index.forEach((range) => {
      while (range.synced.length > 0) {
        const watcher = range.synced[range.synced.length - 1] as Watcher;
        range.removeSynced(watcher);
        if (watcher.heapKey <= told) watcher.heapKey = told + 1;
        watcher.stream.behind++;
        this.slowCount++;
        this.catchUp(watcher);
      }
    });
  }
}

const NO_PLACES: readonly number[] = [];
