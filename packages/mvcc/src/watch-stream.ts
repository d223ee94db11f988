/** Watchers and the streams they belong to: what a client asked for and how far it has been told. */
import type { HeapNode, Key } from '@etsd/base';
import { type EventSelection, WANTS_NO_DELETES, WANTS_NO_PUTS, WANTS_PREVIOUS } from './event.ts';
import type { WatchedRange } from './watcher-group.ts';

/** What a client asks of a new watcher. */
export interface WatchRequest {
  key: Key;
  /** In etcd's convention: empty for the single key, one zero byte for no end. */
  rangeEnd: Key;
  /** The first revision of interest; 0 for the next one. */
  startRevision: number;
  /** 0 to have one chosen. */
  watchId: number;
  prevKv: boolean;
  noPuts: boolean;
  noDeletes: boolean;
  /** Split responses over the size limit, between events. */
  fragment: boolean;
  progressNotify: boolean;
}

/**
 * Where a stream's responses go. All calls are synchronous, and what they are shown is valid only until they return.
 * None of them may create or cancel watchers; closing the stream is allowed.
 */
export interface WatchSink {
  /** Whether the client keeps up. After `false`, `WatchStream.drained` has to be called once it does again. */
  writable(): boolean;
  /** Bytes of a response of this watcher beside its events. */
  envelopeSize(watcher: Watcher, revision: number): number;
  /** One response with the chosen events [from, to); `fragment` where more of the same answer follows. */
  events(
    watcher: Watcher,
    revision: number,
    selection: EventSelection,
    from: number,
    to: number,
    fragment: boolean,
  ): void;
  /** The watcher is over, because it needs history before `compactRevision`. */
  compacted(watcher: Watcher, compactRevision: number): void;
  /** Everything up to `revision` has been told; to one watcher, or with −1 to all of the stream. */
  progress(watchId: number, revision: number): void;
}

/** Why a watcher was refused, in etcd's words. */
export const REASON_EMPTY_RANGE = 'mvcc: watcher range is empty';
export const REASON_DUPLICATE_ID = 'mvcc: duplicate watch ID provided on the WatchStream';
export const REASON_COMPACTED = 'etcdserver: mvcc: required revision has been compacted';

/**
 * The life of a watcher:
 * ```
 * create ──► SYNCED ◄───────────── caught up ──────────── CATCHING_UP ──► compacted ──► OVER
 *    │          └── client does not keep up ──► BLOCKED ──drained──►│ ▲                  ▲
 *    └────────────── start in the past ─────────────────────────────┴─┘      cancel ─────┘
 * ```
 */
export const SYNCED = 0;
export const CATCHING_UP = 1;
export const BLOCKED = 2;
export const OVER = 3;

export class Watcher implements HeapNode {
  readonly id: number;
  readonly stream: WatchStream;
  readonly range: WatchedRange<Watcher>;
  /** Which events, with or without previous value: `WANTS_…`. */
  readonly variant: number;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  state: number = OVER;
  /**
   * Events before this revision are not told (any more). Kept up to date only while behind: a synced watcher has been
   * told everything, or waits for a revision of the future.
   */
  heapKey: number;
  heapIndex = -1;
  /** Place among the range's synced watchers, or among the stream's blocked ones. */
  place = -1;
  /** Told nothing since the last round of progress notices. */
  quiet = true;

  constructor(stream: WatchStream, id: number, range: WatchedRange<Watcher>, request: WatchRequest) {
    this.stream = stream;
    this.id = id;
    this.range = range;
    this.variant =
      (request.prevKv ? WANTS_PREVIOUS : 0) |
      (request.noPuts ? WANTS_NO_PUTS : 0) |
      (request.noDeletes ? WANTS_NO_DELETES : 0);
    this.fragment = request.fragment;
    this.progressNotify = request.progressNotify;
    this.heapKey = request.startRevision;
  }
}

/** What a stream needs of the hub. */
export interface StreamOwner {
  /** Everything up to here has been told to the synced watchers. */
  readonly revision: number;
  create(stream: WatchStream, request: WatchRequest): Watcher | string;
  cancel(watcher: Watcher): void;
  unblock(stream: WatchStream): void;
  closeStream(stream: WatchStream): void;
}

/** The watchers of one client stream. Made by `WatchHub.open`. */
export class WatchStream {
  readonly sink: WatchSink;
  closed = false;
  /** By id; those that are over because of a compaction stay until the client cancels them. */
  readonly watchers = new Map<number, Watcher>();
  readonly blocked: Watcher[] = [];
  /** Watchers that are not over. */
  live = 0;
  /** Watchers that are catching up or blocked. */
  behind = 0;
  /** The highest start revision ever asked for. */
  highestStart = 0;
  private readonly hub: StreamOwner;
  private nextId = 0;

  constructor(hub: StreamOwner, sink: WatchSink) {
    this.hub = hub;
    this.sink = sink;
  }

  /**
   * A new watcher, or the reason why not. Nothing is told before the caller comes back to the hub, so that the
   * response which announces the watcher can go first.
   */
  create(request: WatchRequest): Watcher | string {
    return this.hub.create(this, request);
  }

  /** Ends a watcher; false where there is none of that id. */
  cancel(id: number): boolean {
    const watcher = this.watchers.get(id);
    if (watcher === undefined) return false;
    this.hub.cancel(watcher);
    return true;
  }

  /** The client keeps up again: its blocked watchers may catch up. */
  drained(): void {
    if (this.blocked.length > 0) this.hub.unblock(this);
  }

  /** Answers with the revision told so far, but only where no watcher is behind or waits for the future. */
  requestProgress(): void {
    if (this.live === 0 || this.behind > 0) return;
    const revision = this.hub.revision;
    if (this.highestStart > revision) {
      for (const watcher of this.watchers.values()) {
        if (watcher.state === SYNCED && watcher.heapKey > revision) return;
      }
    }
    this.sink.progress(-1, revision);
  }

  /** The periodic notice, for each watcher that asked for it and was told nothing since the last round. */
  progressTick(): void {
    const revision = this.hub.revision;
    for (const watcher of this.watchers.values()) {
      if (!watcher.progressNotify || watcher.state === OVER) continue;
      const due = watcher.quiet && watcher.state === SYNCED && watcher.heapKey <= revision;
      watcher.quiet = true;
      if (due && !this.closed && this.sink.writable()) this.sink.progress(watcher.id, revision);
    }
  }

  /** Ends all watchers. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.hub.closeStream(this);
  }

  /** The id of a new watcher. */
  takeId(wished: number): number {
    if (wished !== 0) return wished;
    while (this.watchers.has(this.nextId)) this.nextId++;
    return this.nextId++;
  }
}
