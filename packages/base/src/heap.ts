/** What a `Heap` holds: each element remembers its own place, so that it can be moved or removed in O(log n). */
export interface HeapNode {
  /** The value the heap orders by, smallest first. */
  heapKey: number;
  /** Place in the heap, −1 while outside. Written by the heap alone. */
  heapIndex: number;
}

/** A binary min-heap with positions, for deadlines of leases and timers. */
export class Heap<T extends HeapNode> {
  private nodes: T[] = [];

  get size(): number {
    return this.nodes.length;
  }

  /** The node with the smallest key, left in place. */
  peek(): T | undefined {
    return this.nodes[0];
  }

  push(node: T): void {
    node.heapIndex = this.nodes.length;
    this.nodes.push(node);
    this.up(node.heapIndex);
  }

  /** Removes and returns the node with the smallest key. */
  pop(): T | undefined {
    const top = this.nodes[0];
    if (top !== undefined) this.remove(top);
    return top;
  }

  remove(node: T): void {
    const index = node.heapIndex;
    if (index < 0) return;
    const last = this.nodes.pop() as T;
    node.heapIndex = -1;
    if (last === node) return;
    this.nodes[index] = last;
    last.heapIndex = index;
    this.down(this.up(index));
  }

  /** Restores the order after `node.heapKey` was changed. */
  update(node: T): void {
    if (node.heapIndex >= 0) this.down(this.up(node.heapIndex));
  }

  private up(start: number): number {
    const nodes = this.nodes;
    const node = nodes[start] as T;
    let index = start;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = nodes[parentIndex] as T;
      if (parent.heapKey <= node.heapKey) break;
      nodes[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    nodes[index] = node;
    node.heapIndex = index;
    return index;
  }

  private down(start: number): void {
    const nodes = this.nodes;
    const node = nodes[start] as T;
    const count = nodes.length;
    let index = start;
    for (;;) {
      let childIndex = index * 2 + 1;
      if (childIndex >= count) break;
      const right = childIndex + 1;
      if (right < count && (nodes[right] as T).heapKey < (nodes[childIndex] as T).heapKey) childIndex = right;
      const child = nodes[childIndex] as T;
      if (child.heapKey >= node.heapKey) break;
      nodes[index] = child;
      child.heapIndex = index;
      index = childIndex;
    }
    nodes[index] = node;
    node.heapIndex = index;
  }
}
