import type { V2Node } from './node.ts';

/** Nodes sorted in one go; a fraction of a millisecond. */
const RUN = 1024;

/** Puts nodes into the order of their names without holding the event loop: runs that are sorted, then merged in slices. */
export class SlicedOrder {
  private nodes: V2Node[];
  private spare: V2Node[] = [];
  /** Nodes in runs that are sorted already. */
  private sorted = 0;
  private width = RUN;
  /** Of the merge that goes on: the next place, where its two runs begin, and how far each is taken. */
  private out = 0;
  private low = 0;
  private left = 0;
  private right = RUN;

  constructor(nodes: V2Node[]) {
    this.nodes = nodes;
  }

  /** In order, once `step` has said so. */
  get result(): readonly V2Node[] {
    return this.nodes;
  }

  /** Works on about so many nodes; true once all are in order. */
  step(budget: number): boolean {
    const { nodes } = this;
    let left = budget;
    for (; this.sorted < nodes.length && left > 0; left -= RUN) {
      const run = nodes.slice(this.sorted, this.sorted + RUN).sort(byName);
      for (let at = 0; at < run.length; at++) nodes[this.sorted + at] = run[at] as V2Node;
      this.sorted += run.length;
    }
    while (left > 0 && this.width < nodes.length) left -= this.merge(left);
    return this.sorted >= nodes.length && this.width >= nodes.length;
  }

  /** Moves at most so many nodes of this round, and begins the next one behind its end. How many it moved. */
  private merge(budget: number): number {
    const { nodes, spare, width } = this;
    const end = nodes.length;
    let moved = 0;
    while (moved < budget && this.out < end) {
      const middle = Math.min(this.low + width, end);
      const high = Math.min(middle + width, end);
      if (this.out === high) {
        this.low = high;
        this.left = high;
        this.right = Math.min(high + width, end);
        continue;
      }
      const isLeft =
        this.left < middle &&
        (this.right >= high || (nodes[this.left] as V2Node).name <= (nodes[this.right] as V2Node).name);
      spare[this.out++] = nodes[isLeft ? this.left++ : this.right++] as V2Node;
      moved++;
    }
    if (this.out === end) this.nextRound();
    return moved;
  }

  private nextRound(): void {
    [this.nodes, this.spare] = [this.spare, this.nodes];
    this.width *= 2;
    this.out = 0;
    this.low = 0;
    this.left = 0;
    this.right = this.width;
  }
}

function byName(a: V2Node, b: V2Node): number {
  return a.name < b.name ? -1 : 1;
}
