import { nodeHead, nodeTail, type V2Node } from '@etsd/state';

/**
 * A node as an answer to GET: a directory with what lies in it, all the way down where that is asked for, without hidden
 * names. Always in order, which etcd does only where it is asked to.
 */
export function nodeJson(node: V2Node, isRecursive: boolean, nowMs: number): string {
  const parts: string[] = [];
  const open = [new Opened(node, nowMs)];
  parts.push('{', open[0]?.head ?? '');
  // A tree may be deep: this must not call itself.
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const child = top.children[top.at++];
    if (child === undefined) {
      open.pop();
      if (top.children.length > 0) parts.push(']');
      parts.push(top.tail, '}');
      continue;
    }
    parts.push(top.at > 1 ? ',' : `${top.hasHead ? ',' : ''}"nodes":[`);
    const opened = new Opened(child, nowMs, !isRecursive);
    parts.push('{', opened.head);
    open.push(opened);
  }
  return parts.join('');
}

/** A node of which the beginning is written. */
class Opened {
  readonly head: string;
  readonly tail: string;
  readonly hasHead: boolean;
  readonly children: readonly V2Node[];
  at = 0;

  constructor(node: V2Node, nowMs: number, isShut = false) {
    const shown = node.show(nowMs);
    this.head = nodeHead(shown, '');
    this.hasHead = this.head !== '';
    this.children = isShut || node.children === null ? [] : visible(node.children.values());
    const tail = nodeTail(shown);
    this.tail = tail !== '' && (this.hasHead || this.children.length > 0) ? `,${tail}` : tail;
  }
}

function visible(nodes: Iterable<V2Node>): V2Node[] {
  const shown = [...nodes].filter((node) => !node.isHidden);
  return shown.sort((a, b) => (a.name < b.name ? -1 : 1));
}
