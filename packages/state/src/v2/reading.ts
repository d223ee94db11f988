/**
 * A directory as an answer to GET: with what lies in it, all the way down where that is asked for, without hidden names.
 * Always in order, which etcd does only where it is asked to.
 *
 * A tree may be large and change while it is told, in slices. What is told is the tree of one moment: of a node that
 * changes before its turn has come, the tree hands over here what it was.
 */
import { nodeHead, nodeTail, shownJson, type V2Shown } from './event.ts';
import type { V2Node } from './node.ts';
import { SlicedOrder } from './sliced-order.ts';

/** Nodes, and characters, of one step. */
const STEP_NODES = 1000;
const STEP_CHARS = 128 * 1024;

/** What a node was before it changed. */
interface Kept {
  readonly shown: V2Shown;
  /** Null for a key. */
  readonly children: V2Node[] | null;
}

export class V2Reading {
  private readonly isRecursive: boolean;
  private readonly nowMs: number;
  private readonly kept = new Map<V2Node, Kept>();
  private readonly open: Opened[] = [];
  private text = '';

  /** `nowMs`: of the wall clock, for the seconds left. */
  constructor(node: V2Node, isRecursive: boolean, nowMs: number) {
    this.isRecursive = isRecursive;
    this.nowMs = nowMs;
    this.tell(node, true);
  }

  /** Makes more of the text; true once it is whole. */
  step(): boolean {
    // A tree may be deep: this must not call itself.
    for (let left = STEP_NODES; left > 0 && this.text.length < STEP_CHARS; left--) {
      const top = this.open.at(-1);
      if (top === undefined) return true;
      if (!top.isOrdered) {
        top.isOrdered = top.order.step(STEP_NODES);
        if (!top.isOrdered) return false;
      }
      const child = top.order.result[top.at];
      if (child === undefined) {
        this.open.pop();
        this.text += top.at > 0 ? `]${top.tail}}` : `${top.tail}}`;
        continue;
      }
      this.text += top.at++ > 0 ? ',' : `${top.hasHead ? ',' : ''}"nodes":[`;
      this.tell(child, this.isRecursive);
    }
    return this.open.length === 0;
  }

  /** What was made since the last time. */
  take(): string {
    const { text } = this;
    this.text = '';
    return text;
  }

  /** The node is about to change, or what lies in it. */
  keep(node: V2Node): void {
    if (!this.kept.has(node)) this.kept.set(node, { shown: node.show(this.nowMs), children: visible(node) });
  }

  private tell(node: V2Node, isOpened: boolean): void {
    const kept = this.kept.get(node);
    const shown = kept?.shown ?? node.show(this.nowMs);
    const children = isOpened ? (kept === undefined ? visible(node) : kept.children) : null;
    if (children === null || children.length === 0) {
      this.text += shownJson(shown);
      return;
    }
    const opened = new Opened(shown, children);
    this.text += `{${nodeHead(shown, '')}`;
    this.open.push(opened);
  }
}

/** A directory of which the beginning is told. */
class Opened {
  readonly hasHead: boolean;
  readonly tail: string;
  readonly order: SlicedOrder;
  isOrdered = false;
  at = 0;

  constructor(shown: V2Shown, children: V2Node[]) {
    const tail = nodeTail(shown);
    this.hasHead = nodeHead(shown, '') !== '';
    this.tail = tail === '' ? '' : `,${tail}`;
    this.order = new SlicedOrder(children);
  }
}

/** What lies in a directory and is shown; null for a key. */
function visible(node: V2Node): V2Node[] | null {
  if (node.children === null) return null;
  const shown: V2Node[] = [];
  for (const child of node.children.values()) if (!child.isHidden) shown.push(child);
  return shown;
}
