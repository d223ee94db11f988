import type { HeapNode, U64 } from '@etsd/base';
import { V2Shown } from './event.ts';
import { approximately, NEVER, secondsUntil } from './time.ts';

/** A key or a directory. */
export class V2Node implements HeapNode {
  /** Under which it is kept; larger than that of the directory it lies in. */
  readonly id: number;
  readonly parent: V2Node | null;
  readonly name: string;
  /** From the root of the keys: `/dir/key`; of the root `/`. */
  readonly path: string;
  /** Null for a key. */
  readonly children: Map<string, V2Node> | null;
  created: number;
  modified: number;
  expires: U64 = NEVER;
  value: string;
  isRemoved = false;
  heapKey = 0;
  heapIndex = -1;

  constructor(id: number, parent: V2Node | null, name: string, isDir: boolean, value: string, index: number) {
    this.id = id;
    this.parent = parent;
    this.name = name;
    this.path = parent === null ? '/' : parent.parent === null ? `/${name}` : `${parent.path}/${name}`;
    this.children = isDir ? new Map() : null;
    this.value = value;
    this.created = index;
    this.modified = index;
  }

  get isDir(): boolean {
    return this.children !== null;
  }

  /** A name that begins with `_` is told only to those who ask for it. */
  get isHidden(): boolean {
    return this.name.startsWith('_');
  }

  setExpires(expires: U64): void {
    this.expires = expires;
    this.heapKey = approximately(expires);
  }

  /** What it is now. `nowMs`: of the wall clock, for the seconds left. */
  show(nowMs: number): V2Shown {
    const shown = new V2Shown(this.path, this.modified, this.created);
    if (this.isDir) shown.isDir = true;
    else shown.value = this.value;
    if (this.expires !== NEVER) {
      shown.expires = this.expires;
      shown.ttl = secondsUntil(this.expires, nowMs);
    }
    return shown;
  }
}
