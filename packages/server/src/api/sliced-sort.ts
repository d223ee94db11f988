/** Sorting many records without holding the event loop: runs that are sorted one by one, then merged in slices. */
import { keyFromBytes } from '@etsd/base';
import { KeyValueView, SortOrder, SortTarget } from '@etsd/proto';

/** Records sorted in one go; about a millisecond. */
const RUN_RECORDS = 1024;

type SortKey = number | string;

/** Sorts by one field of the records, stably. Records are added first, then `step` is called until it returns true. */
export class SlicedSort {
  /** The result, once `step` returned true. */
  records: Buffer[] = [];
  private keys: SortKey[] = [];
  private spareRecords: Buffer[] = [];
  private spareKeys: SortKey[] = [];
  private readonly target: number;
  private readonly sign: number;
  private readonly view = new KeyValueView();
  /** Records in runs that are sorted already. */
  private sorted = 0;
  private width = RUN_RECORDS;
  private runAt = 0;
  private left = 0;
  private right = 0;

  constructor(target: number, order: number) {
    this.target = target;
    this.sign = order === SortOrder.DESCEND ? -1 : 1;
  }

  add(records: readonly Buffer[]): void {
    for (const record of records) {
      this.records.push(record);
      this.keys.push(this.keyOf(record));
    }
  }

  /** Moves about this many records; true once the order stands. */
  step(budgetRecords: number): boolean {
    let budget = budgetRecords;
    while (this.sorted < this.records.length && budget > 0) {
      const end = Math.min(this.sorted + RUN_RECORDS, this.records.length);
      this.sortRun(this.sorted, end);
      budget -= end - this.sorted;
      this.sorted = end;
    }
    while (budget > 0 && this.width < this.records.length) budget -= this.mergeSome(budget);
    return this.sorted >= this.records.length && this.width >= this.records.length;
  }

  private keyOf(record: Buffer): SortKey {
    const view = this.view;
    view.parse(record, 0, record.length);
    switch (this.target) {
      case SortTarget.VERSION:
        return view.version;
      case SortTarget.CREATE:
        return view.createRevision;
      case SortTarget.MOD:
        return view.modRevision;
      case SortTarget.VALUE:
        return keyFromBytes(record, view.valueStart, view.valueEnd);
      default:
        return keyFromBytes(record, view.keyStart, view.keyEnd);
    }
  }

  private compare(a: SortKey, b: SortKey): number {
    return a < b ? -this.sign : a > b ? this.sign : 0;
  }

  private sortRun(start: number, end: number): void {
    const order: number[] = [];
    for (let at = start; at < end; at++) order.push(at);
    const keys = this.keys;
    order.sort((a, b) => this.compare(keys[a] as SortKey, keys[b] as SortKey));
    const records = order.map((at) => this.records[at] as Buffer);
    const sortedKeys = order.map((at) => keys[at] as SortKey);
    for (let at = start; at < end; at++) {
      this.records[at] = records[at - start] as Buffer;
      keys[at] = sortedKeys[at - start] as SortKey;
    }
  }

  /** Merges pairs of neighbouring runs into the spare arrays, which then change places with the others. */
  private mergeSome(budget: number): number {
    const total = this.records.length;
    let moved = 0;
    while (moved < budget && this.runAt < total) {
      const middle = Math.min(this.runAt + this.width, total);
      const end = Math.min(middle + this.width, total);
      if (this.left === this.runAt && this.right < middle) this.right = middle;
      while (moved < budget && (this.left < middle || this.right < end)) {
        this.spareAppend(this.takesLeft(middle, end) ? this.left++ : this.right++);
        moved++;
      }
      if (this.left < middle || this.right < end) return moved;
      this.runAt = end;
      this.left = end;
      this.right = end;
    }
    if (this.runAt >= total) this.nextWidth();
    return Math.max(moved, 1);
  }

  private takesLeft(middle: number, end: number): boolean {
    if (this.left >= middle) return false;
    if (this.right >= end) return true;
    return this.compare(this.keys[this.left] as SortKey, this.keys[this.right] as SortKey) <= 0;
  }

  private spareAppend(from: number): void {
    this.spareRecords.push(this.records[from] as Buffer);
    this.spareKeys.push(this.keys[from] as SortKey);
  }

  private nextWidth(): void {
    this.records = this.spareRecords;
    this.keys = this.spareKeys;
    this.spareRecords = [];
    this.spareKeys = [];
    this.width *= 2;
    this.runAt = this.left = this.right = 0;
  }
}
