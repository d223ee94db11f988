import { assert, type Key, keyFromBytes } from '@etsd/base';
import { Layer } from './layer.ts';
import type { Slab } from './slab.ts';

/** The revision that is being looked up or written, as the engine's key encoder finds it. */
export class RevisionKey {
  main = 0;
  sub = 0;
  isTombstone = false;

  writeTo(target: Buffer, offset: number): number {
    writeU64(target, offset, this.main);
    target[offset + 8] = 0x5f;
    writeU64(target, offset + 9, this.sub);
    if (!this.isTombstone) return offset + 17;
    target[offset + 17] = TOMBSTONE_MARK;
    return offset + 18;
  }
}

function writeU64(target: Buffer, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  target[offset] = high >>> 24;
  target[offset + 1] = high >>> 16;
  target[offset + 2] = high >>> 8;
  target[offset + 3] = high;
  target[offset + 4] = value >>> 24;
  target[offset + 5] = value >>> 16;
  target[offset + 6] = value >>> 8;
  target[offset + 7] = value;
}

/** Behind the revision of a deletion. */
const TOMBSTONE_MARK = 0x74;

const scratch = Buffer.alloc(18);
const scratchKey = new RevisionKey();

/** The bytes of a revision as a key. */
export function recordKey(main: number, sub: number, isTombstone: boolean): Key {
  scratchKey.main = main;
  scratchKey.sub = sub;
  scratchKey.isTombstone = isTombstone;
  return keyFromBytes(scratch, 0, scratchKey.writeTo(scratch, 0));
}

/**
 * The records of one batch, in the order of their revisions, in columns: a record costs no object while it waits for
 * the engine. They are few thousand, so a lookup is a binary search.
 */
export class RecordRun {
  readonly mains: number[] = [];
  readonly subs: number[] = [];
  readonly slabs: Slab[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly tombstones: boolean[] = [];
  /** The same as a layer, as far as somebody wanted to scan it. */
  private readonly layer = new Layer();

  get length(): number {
    return this.mains.length;
  }

  add(main: number, sub: number, slab: Slab, start: number, end: number, isTombstone: boolean): void {
    const length = this.mains.length;
    if (length > 0) {
      const last = this.mains[length - 1] as number;
      assert(main > last || (main === last && sub > (this.subs[length - 1] as number)), 'revisions ascend');
    }
    this.mains.push(main);
    this.subs.push(sub);
    this.slabs.push(slab);
    this.starts.push(start);
    this.ends.push(end);
    this.tombstones.push(isTombstone);
  }

  /** The record, as a view, or null where there is none or a deletion. */
  find(main: number, sub: number): Buffer | null {
    const { mains, subs } = this;
    let low = 0;
    let high = mains.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = mains[middle] as number;
      if (at < main || (at === main && (subs[middle] as number) < sub)) low = middle + 1;
      else high = middle;
    }
    const isThere = low < mains.length && mains[low] === main && subs[low] === sub && !this.tombstones[low];
    return isThere ? this.record(low) : null;
  }

  record(index: number): Buffer {
    const slab = this.slabs[index] as Slab;
    return slab.bytes.subarray(this.starts[index], this.ends[index]);
  }

  asLayer(): Layer {
    for (let i = this.layer.entries.size; i < this.mains.length; i++) {
      const key = recordKey(this.mains[i] as number, this.subs[i] as number, this.tombstones[i] as boolean);
      this.layer.set(key, this.record(i));
    }
    return this.layer;
  }
}
