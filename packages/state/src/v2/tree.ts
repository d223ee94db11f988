import { assert, Heap, type U64 } from '@etsd/base';
import { V2Code, V2Failure } from './event.ts';
import { V2Node } from './node.ts';
import type { V2Reading } from './reading.ts';
import { deleteNode, putNode, readNodes, type V2Backend } from './records.ts';
import { approximately, NEVER } from './time.ts';

/** Without empty, `.` and `..` parts: `/a/b`, or `/`. */
export function cleanPath(path: string): string {
  const kept: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return `/${kept.join('/')}`;
}

/** The nodes, in memory and in the backend. It says what is where; what may be done is the store's. */
export class V2Tree {
  root = new V2Node(0, null, '', true, '', 0);
  /** Who is told the tree as it was, and has not yet been told all of it. */
  readonly readings = new Set<V2Reading>();
  private lastId = 0;
  private readonly expiring = new Heap<V2Node>();
  private readonly backend: V2Backend;

  constructor(backend: V2Backend) {
    this.backend = backend;
    this.reload();
  }

  /** Reads what the backend says now. */
  reload(): void {
    this.root = new V2Node(0, null, '', true, '', 0);
    this.lastId = 0;
    while (this.expiring.pop() !== undefined);
    const byId = new Map<number, V2Node>([[0, this.root]]);
    readNodes(this.backend, (record) => {
      const parent = byId.get(record.parent);
      assert(parent !== undefined && parent.children !== null, 'a kept node lies in a directory that is kept');
      const { id, name, value, created, modified, expires } = record;
      const node = new V2Node(id, parent, name, value === null, value ?? '', created);
      node.modified = modified;
      this.link(node, expires);
      byId.set(id, node);
      this.lastId = id;
    });
  }

  /** How many nodes have an end. */
  get expiringCount(): number {
    return this.expiring.size;
  }

  /** The node that ends first. */
  get nextExpiring(): V2Node | undefined {
    return this.expiring.peek();
  }

  /** The node at a clean path, or why there is none. */
  find(path: string, index: number): V2Node | V2Failure {
    let node = this.root;
    if (path === '/') return node;
    for (const name of path.slice(1).split('/')) {
      if (node.children === null) return new V2Failure(V2Code.NotDir, node.path, index);
      const child = node.children.get(name);
      if (child === undefined) {
        return new V2Failure(V2Code.KeyNotFound, node === this.root ? `/${name}` : `${node.path}/${name}`, index);
      }
      node = child;
    }
    return node;
  }

  /** The directory at a clean path; what is missing on the way is made, with `next` as its index. */
  directory(path: string, index: number, next: number): V2Node | V2Failure {
    let node = this.root;
    if (path === '/' || path === '') return node;
    for (const name of path.slice(1).split('/')) {
      if (node.children === null) return new V2Failure(V2Code.NotDir, node.path, index);
      node = node.children.get(name) ?? this.add(node, name, true, '', next, NEVER);
    }
    return node.children === null ? new V2Failure(V2Code.NotDir, node.path, index) : node;
  }

  /** Makes a node; a key of that name is replaced by it. */
  add(parent: V2Node, name: string, isDir: boolean, value: string, index: number, expires: U64): V2Node {
    const before = parent.children?.get(name);
    if (before !== undefined) this.unlink(before);
    const node = new V2Node(before?.id ?? ++this.lastId, parent, name, isDir, value, index);
    this.link(node, expires);
    putNode(this.backend, node);
    return node;
  }

  /** Writes down another value and end of a key. */
  rewrite(node: V2Node, value: string, index: number, expires: U64): void {
    this.willChange(node);
    node.value = value;
    node.modified = index;
    this.expiring.remove(node);
    node.setExpires(expires);
    if (expires !== NEVER) this.expiring.push(node);
    putNode(this.backend, node);
  }

  /** Removes a node and all that lies in it; the paths of all of them, the node's own last. */
  remove(node: V2Node): string[] {
    const paths: string[] = [];
    const left = [node];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      paths.push(next.path);
      if (next.children !== null) for (const child of next.children.values()) left.push(child);
      this.unlink(next);
      deleteNode(this.backend, next.id);
    }
    return paths.reverse();
  }

  private willChange(node: V2Node | null): void {
    if (node !== null) for (const reading of this.readings) reading.keep(node);
  }

  private link(node: V2Node, expires: U64): void {
    this.willChange(node.parent);
    node.parent?.children?.set(node.name, node);
    node.setExpires(expires);
    if (expires !== NEVER) this.expiring.push(node);
  }

  private unlink(node: V2Node): void {
    this.willChange(node.parent);
    node.isRemoved = true;
    node.parent?.children?.delete(node.name);
    this.expiring.remove(node);
  }

  /** All nodes that have ended by then, in the order in which they ended. They stay. */
  ended(moment: U64): V2Node[] {
    const found: V2Node[] = [];
    const limit = approximately(moment);
    // Close to the moment the numbers of the heap can not tell before from behind; the texts can.
    for (let node = this.expiring.peek(); node !== undefined && node.heapKey <= limit; node = this.expiring.peek()) {
      this.expiring.pop();
      found.push(node);
    }
    for (const node of found) this.expiring.push(node);
    const ended = found.filter(({ expires }) => expires <= moment);
    return ended.sort((a, b) =>
      a.expires !== b.expires ? (a.expires < b.expires ? -1 : 1) : a.path < b.path ? -1 : 1,
    );
  }
}
