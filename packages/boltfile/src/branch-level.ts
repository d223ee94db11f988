import { ELEMENT, PAGE_HEADER } from './page.ts';

/** bbolt stops when a branch with one child is to be merged, so none is ever written. */
const CHILDREN_MIN = 2;

/**
 * The children of one level of a tree that no branch was written for yet. A branch is written when it is full and two
 * more children wait for the next one: so the last one of the level never has a single child.
 */
export class BranchLevel {
  private readonly pageSize: number;
  private keys: Buffer[] = [];
  private pages: number[] = [];
  /** Of a page with all of them. */
  private bytes = PAGE_HEADER;
  /** How many fit on a page; 0 while all do. */
  private fitting = 0;
  private hasBranches = false;

  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  get length(): number {
    return this.pages.length;
  }

  key(index: number): Buffer {
    return this.keys[index] as Buffer;
  }

  page(index: number): number {
    return this.pages[index] as number;
  }

  /** Bytes of a page with the first `count` children. */
  size(count: number): number {
    let bytes = PAGE_HEADER;
    for (let index = 0; index < count; index++) bytes += ELEMENT + this.key(index).length;
    return bytes;
  }

  add(key: Buffer, page: number): void {
    this.keys.push(key);
    this.pages.push(page);
    this.bytes += ELEMENT + key.length;
    if (this.fitting === 0 && this.bytes > this.pageSize) this.fitting = Math.max(CHILDREN_MIN, this.length - 1);
  }

  /** How many children are to be written as a branch now, or 0. */
  takeFull(): number {
    return this.fitting > 0 && this.length - this.fitting >= CHILDREN_MIN ? this.fitting : 0;
  }

  /** When no more come: how many are to be written as the next branch. */
  takeLast(): number {
    if (this.fitting === 0 || this.length === this.fitting) return this.length;
    // One is left over: two go into the last branch, or all into one that is larger than a page.
    return this.fitting > CHILDREN_MIN ? this.fitting - 1 : this.length;
  }

  /** The one child of a level that needs no branch, which is then the root; −1 otherwise. */
  singleChild(): number {
    return !this.hasBranches && this.length === 1 ? this.page(0) : -1;
  }

  /** Forgets the first children, which were written. */
  drop(count: number): void {
    this.hasBranches = true;
    this.keys = this.keys.slice(count);
    this.pages = this.pages.slice(count);
    this.bytes = this.size(this.length);
    this.fitting = this.bytes > this.pageSize ? CHILDREN_MIN : 0;
  }
}
