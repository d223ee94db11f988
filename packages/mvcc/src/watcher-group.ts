/**
 * Which watchers want to know of a change of this key? Watchers of the same range share one `WatchedRange`; single keys
 * are found through a map, ranges through a balanced tree that knows for each subtree how far its ranges reach, and the
 * ranges over everything need no search at all. Nothing here ever walks over all watchers.
 *
 * ```
 *                     [f, k) reach p            each node: one range, its subtree's farthest end
 *                    /            \             a key goes left while anything there reaches beyond it,
 *          [a, p) reach p     [m, n) reach n    and right while ranges there begin at or before it
 * ```
 */
import { assert, type Key, OPEN_END } from '@etsd/base';

/** Greater than every key: keys have only characters up to U+00FF. */
const INFINITY: Key = '\uffff';

/** What a range needs to know of its watchers. */
export interface Placed {
  /** Place among the range's synced watchers; written by the range while the watcher is one of them. */
  place: number;
}

/** One range that at least one watcher watches, and its synced watchers. */
export class WatchedRange<W extends Placed> {
  readonly key: Key;
  /** As etcd writes it: empty for the single key, one zero byte for no end. */
  readonly rangeEnd: Key;
  /** The first key behind the range; above every key where there is no end. */
  readonly end: Key;
  /** Watchers that are told of changes as they happen, densely. */
  readonly synced: W[] = [];
  /** Watchers of this range, synced or not. */
  watchers = 0;
  /** Places of this range's events in the batch being published, where `mark` is that batch's number. */
  readonly matches: number[] = [];
  mark = 0;

  left: WatchedRange<W> | null = null;
  right: WatchedRange<W> | null = null;
  height = 1;
  /** The farthest end in this node's subtree. */
  reach: Key;

  constructor(key: Key, rangeEnd: Key) {
    this.key = key;
    this.rangeEnd = rangeEnd;
    this.end = rangeEnd === OPEN_END ? INFINITY : rangeEnd;
    this.reach = this.end;
  }

  get isSingleKey(): boolean {
    return this.rangeEnd === '';
  }

  /** Whether `key` is in this range. */
  covers(key: Key): boolean {
    return this.rangeEnd === '' ? key === this.key : key >= this.key && key < this.end;
  }

  addSynced(watcher: W): void {
    watcher.place = this.synced.length;
    this.synced.push(watcher);
  }

  /** The last watcher takes the place of the one removed: a walk from the end to the start sees each one once. */
  removeSynced(watcher: W): void {
    const place = watcher.place;
    assert(this.synced[place] === watcher, 'a synced watcher knows its place');
    const last = this.synced.pop() as W;
    if (last !== watcher) {
      this.synced[place] = last;
      last.place = place;
    }
    watcher.place = -1;
  }
}

/** All watched ranges of a store. */
export class WatcherIndex<W extends Placed> {
  private readonly keys = new Map<Key, WatchedRange<W>>();
  private root: WatchedRange<W> | null = null;
  private everything: WatchedRange<W> | null = null;
  /** Number of distinct ranges. */
  size = 0;

  /** The range of that name, which is made where nobody watches it yet. One more watcher belongs to it. */
  acquire(key: Key, rangeEnd: Key): WatchedRange<W> {
    let range = this.find(key, rangeEnd);
    if (range === null) {
      range = new WatchedRange<W>(key, rangeEnd);
      if (rangeEnd === '') this.keys.set(key, range);
      else if (isEverything(range)) this.everything = range;
      else this.root = insert(this.root, range);
      this.size++;
    }
    range.watchers++;
    return range;
  }

  /** One watcher less belongs to the range, which is forgotten with its last. */
  release(range: WatchedRange<W>): void {
    if (--range.watchers > 0) return;
    if (range.rangeEnd === '') this.keys.delete(range.key);
    else if (range === this.everything) this.everything = null;
    else this.root = remove(this.root, range);
    this.size--;
  }

  find(key: Key, rangeEnd: Key): WatchedRange<W> | null {
    if (rangeEnd === '') return this.keys.get(key) ?? null;
    let node = this.root;
    const everything = this.everything;
    if (everything !== null && everything.key === key && everything.rangeEnd === rangeEnd) return everything;
    const end = rangeEnd === OPEN_END ? INFINITY : rangeEnd;
    while (node !== null) {
      const order = compare(key, end, node);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    return null;
  }

  /** Every watched range, in no promised order. */
  forEach(visit: (range: WatchedRange<W>) => void): void {
    for (const range of this.keys.values()) visit(range);
    if (this.everything !== null) visit(this.everything);
    if (this.root !== null) visitTree(this.root, visit);
  }

  /** Puts every watched range that covers `key` into `found` from place 0 on; returns how many. */
  collect(key: Key, found: WatchedRange<W>[]): number {
    let count = 0;
    const single = this.keys.get(key);
    if (single !== undefined) found[count++] = single;
    if (this.everything !== null) found[count++] = this.everything;
    return this.root === null ? count : stab(this.root, key, found, count);
  }
}

/** No key lies before "\0", so a range from there without an end covers all there is. */
function isEverything(range: WatchedRange<Placed>): boolean {
  return range.rangeEnd === OPEN_END && range.key === '\0';
}

function visitTree<W extends Placed>(node: WatchedRange<W>, visit: (range: WatchedRange<W>) => void): void {
  if (node.left !== null) visitTree(node.left, visit);
  visit(node);
  if (node.right !== null) visitTree(node.right, visit);
}

function stab<W extends Placed>(node: WatchedRange<W>, key: Key, found: WatchedRange<W>[], start: number): number {
  let count = start;
  let at: WatchedRange<W> | null = node;
  while (at !== null && key < at.reach) {
    if (at.left !== null) count = stab(at.left, key, found, count);
    if (key < at.key) break;
    if (key < at.end) found[count++] = at;
    at = at.right;
  }
  return count;
}

// The tree is an AVL tree ordered by start, then by end: its depth is bounded whatever ranges clients choose.

function compare<W extends Placed>(key: Key, end: Key, node: WatchedRange<W>): number {
  if (key !== node.key) return key < node.key ? -1 : 1;
  if (end !== node.end) return end < node.end ? -1 : 1;
  return 0;
}

function heightOf(node: WatchedRange<Placed> | null): number {
  return node === null ? 0 : node.height;
}

function refresh<W extends Placed>(node: WatchedRange<W>): void {
  const { left, right } = node;
  node.height = 1 + Math.max(heightOf(left), heightOf(right));
  let reach = node.end;
  if (left !== null && left.reach > reach) reach = left.reach;
  if (right !== null && right.reach > reach) reach = right.reach;
  node.reach = reach;
}

function rotateRight<W extends Placed>(node: WatchedRange<W>): WatchedRange<W> {
  const top = node.left as WatchedRange<W>;
  node.left = top.right;
  top.right = node;
  refresh(node);
  refresh(top);
  return top;
}

function rotateLeft<W extends Placed>(node: WatchedRange<W>): WatchedRange<W> {
  const top = node.right as WatchedRange<W>;
  node.right = top.left;
  top.left = node;
  refresh(node);
  refresh(top);
  return top;
}

function balance<W extends Placed>(node: WatchedRange<W>): WatchedRange<W> {
  refresh(node);
  const lean = heightOf(node.left) - heightOf(node.right);
  if (lean > 1) {
    const left = node.left as WatchedRange<W>;
    if (heightOf(left.left) < heightOf(left.right)) node.left = rotateLeft(left);
    return rotateRight(node);
  }
  if (lean < -1) {
    const right = node.right as WatchedRange<W>;
    if (heightOf(right.right) < heightOf(right.left)) node.right = rotateRight(right);
    return rotateLeft(node);
  }
  return node;
}

function insert<W extends Placed>(node: WatchedRange<W> | null, range: WatchedRange<W>): WatchedRange<W> {
  if (node === null) return range;
  if (compare(range.key, range.end, node) < 0) node.left = insert(node.left, range);
  else node.right = insert(node.right, range);
  return balance(node);
}

function remove<W extends Placed>(node: WatchedRange<W> | null, range: WatchedRange<W>): WatchedRange<W> | null {
  assert(node !== null, 'a range to forget is in the tree');
  if (node === range) return join(node.left, node.right);
  if (compare(range.key, range.end, node) < 0) node.left = remove(node.left, range);
  else node.right = remove(node.right, range);
  return balance(node);
}

/** One tree of two, everything in `left` being before everything in `right`. */
function join<W extends Placed>(left: WatchedRange<W> | null, right: WatchedRange<W> | null): WatchedRange<W> | null {
  if (left === null) return right;
  if (right === null) return left;
  let first = right;
  while (first.left !== null) first = first.left;
  const rest = removeFirst(right);
  first.left = left;
  first.right = rest;
  return balance(first);
}

function removeFirst<W extends Placed>(node: WatchedRange<W>): WatchedRange<W> | null {
  if (node.left === null) return node.right;
  node.left = removeFirst(node.left);
  return balance(node);
}
