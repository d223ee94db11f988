/**
 * The order in which Go's `sort.Sort` leaves elements that compare as equal: a pattern-defeating quicksort (Orson Peters,
 * "Pattern-defeating Quicksort", 2021) with the parameters of Go 1.20 and later. etcd orders a role's permissions with it
 * by their key alone, and stores what comes out, so members have to agree on it. Lists of up to twelve stay stable.
 */
const INSERTION_MAX = 12;
const NINTHER_MIN = 50;
const SHIFT_MIN = 50;
const REPAIRS_MAX = 5;
const ALL_SWAPPED = 12;

/** Sorts in place. `compare` is as for `Array.sort`. */
export function sortUnstably<T>(items: T[], compare: (a: T, b: T) => number): void {
  new Sorter(items, compare).sort(0, items.length, bitLength(items.length));
}

function bitLength(value: number): number {
  return 32 - Math.clz32(value);
}

class Sorter<T> {
  private readonly items: T[];
  private readonly compare: (a: T, b: T) => number;
  /** Exchanges that choosing the last pivot would have needed: none in ascending runs, all in descending ones. */
  private exchanges = 0;
  /** Whether the last partition found its elements on the right sides already. */
  private wasInPlace = true;

  constructor(items: T[], compare: (a: T, b: T) => number) {
    this.items = items;
    this.compare = compare;
  }

  /** Sorts `[from, to)`; after `patience` bad pivots by a heap. */
  sort(from: number, to: number, patience: number): void {
    let [start, end, left] = [from, to, patience];
    let isBalanced = true;
    let isInPlace = true;
    while (end - start > INSERTION_MAX) {
      if (left === 0) {
        this.heapSort(start, end);
        return;
      }
      if (!isBalanced) {
        this.scatter(start, end);
        left--;
      }
      let pivot = this.choosePivot(start, end);
      let isAscending = this.exchanges === 0;
      if (this.exchanges === ALL_SWAPPED) {
        this.reverse(start, end);
        pivot = end - 1 - (pivot - start);
        isAscending = true;
      }
      if (isBalanced && isInPlace && isAscending && this.repair(start, end)) return;
      if (start > 0 && !this.isLess(start - 1, pivot)) {
        // Nothing here is smaller than what lies before: the elements equal to the pivot are done.
        start = this.gatherEqual(start, end, pivot);
        continue;
      }
      const length = end - start;
      const middle = this.partition(start, end, pivot);
      isInPlace = this.wasInPlace;
      const [below, above] = [middle - start, end - middle];
      isBalanced = Math.min(below, above) >= length >>> 3;
      if (below < above) {
        this.sort(start, middle, left);
        start = middle + 1;
      } else {
        this.sort(middle + 1, end, left);
        end = middle;
      }
    }
    this.insertionSort(start, end);
  }

  private isLess(a: number, b: number): boolean {
    return this.compare(this.items[a] as T, this.items[b] as T) < 0;
  }

  private swap(a: number, b: number): void {
    const { items } = this;
    const held = items[a] as T;
    items[a] = items[b] as T;
    items[b] = held;
  }

  private insertionSort(start: number, end: number): void {
    for (let next = start + 1; next < end; next++) this.sinkLeft(next, start);
  }

  /** Moves an element left past all greater ones, not beyond `limit`. */
  private sinkLeft(place: number, limit: number): void {
    for (let at = place; at > limit && this.isLess(at, at - 1); at--) this.swap(at, at - 1);
  }

  /** Puts the pivot where it belongs, smaller elements before it, and returns its place. */
  private partition(start: number, end: number, pivot: number): number {
    this.swap(start, pivot);
    let low = start + 1;
    let high = end - 1;
    for (let pass = 0; ; pass++) {
      while (low <= high && this.isLess(low, start)) low++;
      while (low <= high && !this.isLess(high, start)) high--;
      if (low > high) {
        this.wasInPlace = pass === 0;
        this.swap(high, start);
        return high;
      }
      this.swap(low++, high--);
    }
  }

  /** Puts elements equal to the pivot first, and returns where the greater ones begin. */
  private gatherEqual(start: number, end: number, pivot: number): number {
    this.swap(start, pivot);
    let low = start + 1;
    let high = end - 1;
    for (;;) {
      while (low <= high && !this.isLess(start, low)) low++;
      while (low <= high && this.isLess(start, high)) high--;
      if (low > high) return low;
      this.swap(low++, high--);
    }
  }

  /** Tries to set right a few elements of what is sorted but for them; whether that was enough. */
  private repair(start: number, end: number): boolean {
    let at = start + 1;
    for (let repairs = 0; repairs < REPAIRS_MAX; repairs++) {
      while (at < end && !this.isLess(at, at - 1)) at++;
      if (at === end) return true;
      if (end - start < SHIFT_MIN) return false;
      this.swap(at, at - 1);
      if (at - start >= 2) this.sinkLeft(at - 1, 0);
      for (let next = at + 1; end - at >= 2 && next < end && this.isLess(next, next - 1); next++) {
        this.swap(next, next - 1);
      }
    }
    return false;
  }

  private choosePivot(start: number, end: number): number {
    const quarter = (end - start) >>> 2;
    let [low, middle, high] = [start + quarter, start + quarter * 2, start + quarter * 3];
    this.exchanges = 0;
    if (end - start >= NINTHER_MIN) {
      low = this.median(low - 1, low, low + 1);
      middle = this.median(middle - 1, middle, middle + 1);
      high = this.median(high - 1, high, high + 1);
    }
    return this.median(low, middle, high);
  }

  /** The place of the middle one of three elements. */
  private median(first: number, second: number, third: number): number {
    let [a, b, c] = [first, second, third];
    if (this.isLess(b, a)) [a, b] = this.exchanged(a, b);
    if (this.isLess(c, b)) [b, c] = this.exchanged(b, c);
    if (this.isLess(b, a)) [a, b] = this.exchanged(a, b);
    return b;
  }

  private exchanged(a: number, b: number): [number, number] {
    this.exchanges++;
    return [b, a];
  }

  private reverse(start: number, end: number): void {
    for (let [low, high] = [start, end - 1]; low < high; low++, high--) this.swap(low, high);
  }

  /** Moves three elements at the middle elsewhere, by a xorshift of 64 bits that begins with the length. */
  private scatter(start: number, end: number): void {
    const length = end - start;
    const mask = 2 ** bitLength(length) - 1;
    const middle = start + (length >>> 2) * 2;
    let [high, low] = [0, length];
    for (let place = middle - 1; place <= middle + 1; place++) {
      [high, low] = [high ^ ((high << 13) | (low >>> 19)), low ^ (low << 13)];
      [high, low] = [high ^ (high >>> 7), low ^ ((low >>> 7) | (high << 25))];
      [high, low] = [high ^ ((high << 17) | (low >>> 15)), low ^ (low << 17)];
      const other = (low & mask) >>> 0;
      this.swap(place, start + (other >= length ? other - length : other));
    }
  }

  private heapSort(start: number, end: number): void {
    const length = end - start;
    for (let root = (length - 1) >> 1; root >= 0; root--) this.siftDown(root, length, start);
    for (let last = length - 1; last >= 0; last--) {
      this.swap(start, start + last);
      this.siftDown(0, last, start);
    }
  }

  private siftDown(from: number, length: number, start: number): void {
    for (let root = from; ; ) {
      let child = 2 * root + 1;
      if (child >= length) return;
      if (child + 1 < length && this.isLess(start + child, start + child + 1)) child++;
      if (!this.isLess(start + root, start + child)) return;
      this.swap(start + root, start + child);
      root = child;
    }
  }
}
