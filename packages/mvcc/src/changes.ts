import { EMPTY, type Key } from '@etsd/base';

/**
 * What one revision changed, in order, for whoever tells others of it. The arrays are reused: they are valid during the
 * call that hands them over, and only up to `count`. Keys and records may be kept.
 */
export class ChangeList {
  count = 0;
  readonly keys: Key[] = [];
  /** The encoded KeyValue; empty for a delete. */
  readonly records: Buffer[] = [];
  readonly deleted: boolean[] = [];
  /** The revision of the key before this change; 0 where it did not exist. */
  readonly previousMains: number[] = [];
  readonly previousSubs: number[] = [];

  add(key: Key, record: Buffer, deleted: boolean, previousMain: number, previousSub: number): void {
    const at = this.count++;
    this.keys[at] = key;
    this.records[at] = record;
    this.deleted[at] = deleted;
    this.previousMains[at] = previousMain;
    this.previousSubs[at] = previousSub;
  }

  clear(): void {
    // Large transactions are rare: do not keep what they filled in.
    if (this.count > 128) {
      this.keys.length = 0;
      this.records.length = 0;
      this.deleted.length = 0;
      this.previousMains.length = 0;
      this.previousSubs.length = 0;
    } else {
      for (let i = 0; i < this.count; i++) this.records[i] = EMPTY;
    }
    this.count = 0;
  }
}

/** Hears of every revision, within the write that makes it. */
export interface ChangeListener {
  /** While this is 0, revisions are announced without their changes. */
  readonly watcherCount: number;
  changed(revision: number, changes: ChangeList): void;
}
