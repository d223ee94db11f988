import { assert, type Key } from '@etsd/base';

/**
 * All keys in order: a B+tree from key to slot. Every inner node knows for each child how many of its keys are live
 * (exist at the current revision; the others are deleted but have history), so that counting a range and finding its
 * n-th key cost a walk from the root, however long it is.
 *
 * A leaf holds slots; the keys themselves lie outside the heap and are looked at through `SlotKeys`. What a leaf has for
 * each key are eight bytes in a block of a pool of typed arrays, so that a million keys leave little for the collector
 * of garbage to go through. Inner nodes are few and are plain arrays. A node that loses keys is joined with a neighbour
 * when both fit into one.
 *
 * Most keys share long prefixes, and comparing keys means fetching each from memory. So every node also has its keys'
 * *heads*: the four bytes behind the prefix that all keys between the node's bounds must share, as one number. A search
 * compares numbers that lie side by side and looks at keys only where heads are equal.
 */
const LEAF_KEYS_MAX = 64;
const CHILDREN_MAX = 64;
const JOIN_BELOW = 24;
const JOINED_MAX = 56;

/** What the tree asks about the keys that slots stand for. */
export interface SlotKeys {
  keyOf(slot: number): Key;
  /** Below, at or above zero as the slot's key is below, equal to or above `key`; both share `skip` bytes. */
  compareKey(slot: number, key: Key, skip: number): number;
  /** The four bytes of the slot's key behind the first `skip`, as a signed number that orders as they do. */
  headOf(slot: number, skip: number): number;
  /** How many of `ints[start, end)` are slots of live keys. */
  countLive(ints: Int32Array, start: number, end: number): number;
}

/** Room for one key more than a leaf keeps: it is split after the insertion. */
const LEAF_ROOM = LEAF_KEYS_MAX + 1;
/** A block of a leaf: heads, then slots. */
const BLOCK_INTS = 2 * LEAF_ROOM;
const BLOCKS_PER_CHUNK = 128;

/** Blocks for leaves, many in one typed array. */
class LeafBlocks {
  private readonly chunks: Int32Array[] = [];
  private readonly free: number[] = [];
  private count = 0;

  take(): number {
    const free = this.free.pop();
    if (free !== undefined) return free;
    if (this.count === this.chunks.length * BLOCKS_PER_CHUNK) {
      this.chunks.push(new Int32Array(BLOCK_INTS * BLOCKS_PER_CHUNK));
    }
    return this.count++;
  }

  chunk(block: number): Int32Array {
    return this.chunks[Math.floor(block / BLOCKS_PER_CHUNK)] as Int32Array;
  }

  release(block: number): void {
    this.free.push(block);
  }
}

export class Leaf {
  readonly isLeaf = true;
  /** Length of the prefix that all keys which can come here share. */
  skip = 0;
  /** Keys in here. */
  length = 0;
  live = 0;
  next: Leaf | null = null;
  /** Heads lie in `ints` from `base` on, slots from `base` + LEAF_ROOM on. */
  readonly ints: Int32Array;
  readonly base: number;
  readonly block: number;

  constructor(ints: Int32Array, block: number) {
    this.ints = ints;
    this.block = block;
    this.base = (block % BLOCKS_PER_CHUNK) * BLOCK_INTS;
  }

  /** The slot of the key at this place. */
  slot(index: number): number {
    return this.ints[this.base + LEAF_ROOM + index] as number;
  }
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
  private readonly keys: SlotKeys;
  private readonly blocks = new LeafBlocks();
  private root: Node;
  /** Keys, live or not. */
  size = 0;
  live = 0;

  /** Where the last `locate` ended: also the starting point of a walk along the leaves. */
  leaf: Leaf;
  /** Place of the first key ≥ the one sought; may lie behind the last key of the leaf. */
  index = 0;
  /** The key that `leaf` and `index` are about; null once the tree has changed. */
  private located: Key | null = null;
  private readonly path: Inner[] = [];
  private readonly pathIndexes: number[] = [];

  constructor(keys: SlotKeys) {
    this.keys = keys;
    this.leaf = this.newLeaf();
    this.root = this.leaf;
  }

  private newLeaf(): Leaf {
    const block = this.blocks.take();
    return new Leaf(this.blocks.chunk(block), block);
  }

  /** Goes to a key; returns its slot, or −1 where it is not in the tree. */
  locate(key: Key): number {
    let node = this.root;
    let depth = 0;
    while (!node.isLeaf) {
      const child = separatorAbove(node, key) - 1;
      this.path[depth] = node;
      this.pathIndexes[depth] = child;
      depth++;
      node = node.children[child] as Node;
    }
    this.path.length = depth;
    this.pathIndexes.length = depth;
    const low = this.searchLeaf(node, key);
    this.leaf = node;
    this.index = low;
    this.located = key;
    if (low === node.length) return -1;
    const slot = node.slot(low);
    return this.keys.compareKey(slot, key, node.skip) === 0 ? slot : -1;
  }

  /** Goes behind the last key of all. */
  locateEnd(): void {
    this.goToLast(this.root, 0);
  }

  /** From where `locate` or `locateEnd` went to behind the last key of the leaf before; false where there is none. */
  previousLeaf(): boolean {
    let depth = this.path.length - 1;
    while (depth >= 0 && this.pathIndexes[depth] === 0) depth--;
    if (depth < 0) return false;
    const child = (this.pathIndexes[depth] as number) - 1;
    this.pathIndexes[depth] = child;
    this.goToLast((this.path[depth] as Inner).children[child] as Node, depth + 1);
    return true;
  }

  private goToLast(from: Node, fromDepth: number): void {
    let node = from;
    let depth = fromDepth;
    while (!node.isLeaf) {
      const child = node.children.length - 1;
      this.path[depth] = node;
      this.pathIndexes[depth] = child;
      depth++;
      node = node.children[child] as Node;
    }
    this.path.length = depth;
    this.pathIndexes.length = depth;
    this.leaf = node;
    this.index = node.length;
    this.located = null;
  }

  /** The first place in a leaf whose key is ≥ `key`, which belongs there. */
  private searchLeaf(leaf: Leaf, key: Key): number {
    const { ints, base, skip } = leaf;
    const head = headOf(key, skip);
    let low = 0;
    let high = leaf.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = ints[base + middle] as number;
      if (other < head) low = middle + 1;
      else if (other > head) high = middle;
      else if (this.keys.compareKey(ints[base + LEAF_ROOM + middle] as number, key, skip) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** How many keys of a leaf are below `key`, which may be any: where a walk to there ends within this leaf. */
  countBelow(leaf: Leaf, key: Key): number {
    const { length } = leaf;
    if (length === 0 || this.keys.compareKey(leaf.slot(length - 1), key, 0) < 0) return length;
    let low = 0;
    let high = length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.keys.compareKey(leaf.slot(middle), key, 0) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Adds a key that is not in the tree. Costs no second walk where `locate` has just looked for it. */
  insert(key: Key, slot: number, isLive: boolean): void {
    if (this.located !== key) this.locate(key);
    this.located = null;
    const leaf = this.leaf;
    const { ints, base } = leaf;
    const at = base + this.index;
    for (let i = base + leaf.length; i > at; i--) {
      ints[i] = ints[i - 1] as number;
      ints[i + LEAF_ROOM] = ints[i + LEAF_ROOM - 1] as number;
    }
    ints[at] = headOf(key, leaf.skip);
    ints[at + LEAF_ROOM] = slot;
    leaf.length++;
    this.size++;
    if (isLive) this.addLive(1);
    if (leaf.length > LEAF_KEYS_MAX) this.splitLeaf(leaf);
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
    const at = leaf.base + this.index;
    const end = leaf.base + leaf.length;
    leaf.ints.copyWithin(at, at + 1, end);
    leaf.ints.copyWithin(at + LEAF_ROOM, at + LEAF_ROOM + 1, end + LEAF_ROOM);
    leaf.length--;
    this.size--;
    if (leaf.length < JOIN_BELOW && this.path.length > 0) this.join(this.path.length - 1);
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
    const { leaf } = this;
    if (leaf.live === leaf.length) return sum + this.index;
    for (let i = 0; i < this.index; i++) if (isLive(leaf.slot(i))) sum++;
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
    let index = 0;
    for (; ; index++) if (isLive(node.slot(index)) && left-- === 0) break;
    this.leaf = node;
    this.index = index;
    this.located = null;
    this.path.length = 0;
    this.pathIndexes.length = 0;
  }

  private splitLeaf(leaf: Leaf): void {
    // Keys often arrive in order; then the left half stays full instead of half empty for ever.
    const ascending = leaf.next === null && this.index === leaf.length - 1;
    const middle = ascending ? leaf.length - 1 : leaf.length >> 1;
    const right = this.newLeaf();
    const slots = leaf.base + LEAF_ROOM;
    right.ints.set(leaf.ints.subarray(slots + middle, slots + leaf.length), right.base + LEAF_ROOM);
    right.length = leaf.length - middle;
    leaf.length = middle;
    right.next = leaf.next;
    leaf.next = right;
    right.live = this.keys.countLive(leaf.ints, slots + middle, slots + middle + right.length);
    leaf.live -= right.live;
    const separator = this.keys.keyOf(right.slot(0));
    const depth = this.path.length - 1;
    this.setHeads(leaf, this.lowBound(depth), separator);
    this.setHeads(right, separator, this.highBound(depth));
    this.insertChild(depth, leaf, right, separator, leaf.live, right.live, ascending);
  }

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
    if (node.isLeaf) {
      const { ints, base, length } = node;
      for (let i = 0; i < length; i++) ints[base + i] = this.keys.headOf(node.slot(i), skip);
      return;
    }
    const keys = node.separators;
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
      const slots = right.base + LEAF_ROOM;
      left.ints.set(right.ints.subarray(slots, slots + right.length), left.base + LEAF_ROOM + left.length);
      left.length += right.length;
      this.blocks.release(right.block);
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
        for (let i = 0; i < node.length; i++) {
          const key = this.keys.keyOf(node.slot(i));
          assert(key >= low && (high === null || key < high), 'a key lies between its separators');
          assert(i === 0 || this.keys.keyOf(node.slot(i - 1)) < key, 'keys ascend');
          assert(node.ints[node.base + i] === headOf(key, node.skip), 'heads belong to keys');
          assert(high === null || node.skip <= sharedLength(low, high), 'only what is shared is skipped');
          if (isLive(node.slot(i))) live++;
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
    assert(leaves.reduce((total, leaf) => total + leaf.length, 0) === this.size, 'the tree knows its size');
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

/** The first separator behind the first that is > `key`. All of them and `key` itself share their first `skip` bytes. */
function separatorAbove(node: Inner, key: Key): number {
  const { heads, separators } = node;
  const head = headOf(key, node.skip);
  let low = 1;
  let high = separators.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = heads[middle] as number;
    if (other < head) low = middle + 1;
    else if (other > head) high = middle;
    else if ((separators[middle] as Key) <= key) low = middle + 1;
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
  return node.isLeaf ? node.length : node.children.length;
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
