import type { V2Request } from '@etsd/proto';
import { V2Code, V2Event, V2Failure, V2Shown } from './event.ts';
import { digestEvent, type NumberDigest } from './event-digest.ts';
import { V2History } from './history.ts';
import type { V2Node } from './node.ts';
import { V2Reading } from './reading.ts';
import { deleteEvent, putEvent, putIndex, readEvents, readIndex, type V2Backend } from './records.ts';
import { V2Stats } from './stats.ts';
import { expiryOf } from './time.ts';
import { cleanPath, V2Tree } from './tree.ts';

/** Hears of every change while it is applied. */
export interface V2Listener {
  /** `removed`: the paths of all that went with it, where something did. */
  happened(event: V2Event, removed: readonly string[]): void;
  /** Everything is another now: this member took a snapshot. */
  replaced(): void;
}

export type V2Outcome = V2Event | V2Failure;

/**
 * The key space of etcd 2: a tree of directories and keys with a counter of its own, `index`, that every change raises.
 * Changes come from the log alone, so the tree is the same on every member, those of etcd included. Nothing here reads a
 * clock but to say how many seconds something has left; it is the leader's entry SYNC that ends things.
 *
 * Changes of members and of the cluster's version count as well: in etcd they lie in the same tree, where no client sees
 * them.
 */
export class V2Store {
  listener: V2Listener | null = null;
  /** Told of every change, for what members compare. */
  digest: NumberDigest | null = null;
  /** Milliseconds of the wall clock, for the seconds that answers show. */
  nowMs: () => number = () => 0;
  readonly history = new V2History();
  readonly stats = new V2Stats();
  private readonly backend: V2Backend;
  private readonly tree: V2Tree;
  private counter = 0;

  /** `changesBefore`: how many changes lie behind a state in which nothing says so. */
  constructor(backend: V2Backend, changesBefore: () => number) {
    this.backend = backend;
    this.tree = new V2Tree(backend);
    this.read(changesBefore);
  }

  /** Of the last change. */
  get index(): number {
    return this.counter;
  }

  /** How many keys and directories have an end. */
  get expiringCount(): number {
    return this.tree.expiringCount;
  }

  /** Whether something has ended at this time and is still there. */
  hasEnded(nowMs: number): boolean {
    const next = this.tree.nextExpiring;
    return next !== undefined && next.heapKey <= nowMs * 1e6;
  }

  /** Reads what the backend says now: it was given another state. */
  reload(changesBefore: () => number): void {
    this.tree.reload();
    this.read(changesBefore);
    this.listener?.replaced();
  }

  private read(changesBefore: () => number): void {
    const kept = readIndex(this.backend);
    this.counter = kept?.index ?? changesBefore();
    const first = kept?.first ?? (this.counter === 0 ? 0 : this.counter);
    this.history.reset(first, this.counter);
    readEvents(this.backend, (event) => this.history.restore(event.index, event));
  }

  /** What is at a path, or why nothing is. */
  get(path: string, isRecursive = false): V2Node | V2Failure {
    const found = this.tree.find(cleanPath(path), this.counter);
    return this.stats.note(isRecursive ? 'recursiveGets' : 'gets', found);
  }

  /** Begins to tell of a node; `closeReading` ends it. */
  openReading(node: V2Node, isRecursive: boolean): V2Reading {
    const reading = new V2Reading(node, isRecursive, this.nowMs());
    this.tree.readings.add(reading);
    return reading;
  }

  /** It is told, or nobody listens any more. */
  closeReading(reading: V2Reading): void {
    this.tree.readings.delete(reading);
  }

  /** Changes that no client sees. */
  skip(changes: number): void {
    for (let left = changes; left > 0; left--) this.remember(null);
    putIndex(this.backend, this.counter, this.history.first);
  }

  /** Applies an entry on the keys; the path is that below `/1`. Null for what is no change of the tree. */
  apply(request: V2Request, path: string): V2Outcome | null {
    const clean = cleanPath(path);
    switch (request.method) {
      case 'PUT':
        return this.put(request, clean);
      case 'POST':
        return this.stats.note('create', this.make(request, clean, 'create', true));
      case 'DELETE':
        if (request.prevIndex > 0 || request.prevValue !== '') {
          return this.stats.note('compareAndDelete', this.compareAndDelete(request, clean));
        }
        return this.stats.note('delete', this.delete(request, clean));
      default:
        return null;
    }
  }

  /** Removes what has ended by the moment of a SYNC. */
  sync({ time }: V2Request): void {
    for (const node of this.tree.ended(time)) {
      // It may have gone with a directory that ended before.
      if (node.isRemoved) continue;
      const event = this.event('expire', node);
      event.previous = node.show(this.nowMs());
      event.node.isDir = node.isDir;
      this.stats.expirations++;
      this.tell(event, this.tree.remove(node));
    }
  }

  private put(request: V2Request, path: string): V2Outcome {
    const { prevExist, prevIndex, prevValue } = request;
    const isCompare = prevIndex > 0 || prevValue !== '';
    if (prevExist === false) return this.stats.note('create', this.make(request, path, 'create', false));
    if (isCompare) return this.stats.note('compareAndSwap', this.compareAndSwap(request, path));
    if (prevExist === true) return this.stats.note('update', this.update(request, path));
    return this.stats.note('sets', this.set(request, path));
  }

  private set(request: V2Request, path: string): V2Outcome {
    const found = this.tree.find(path, this.counter);
    if (found instanceof V2Failure) {
      if (found.code !== V2Code.KeyNotFound || request.refresh === true) return found;
      return this.make(request, path, 'set', false);
    }
    return this.make(request, path, 'set', false, found);
  }

  /** Makes a node. `before`: the one in whose place it comes. */
  private make(
    request: V2Request,
    path: string,
    action: 'create' | 'set',
    isInOrder: boolean,
    before: V2Node | null = null,
  ): V2Outcome {
    const next = this.counter + 1;
    const full = isInOrder ? cleanPath(`${path}/${String(next).padStart(20, '0')}`) : path;
    if (full === '/') return this.readOnly();
    const cut = full.lastIndexOf('/');
    const parent = this.tree.directory(full.slice(0, cut), this.counter, next);
    if (parent instanceof V2Failure) return parent;
    const present = parent.children?.get(full.slice(cut + 1));
    if (present !== undefined && (action === 'create' || present.isDir)) {
      return new V2Failure(action === 'create' ? V2Code.NodeExists : V2Code.NotFile, full, this.counter);
    }
    const isRefresh = action === 'set' && request.refresh === true;
    const value = isRefresh && before !== null ? before.value : request.val;
    const previous = before?.show(this.nowMs()) ?? null;
    const name = full.slice(cut + 1);
    const node = this.tree.add(parent, name, request.dir, request.dir ? '' : value, next, expiryOf(request.expiration));
    const event = new V2Event(action, node.show(this.nowMs()));
    event.previous = previous;
    event.isRefresh = isRefresh;
    return this.tell(event);
  }

  private update(request: V2Request, path: string): V2Outcome {
    if (path === '/') return this.readOnly();
    const found = this.tree.find(path, this.counter);
    if (found instanceof V2Failure) return found;
    if (found.isDir) {
      if (request.val !== '') return new V2Failure(V2Code.NotFile, path, this.counter);
      // etcd means to renew the time to live of a directory here, and fails over its own check, with these words.
      return new V2Failure(V2Code.RaftInternal, `nodePath /1${path} : Not a file ()`, 0);
    }
    return this.tell(this.rewritten('update', request, found));
  }

  private compareAndSwap(request: V2Request, path: string): V2Outcome {
    if (path === '/') return this.readOnly();
    const found = this.comparable(request, path);
    return found instanceof V2Failure ? found : this.tell(this.rewritten('compareAndSwap', request, found));
  }

  /** Gives a key another value, or only another end. */
  private rewritten(action: 'update' | 'compareAndSwap', request: V2Request, node: V2Node): V2Event {
    const previous = node.show(this.nowMs());
    const value = request.refresh === true ? node.value : request.val;
    this.tree.rewrite(node, value, this.counter + 1, expiryOf(request.expiration));
    const event = new V2Event(action, node.show(this.nowMs()));
    event.previous = previous;
    event.isRefresh = request.refresh === true;
    return event;
  }

  private delete(request: V2Request, path: string): V2Outcome {
    if (path === '/') return this.readOnly();
    const found = this.tree.find(path, this.counter);
    if (found instanceof V2Failure) return found;
    if (found.children !== null) {
      if (!request.dir && !request.recursive) return new V2Failure(V2Code.NotFile, path, this.counter);
      if (found.children.size > 0 && !request.recursive) {
        return new V2Failure(V2Code.DirNotEmpty, path, this.counter);
      }
    }
    return this.removed('delete', found);
  }

  private compareAndDelete(request: V2Request, path: string): V2Outcome {
    const found = this.comparable(request, path);
    return found instanceof V2Failure ? found : this.removed('compareAndDelete', found);
  }

  private removed(action: 'delete' | 'compareAndDelete', node: V2Node): V2Event {
    const event = this.event(action, node);
    event.previous = node.show(this.nowMs());
    event.node.isDir = node.isDir;
    return this.tell(event, this.tree.remove(node));
  }

  /** The key that is as the request says, or why there is none. */
  private comparable({ prevIndex, prevValue }: V2Request, path: string): V2Node | V2Failure {
    const found = this.tree.find(path, this.counter);
    if (found instanceof V2Failure) return found;
    if (found.isDir) return new V2Failure(V2Code.NotFile, path === '/' ? '' : path, this.counter);
    const causes: string[] = [];
    if (prevValue !== '' && found.value !== prevValue) causes.push(`[${prevValue} != ${found.value}]`);
    if (prevIndex > 0 && found.modified !== prevIndex) causes.push(`[${prevIndex} != ${found.modified}]`);
    return causes.length === 0 ? found : new V2Failure(V2Code.TestFailed, causes.join(' '), this.counter);
  }

  private readOnly(): V2Failure {
    return new V2Failure(V2Code.RootReadOnly, '/', this.counter);
  }

  /** Of something that is no longer there. */
  private event(action: 'delete' | 'compareAndDelete' | 'expire', node: V2Node): V2Event {
    return new V2Event(action, new V2Shown(node.path, this.counter + 1, node.created));
  }

  private tell(event: V2Event, removed: readonly string[] = []): V2Event {
    this.remember(event);
    putIndex(this.backend, this.counter, this.history.first);
    this.listener?.happened(event, removed);
    return event;
  }

  private remember(event: V2Event | null): void {
    this.counter++;
    const forgotten = this.history.add(this.counter, event);
    if (forgotten !== 0) deleteEvent(this.backend, forgotten);
    if (event === null) return;
    putEvent(this.backend, this.counter, event);
    if (this.digest !== null) digestEvent(this.digest, event);
  }
}
