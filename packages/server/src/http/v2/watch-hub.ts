import { eventJson, type V2Event, V2Failure, type V2History, type V2Listener } from '@etsd/state';

/** Who waits for changes of a key. */
export interface V2Watcher {
  /** From the root of the keys. */
  readonly key: string;
  readonly isRecursive: boolean;
  /** It is told of more than one change. */
  readonly isStream: boolean;
  /** The first change it may be told of. */
  since: number;
  /** Told of one; false where it can not be told any more. */
  tell(json: string): boolean;
  /** There is nothing more to be told. */
  end(): void;
}

/** Tells those who wait of changes as they happen, by the paths they wait at. */
export class V2WatchHub implements V2Listener {
  private readonly byKey = new Map<string, Set<V2Watcher>>();
  private readonly history: V2History;
  private watchers = 0;

  constructor(history: V2History) {
    this.history = history;
  }

  get size(): number {
    return this.watchers;
  }

  /** Tells of what has happened from `since` on; who wants more waits for it. A failure where that is forgotten. */
  add(watcher: V2Watcher): V2Failure | null {
    const failure = this.catchUp(watcher);
    if (failure !== null) return failure === DONE ? null : failure;
    let waiting = this.byKey.get(watcher.key);
    if (waiting === undefined) {
      waiting = new Set();
      this.byKey.set(watcher.key, waiting);
    }
    waiting.add(watcher);
    this.watchers++;
    return null;
  }

  remove(watcher: V2Watcher): void {
    const waiting = this.byKey.get(watcher.key);
    if (waiting?.delete(watcher) !== true) return;
    this.watchers--;
    if (waiting.size === 0) this.byKey.delete(watcher.key);
  }

  happened(event: V2Event, removed: readonly string[]): void {
    if (event.isRefresh || this.watchers === 0) return;
    const { key } = event.node;
    const news = new News(event);
    // Whoever waits for something in a directory hears that it is gone, also who waits for that alone.
    for (const path of removed) if (path !== key) this.tellAll(path, true, news);
    this.tellAll('/', key === '/', news);
    for (let slash = key.indexOf('/', 1); slash > 0; slash = key.indexOf('/', slash + 1)) {
      this.tellAll(key.slice(0, slash), false, news);
    }
    this.tellAll(key, true, news);
  }

  private tellAll(path: string, isItself: boolean, news: News): void {
    const waiting = this.byKey.get(path);
    if (waiting === undefined) return;
    const { event } = news;
    if (!isItself && isHiddenBelow(path, event.node.key)) return;
    for (const watcher of [...waiting]) {
      if ((isItself || watcher.isRecursive) && event.index >= watcher.since) this.tell(watcher, news);
    }
  }

  /** False where the watcher has what it wanted, or is gone. */
  private tell(watcher: V2Watcher, news: News): boolean {
    watcher.since = news.event.index + 1;
    const isTold = watcher.tell(news.json);
    if (isTold && watcher.isStream) return true;
    this.remove(watcher);
    watcher.end();
    return false;
  }

  private catchUp(watcher: V2Watcher): V2Failure | null {
    for (;;) {
      const found = this.history.find(watcher.key, watcher.isRecursive, watcher.since);
      if (found === null || found instanceof V2Failure) return found;
      if (!this.tell(watcher, new News(found))) return DONE;
    }
  }

  /** This member took a snapshot: what happened in between is looked up, or nobody can tell. */
  replaced(): void {
    for (const waiting of [...this.byKey.values()]) {
      for (const watcher of [...waiting]) {
        const failure = this.catchUp(watcher);
        if (failure === null || failure === DONE) continue;
        this.remove(watcher);
        watcher.end();
      }
    }
  }

  /** Ends all. */
  close(): void {
    for (const waiting of [...this.byKey.values()]) {
      for (const watcher of [...waiting]) {
        this.remove(watcher);
        watcher.end();
      }
    }
  }
}

/** The watcher had what it wanted. */
const DONE = new V2Failure(0, '', 0);

/** An event, its text made once. */
class News {
  readonly event: V2Event;
  private text: string | null = null;

  constructor(event: V2Event) {
    this.event = event;
  }

  get json(): string {
    this.text ??= `${eventJson(this.event)}\n`;
    return this.text;
  }
}

/** Whether a name between the place and the key begins with `_`. */
function isHiddenBelow(place: string, key: string): boolean {
  return key.slice(place === '/' ? 0 : place.length).includes('/_');
}
