import { assert, type Key } from '@etsd/base';

/**
 * All keys in order: a B+tree from key to slot. Every inner node knows for each child how many of its keys are live
 * (exist at the current revision; the others are deleted but have history), so that counting a range and finding its
 * n-th key cost a walk from the root, however long it is.
 *
 * Nodes are plain arrays. A node that loses keys is joined with a neighbour when both fit into one.
 *
 * Most keys share long prefixes, and comparing strings means fetching each from memory. So every node also has its keys'
 * *heads*: the four bytes behind the prefix that all keys between the node's bounds must share, as one number. A search
 * compares numbers that lie side by side and looks at strings only where heads are equal.
 */
const LEAF_KEYS_MAX = 64;
const CHILDREN_MAX = 64;
const JOIN_BELOW = 24;
const JOINED_MAX = 56;

export class Leaf {
  readonly isLeaf = true;
  /** Length of the prefix that all keys which can come here share. */
  skip = 0;
  heads: number[] = [];
  keys: Key[] = [];
  slots: number[] = [];
  live = 0;
  next: Leaf | null = null;
}

class Inner {
  readonly isLeaf = false;
  skip = 0;
  /** Those of the separators. */
  heads: number[] = [];
  /** `separators[i]` is ≤ every key of child i and > every key of child i − 1; the first is not looked at. */
  separators: Key[] = [];
  children: Node[] = [];
  live: number[] = [];
}

type Node = Leaf | Inner;

export class KeyTree {
  private root: Node = new Leaf();
  /** Keys, live or not. */
  size = 0;
  live = 0;

  /** Where the last `locate` ended: also the starting point of a walk along the leaves. */
  leaf: Leaf = this.root as Leaf;
  /** Place of the first key ≥ the one sought; may lie behind the last key of the leaf. */
  index = 0;
  /** The key that `leaf` and `index` are about; null once the tree has changed. */
  private located: Key | null = null;
  private readonly path: Inner[] = [];
  private readonly pathIndexes: number[] = [];

  /** Goes to a key; returns its slot, or −1 where it is not in the tree. */
  locate(key: Key): number {
    let node = this.root;
    let depth = 0;
    while (!node.isLeaf) {
      const child = lowerBound(node.heads, node.separators, node.skip, key, 1, 1) - 1;
      this.path[depth] = node;
      this.pathIndexes[depth] = child;
      depth++;
      node = node.children[child] as Node;
    }
    this.path.length = depth;
    this.pathIndexes.length = depth;
    const keys = node.keys;
    const low = lowerBound(node.heads, keys, node.skip, key, 0, 0);
    this.leaf = node;
    this.index = low;
    this.located = key;
    return low < keys.length && keys[low] === key ? (node.slots[low] as number) : -1;
  }

  /** Adds a key that is not in the tree. Costs no second walk where `locate` has just looked for it. */
  insert(key: Key, slot: number, isLive: boolean): void {
    if (this.located !== key) this.locate(key);
    this.located = null;
    const leaf = this.leaf;
    const { keys, slots, heads } = leaf;
    const at = this.index;
    keys.push(key);
    slots.push(slot);
    heads.push(0);
    for (let i = keys.length - 1; i > at; i--) {
      keys[i] = keys[i - 1] as Key;
      slots[i] = slots[i - 1] as number;
      heads[i] = heads[i - 1] as number;
    }
    keys[at] = key;
    slots[at] = slot;
    heads[at] = headOf(key, leaf.skip);
    this.size++;
    if (isLive) this.addLive(1);
    if (keys.length > LEAF_KEYS_MAX) this.splitLeaf(leaf);
  }

  /** Notes that the key `locate` just found came into being (1) or was deleted (−1). */
  addLive(delta: number): void {
    this.live += delta;
    this.leaf.live += delta;
    for (let depth = this.path.length - 1; depth >= 0; depth--) {
      const at = this.pathIndexes[depth] as number;
      const live = (this.path[depth] as Inner).live;
      live[at] = (live[at] as number) + delta;
    }
  }

  /** Removes the key that `locate` just found. It is not live. */
  remove(): void {
    this.located = null;
    const leaf = this.leaf;
    leaf.keys.splice(this.index, 1);
    leaf.slots.splice(this.index, 1);
    leaf.heads.splice(this.index, 1);
    this.size--;
    if (leaf.keys.length < JOIN_BELOW && this.path.length > 0) this.join(this.path.length - 1);
  }

  /** Live keys below `key`. */
  rank(key: Key, isLive: (slot: number) => boolean): number {
    this.locate(key);
    let sum = 0;
    for (let depth = 0; depth < this.path.length; depth++) {
      const live = (this.path[depth] as Inner).live;
      const end = this.pathIndexes[depth] as number;
      for (let child = 0; child < end; child++) sum += live[child] as number;
    }
    const { keys, slots } = this.leaf;
    if (this.leaf.live === keys.length) return sum + this.index;
    for (let i = 0; i < this.index; i++) if (isLive(slots[i] as number)) sum++;
    return sum;
  }

  /** Goes to the live key with this many live keys before it, which must exist. */
  select(rank: number, isLive: (slot: number) => boolean): void {
    assert(rank >= 0 && rank < this.live, 'the rank lies within the tree');
    let node = this.root;
    let left = rank;
    while (!node.isLeaf) {
      const live = node.live;
      let child = 0;
      while (left >= (live[child] as number)) left -= live[child++] as number;
      node = node.children[child] as Node;
    }
    const slots = node.slots;
    let index = 0;
    for (; ; index++) if (isLive(slots[index] as number) && left-- === 0) break;
    this.leaf = node;
    this.index = index;
    this.located = null;
    this.path.length = 0;
    this.pathIndexes.length = 0;
  }

  private splitLeaf(leaf: Leaf): void {
    // Keys often arrive in order; then the left half stays full instead of half empty for ever.
    const ascending = leaf.next === null && this.index === leaf.keys.length - 1;
    const middle = ascending ? leaf.keys.length - 1 : leaf.keys.length >> 1;
    const right = new Leaf();
    right.keys = leaf.keys.slice(middle);
    right.slots = leaf.slots.slice(middle);
    leaf.keys.length = middle;
    leaf.slots.length = middle;
    right.next = leaf.next;
    leaf.next = right;
    // How many live keys moved is known to the caller's columns only; `liveOf` was set by the index.
    right.live = this.countLive(right.slots);
    leaf.live -= right.live;
    const separator = right.keys[0] as Key;
    const depth = this.path.length - 1;
    this.setHeads(leaf, this.lowBound(depth), separator);
    this.setHeads(right, separator, this.highBound(depth));
    this.insertChild(depth, leaf, right, separator, leaf.live, right.live, ascending);
  }

  /** Set by the index: how many of these slots are live. */
  countLive: (slots: readonly number[]) => number = (slots) => slots.length;

  private insertChild(
    depth: number,
    left: Node,
    right: Node,
    separator: Key,
    leftLive: number,
    rightLive: number,
    ascending: boolean,
  ): void {
    if (depth < 0) {
      const root = new Inner();
      root.separators = ['', separator];
      root.children = [left, right];
      root.live = [leftLive, rightLive];
      this.setHeads(root, null, null);
      this.root = root;
      return;
    }
    const parent = this.path[depth] as Inner;
    const at = this.pathIndexes[depth] as number;
    parent.live[at] = leftLive;
    parent.separators.splice(at + 1, 0, separator);
    parent.children.splice(at + 1, 0, right);
    parent.live.splice(at + 1, 0, rightLive);
    parent.heads.splice(at + 1, 0, headOf(separator, parent.skip));
    if (parent.children.length <= CHILDREN_MAX) return;
    const middle = ascending ? parent.children.length - 1 : parent.children.length >> 1;
    const sibling = new Inner();
    sibling.separators = parent.separators.splice(middle);
    sibling.children = parent.children.splice(middle);
    sibling.live = parent.live.splice(middle);
    const up = sibling.separators[0] as Key;
    this.setHeads(parent, this.lowBound(depth - 1), up);
    this.setHeads(sibling, up, this.highBound(depth - 1));
    this.insertChild(depth - 1, parent, sibling, up, sum(parent.live), sum(sibling.live), ascending);
  }

  /** The largest separator at or above this depth of the path that is ≤ all keys below; null where there is none. */
  private lowBound(fromDepth: number): Key | null {
    for (let depth = fromDepth; depth >= 0; depth--) {
      const at = this.pathIndexes[depth] as number;
      if (at > 0) return (this.path[depth] as Inner).separators[at] as Key;
    }
    return null;
  }

  /** The smallest separator at or above this depth of the path that is > all keys below; null where there is none. */
  private highBound(fromDepth: number): Key | null {
    for (let depth = fromDepth; depth >= 0; depth--) {
      const at = this.pathIndexes[depth] as number;
      const separators = (this.path[depth] as Inner).separators;
      if (at + 1 < separators.length) return separators[at + 1] as Key;
    }
    return null;
  }

  /** Makes the heads of a node anew for its bounds. */
  private setHeads(node: Node, low: Key | null, high: Key | null): void {
    const skip = low === null || high === null ? 0 : sharedLength(low, high);
    node.skip = skip;
    const keys = node.isLeaf ? node.keys : node.separators;
    const heads = node.heads;
    heads.length = keys.length;
    for (let i = 0; i < keys.length; i++) heads[i] = headOf(keys[i] as Key, skip);
  }

  /** Joins the child that lost a key with a neighbour, if both are small enough, and so on upwards. */
  private join(depth: number): void {
    const parent = this.path[depth] as Inner;
    const at = this.pathIndexes[depth] as number;
    const leftAt = at > 0 ? at - 1 : at;
    const left = parent.children[leftAt] as Node;
    const right = parent.children[leftAt + 1];
    if (right === undefined) return;
    const oneIsEmpty = sizeOf(left) === 0 || sizeOf(right) === 0;
    if (!oneIsEmpty && sizeOf(left) + sizeOf(right) > JOINED_MAX) return;
    if (left.isLeaf && right.isLeaf) {
      for (const key of right.keys) left.keys.push(key);
      for (const slot of right.slots) left.slots.push(slot);
      left.live += right.live;
      left.next = right.next;
    } else if (!left.isLeaf && !right.isLeaf) {
      left.separators.push(parent.separators[leftAt + 1] as Key);
      for (let i = 1; i < right.separators.length; i++) left.separators.push(right.separators[i] as Key);
      for (const child of right.children) left.children.push(child);
      for (const live of right.live) left.live.push(live);
    }
    parent.live[leftAt] = (parent.live[leftAt] as number) + (parent.live[leftAt + 1] as number);
    const low = leftAt > 0 ? (parent.separators[leftAt] as Key) : this.lowBound(depth - 1);
    const high =
      leftAt + 2 < parent.separators.length ? (parent.separators[leftAt + 2] as Key) : this.highBound(depth - 1);
    this.setHeads(left, low, high);
    parent.separators.splice(leftAt + 1, 1);
    parent.heads.splice(leftAt + 1, 1);
    parent.children.splice(leftAt + 1, 1);
    parent.live.splice(leftAt + 1, 1);
    if (depth > 0) {
      if (parent.children.length < JOIN_BELOW) this.join(depth - 1);
    } else if (parent.children.length === 1) {
      this.root = parent.children[0] as Node;
    }
  }

  /** Checks every invariant of the tree; for tests. */
  verify(isLive: (slot: number) => boolean): void {
    const leaves: Leaf[] = [];
    const walk = (node: Node, low: Key, high: Key | null): number => {
      if (node.isLeaf) {
        leaves.push(node);
        let live = 0;
        for (let i = 0; i < node.keys.length; i++) {
          const key = node.keys[i] as Key;
          assert(key >= low && (high === null || key < high), 'a key lies between its separators');
          assert(i === 0 || (node.keys[i - 1] as Key) < key, 'keys ascend');
          assert(node.heads[i] === headOf(key, node.skip), 'heads belong to keys');
          assert(high === null || node.skip <= sharedLength(low, high), 'only what is shared is skipped');
          if (isLive(node.slots[i] as number)) live++;
        }
        assert(live === node.live, 'a leaf knows its live keys');
        return live;
      }
      let live = 0;
      for (let i = 0; i < node.children.length; i++) {
        const from = i === 0 ? low : (node.separators[i] as Key);
        const to = i + 1 < node.children.length ? (node.separators[i + 1] as Key) : high;
        const below = walk(node.children[i] as Node, from, to);
        assert(below === node.live[i], 'an inner node knows the live keys below');
        live += below;
      }
      return live;
    };
    assert(walk(this.root, '', null) === this.live, 'the tree knows its live keys');
    for (let i = 0; i < leaves.length; i++) {
      assert((leaves[i] as Leaf).next === (leaves[i + 1] ?? null), 'leaves are linked in order');
    }
    assert(leaves.reduce((total, leaf) => total + leaf.keys.length, 0) === this.size, 'the tree knows its size');
  }
}

/** Four bytes of a key as a signed number that orders as they do; missing ones count as zero. */
function headOf(key: Key, skip: number): number {
  const length = key.length - skip;
  if (length >= 4) {
    return (
      ((key.charCodeAt(skip) << 24) |
        (key.charCodeAt(skip + 1) << 16) |
        (key.charCodeAt(skip + 2) << 8) |
        key.charCodeAt(skip + 3)) ^
      SIGN
    );
  }
  let head = 0;
  for (let i = 0; i < length; i++) head |= key.charCodeAt(skip + i) << (24 - 8 * i);
  return head ^ SIGN;
}

const SIGN = 1 << 31;

/**
 * The first index ≥ `start` whose key is ≥ `key`, or, if `orEqual` is 1, > `key`. All keys and `key` itself share their
 * first `skip` bytes.
 */
function lowerBound(
  heads: readonly number[],
  keys: readonly Key[],
  skip: number,
  key: Key,
  start: number,
  orEqual: number,
): number {
  const head = headOf(key, skip);
  let low = start;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = heads[middle] as number;
    if (other < head) low = middle + 1;
    else if (other > head) high = middle;
    else if (orEqual === 1 ? (keys[middle] as Key) <= key : (keys[middle] as Key) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Length of the longest prefix two keys share. */
function sharedLength(a: Key, b: Key): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}

function sizeOf(node: Node): number {
  return node.isLeaf ? node.keys.length : node.children.length;
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
