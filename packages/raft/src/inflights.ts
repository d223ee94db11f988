import { assert } from '@etsd/base';

/**
 * The window of appends sent and not yet acknowledged: a ring of (last index, bytes), oldest first. It is full when
 * either the number of messages or their bytes reach the limit.
 */
export class Inflights {
  readonly capacity: number;
  readonly bytesMax: number;
  count = 0;
  bytes = 0;
  private head = 0;
  /** Grown by doubling up to `capacity`: most followers keep up and need few. */
  private indexes: number[] = [];
  private sizes: number[] = [];
  private slots = 0;

  constructor(capacity: number, bytesMax: number) {
    this.capacity = capacity;
    this.bytesMax = bytesMax;
  }

  get full(): boolean {
    return this.count >= this.capacity || (this.bytesMax > 0 && this.bytes >= this.bytesMax);
  }

  /** Notes an append whose last entry is `index`; indexes grow. */
  add(index: number, bytes: number): void {
    assert(!this.full, 'raft: an append was sent through a full window');
    if (this.count === this.slots) this.grow();
    const place = (this.head + this.count) % this.slots;
    this.indexes[place] = index;
    this.sizes[place] = bytes;
    this.count++;
    this.bytes += bytes;
  }

  /** Frees everything up to `index`: an acknowledgement covers what came before it. */
  freeTo(index: number): void {
    while (this.count > 0 && (this.indexes[this.head] as number) <= index) this.freeFirst();
  }

  /** Frees the oldest: a probe through a full window, when it may have been lost. */
  freeFirst(): void {
    if (this.count === 0) return;
    this.bytes -= this.sizes[this.head] as number;
    this.head = (this.head + 1) % this.slots;
    this.count--;
  }

  reset(): void {
    this.count = 0;
    this.bytes = 0;
    this.head = 0;
  }

  private grow(): void {
    const slots = Math.min(this.capacity, Math.max(8, this.slots * 2));
    const indexes: number[] = new Array<number>(slots).fill(0);
    const sizes: number[] = new Array<number>(slots).fill(0);
    for (let place = 0; place < this.count; place++) {
      const from = (this.head + place) % this.slots;
      indexes[place] = this.indexes[from] as number;
      sizes[place] = this.sizes[from] as number;
    }
    this.indexes = indexes;
    this.sizes = sizes;
    this.slots = slots;
    this.head = 0;
  }
}
