import type { EtcdError } from '@etsd/proto';
import type { Waiter } from './applier.ts';
import { PROPOSAL_OVERHEAD_BYTES } from './limits.ts';

const INITIAL_SLOTS = 1024;

/**
 * Proposals of this member as a leader, waiting to be applied: a ring ordered by index. Nothing is allocated per
 * proposal, and no clock is read: a slot remembers the tick it came in.
 */
export class Proposals {
  /** Data of the proposals that wait, and their overhead, in bytes. */
  bytes = 0;
  /** Proposals that wait. */
  length = 0;
  /** Proposals that failed: their time was over, or their entry was replaced. */
  failedTotal = 0;
  private head = 0;
  private mask = INITIAL_SLOTS - 1;
  private indexes: number[] = new Array<number>(INITIAL_SLOTS).fill(0);
  private terms: number[] = new Array<number>(INITIAL_SLOTS).fill(0);
  private ticks: number[] = new Array<number>(INITIAL_SLOTS).fill(0);
  private sizes: number[] = new Array<number>(INITIAL_SLOTS).fill(0);
  private waiters: (Waiter | null)[] = new Array<Waiter | null>(INITIAL_SLOTS).fill(null);

  /** `index` is above that of every other proposal that waits. */
  add(index: number, term: number, size: number, tick: number, waiter: Waiter): void {
    if (this.length > this.mask) this.grow();
    const slot = (this.head + this.length) & this.mask;
    this.indexes[slot] = index;
    this.terms[slot] = term;
    this.ticks[slot] = tick;
    this.sizes[slot] = size;
    this.waiters[slot] = waiter;
    this.length++;
    this.bytes += size + PROPOSAL_OVERHEAD_BYTES;
  }

  /**
   * Who waits for the entry that is applied at (index, term), or null. Whoever waits for an earlier index, or for this
   * one in another term, waits for an entry that was replaced: it fails with `lost`.
   */
  take(index: number, term: number, lost: EtcdError): Waiter | null {
    while (this.length > 0) {
      const slot = this.head;
      const at = this.indexes[slot] as number;
      if (at > index) return null;
      const waiter = this.waiters[slot] as Waiter;
      const isIt = at === index && this.terms[slot] === term;
      this.drop();
      if (isIt) return waiter;
      this.failedTotal++;
      waiter.fail(lost);
    }
    return null;
  }

  /** Whether anybody waits who came at `tick` or before. */
  isDue(tick: number): boolean {
    return this.length > 0 && (this.ticks[this.head] as number) <= tick;
  }

  /** Fails everybody who came at `tick` or before. */
  expire(tick: number, error: EtcdError): void {
    while (this.length > 0 && (this.ticks[this.head] as number) <= tick) {
      const waiter = this.waiters[this.head] as Waiter;
      this.drop();
      this.failedTotal++;
      waiter.fail(error);
    }
  }

  /** Fails everybody whose entry is no longer in the log; afterwards all indexes are within it. */
  sweep(termAt: (index: number) => number, appliedIndex: number, lost: EtcdError): void {
    const count = this.length;
    for (let turn = 0; turn < count; turn++) {
      const slot = this.head;
      const index = this.indexes[slot] as number;
      const term = this.terms[slot] as number;
      const size = this.sizes[slot] as number;
      const tick = this.ticks[slot] as number;
      const waiter = this.waiters[slot] as Waiter;
      this.drop();
      if (index > appliedIndex && termAt(index) === term) this.add(index, term, size, tick, waiter);
      else {
        this.failedTotal++;
        waiter.fail(lost);
      }
    }
  }

  private drop(): void {
    const slot = this.head;
    this.waiters[slot] = null;
    this.bytes -= (this.sizes[slot] as number) + PROPOSAL_OVERHEAD_BYTES;
    this.head = (slot + 1) & this.mask;
    this.length--;
  }

  private grow(): void {
    this.indexes = this.unrolled(this.indexes, 0);
    this.terms = this.unrolled(this.terms, 0);
    this.ticks = this.unrolled(this.ticks, 0);
    this.sizes = this.unrolled(this.sizes, 0);
    this.waiters = this.unrolled<Waiter | null>(this.waiters, null);
    this.mask = this.mask * 2 + 1;
    this.head = 0;
  }

  private unrolled<T>(ring: T[], empty: T): T[] {
    const larger = new Array<T>(ring.length * 2).fill(empty);
    for (let place = 0; place < this.length; place++) {
      larger[place] = ring[(this.head + place) & this.mask] as T;
    }
    return larger;
  }
}
