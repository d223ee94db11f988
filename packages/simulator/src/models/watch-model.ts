import type { Model } from './explore.ts';

/** What a client is sent: an event, a bookmark, or the end because of a compaction, each with a revision. */
type Sent = readonly ['event' | 'bookmark' | 'compacted', revision: number];

/**
 * One watch of one client on one member, over a log that others write. Every revision is a change; `matches` says which of
 * them the watch is about.
 */
export interface WatchState {
  /** By revision, from 1: what the cluster has committed. */
  readonly matches: readonly boolean[];
  /** The member has applied so much of it. */
  readonly applied: number;
  /** Below this its history is gone. */
  readonly compacted: number;
  /** The watcher on the member: none, told as things happen, or behind and to go on from `next`. */
  readonly watcher: 'none' | 'synced' | 'behind';
  /** Behind: the next revision to look at. Synced: events before it are not wanted (the watch is on a future revision). */
  readonly next: number;
  /** On its way to the client, oldest first. */
  readonly wire: readonly Sent[];
  /** The revision it goes on from when it has to ask anew. */
  readonly resume: number;
  readonly start: number;
  /** Revisions of the events that the client got, as they came. */
  readonly got: readonly number[];
  /** It was told that everything up to here has been sent. */
  readonly vouched: number;
  /** It was told that everything before this is lost to it. */
  readonly skipped: number;
}

export interface WatchModelOptions {
  /** Revisions there will be. */
  readonly revisions: number;
  /** Messages on their way above which the client does not keep up. */
  readonly wireMax: number;
  /** The revision asked for. */
  readonly start: number;
  /** A known bug: see docs/correctness.md. */
  readonly bug?:
    | 'bookmark while behind'
    | 'back in time'
    | 'gap after compaction'
    | 'future forgotten'
    | 'bookmark of the past';
}

/** The protocol of docs/internals/watch-hub.md, as small as it can be. */
export function watchModel(options: WatchModelOptions): Model<WatchState> {
  const { revisions, wireMax, start, bug } = options;
  const initial: WatchState = {
    matches: [],
    applied: 0,
    compacted: 0,
    watcher: 'none',
    next: 0,
    wire: [],
    resume: start,
    start,
    got: [],
    vouched: 0,
    skipped: 0,
  };

  function* cluster(state: WatchState): Iterable<readonly [string, WatchState]> {
    const { matches, applied, compacted } = state;
    if (matches.length < revisions) {
      yield [`write ${matches.length + 1}, watched`, { ...state, matches: [...matches, true] }];
      yield [`write ${matches.length + 1}`, { ...state, matches: [...matches, false] }];
    }
    if (applied < matches.length) yield [`apply ${applied + 1}`, apply(state, applied + 1)];
    // A snapshot of another member jumps over what lies between: nobody is told of it as it happens.
    if (applied + 1 < matches.length) yield ['install a snapshot', install(state, matches.length)];
    for (let revision = compacted + 1; revision <= applied; revision++) {
      yield [`compact ${revision}`, { ...state, compacted: revision }];
    }
  }

  function apply(state: WatchState, revision: number): WatchState {
    const next = { ...state, applied: revision };
    if (state.watcher !== 'synced' || revision < state.next || state.matches[revision - 1] !== true) return next;
    if (state.wire.length >= wireMax) return { ...next, watcher: 'behind', next: revision };
    return { ...next, next: 0, wire: [...state.wire, ['event', revision]] };
  }

  function install(state: WatchState, applied: number): WatchState {
    const next = { ...state, applied };
    if (state.watcher !== 'synced') return next;
    if (bug === 'back in time') return { ...next, watcher: 'behind', next: Math.max(1, state.applied) };
    const isWaiting = state.next > state.applied && bug !== 'future forgotten';
    return { ...next, watcher: 'behind', next: isWaiting ? state.next : state.applied + 1 };
  }

  function* member(state: WatchState): Iterable<readonly [string, WatchState]> {
    const { watcher, next, applied, wire } = state;
    const isFree = wire.length < wireMax;
    if (watcher === 'behind') {
      if (next > applied) yield ['catches up', { ...state, watcher: 'synced', next: next > applied + 1 ? next : 0 }];
      else if (next < state.compacted) yield ['is too late', tooLate(state)];
      else if (isFree) yield [`feeds ${next}`, feed(state)];
    }
    const isTold = watcher === 'synced' && (state.next <= applied || bug === 'bookmark of the past');
    if (isFree && (isTold || (watcher === 'behind' && bug === 'bookmark while behind'))) {
      yield [`vouches for ${applied}`, { ...state, wire: [...wire, ['bookmark', applied]] }];
    }
  }

  function tooLate(state: WatchState): WatchState {
    if (bug === 'gap after compaction') return { ...state, next: state.compacted };
    return { ...state, watcher: 'none', next: 0, wire: [...state.wire, ['compacted', state.compacted]] };
  }

  function feed(state: WatchState): WatchState {
    const { next, wire } = state;
    const isWanted = state.matches[next - 1] === true;
    return { ...state, next: next + 1, wire: isWanted ? [...wire, ['event', next]] : wire };
  }

  function* client(state: WatchState): Iterable<readonly [string, WatchState]> {
    const { wire, watcher, resume, applied } = state;
    const first = wire[0];
    if (first !== undefined) yield [`gets ${first.join(' ')}`, take({ ...state, wire: wire.slice(1) }, first)];
    // The connection breaks: what was on its way is lost.
    if (watcher !== 'none') yield ['loses the connection', { ...state, watcher: 'none', next: 0, wire: [] }];
    if (watcher === 'none' && wire.length === 0) {
      const isFuture = resume > applied;
      yield [`watches from ${resume}`, { ...state, watcher: isFuture ? 'synced' : 'behind', next: resume }];
    }
  }

  function take(state: WatchState, [kind, revision]: Sent): WatchState {
    if (kind === 'event') return { ...state, got: [...state.got, revision], resume: revision + 1 };
    if (kind === 'compacted') return { ...state, skipped: revision, resume: revision };
    return { ...state, vouched: Math.max(state.vouched, revision), resume: revision + 1 };
  }

  return {
    initial,
    *steps(state) {
      yield* cluster(state);
      yield* member(state);
      yield* client(state);
    },
    broken,
    isGoal: (state) => state.matches.length === revisions && state.resume > revisions,
  };
}

/** Ordered and unique; nothing before the start; complete up to what was vouched for, but for what it was told is lost. */
function broken({ got, vouched, skipped, start, matches, resume }: WatchState): string | null {
  for (const [place, revision] of got.entries()) {
    if (revision < start) return `event ${revision} from before the start ${start}`;
    if (place > 0 && revision <= (got[place - 1] as number)) return `event ${revision} after ${got[place - 1]}`;
    if (matches[revision - 1] !== true) return `event ${revision} was not asked for`;
  }
  if (resume < start) return `goes on from ${resume}, before the start ${start}`;
  const reached = Math.max(vouched, got.at(-1) ?? 0);
  for (let revision = Math.max(start, skipped); revision <= reached; revision++) {
    if (matches[revision - 1] === true && !got.includes(revision))
      return `event ${revision} is missing up to ${reached}`;
  }
  return null;
}
