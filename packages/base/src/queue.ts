/**
 * A first-in first-out queue over a ring whose size is a power of two: push and take are a few instructions, and taken
 * slots are cleared so that nothing is kept alive.
 */
export class RingQueue<T> {
  private slots: (T | undefined)[];
  private head = 0;
  /** Number of elements held. */
  length = 0;

  constructor(capacity = 16) {
    let size = 2;
    while (size < capacity) size *= 2;
    this.slots = new Array<T | undefined>(size).fill(undefined);
  }

  push(value: T): void {
    if (this.length === this.slots.length) this.grow();
    this.slots[(this.head + this.length) & (this.slots.length - 1)] = value;
    this.length++;
  }

  /** Removes and returns the oldest element, or `undefined` where there is none. */
  take(): T | undefined {
    if (this.length === 0) return undefined;
    const value = this.slots[this.head];
    this.slots[this.head] = undefined;
    this.head = (this.head + 1) & (this.slots.length - 1);
    this.length--;
    return value;
  }

  /** The oldest element, left in place. */
  peek(): T | undefined {
    return this.length === 0 ? undefined : this.slots[this.head];
  }

  /** The element `index` places behind the oldest. */
  at(index: number): T | undefined {
    return index < 0 || index >= this.length ? undefined : this.slots[(this.head + index) & (this.slots.length - 1)];
  }

  clear(): void {
    while (this.length > 0) this.take();
  }

  private grow(): void {
    const larger = new Array<T | undefined>(this.slots.length * 2).fill(undefined);
    for (let index = 0; index < this.length; index++) larger[index] = this.at(index);
    this.slots = larger;
    this.head = 0;
  }
}
