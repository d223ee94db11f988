/**
 * All leases, the one that expires first in front, without holding the event loop: they are gathered and sorted in runs,
 * the runs merged, a slice a turn.
 */
import { Heap, type HeapNode } from '@etsd/base';
import { u64Size, writeU64 } from '@etsd/proto';
import type { Lease } from '@etsd/state';
import type { ApiWorld } from '../context.ts';

/** Leases of a run, and merged in one go. */
const RUN = 4096;

/** One sorted run, by its first lease not yet taken. */
class Run implements HeapNode {
  heapKey: number;
  heapIndex = -1;
  private at = 0;
  private readonly leases: Lease[];
  private readonly keys: Float64Array;

  constructor(leases: Lease[], secondsLeft: (lease: Lease) => number) {
    const keyed = leases.map((lease) => ({ lease, key: secondsLeft(lease) }));
    keyed.sort((a, b) => a.key - b.key);
    this.leases = keyed.map(({ lease }) => lease);
    this.keys = Float64Array.from(keyed, ({ key }) => key);
    this.heapKey = this.keys[0] as number;
  }

  take(): Lease {
    const lease = this.leases[this.at++] as Lease;
    this.heapKey = this.at < this.leases.length ? (this.keys[this.at] as number) : Number.POSITIVE_INFINITY;
    return lease;
  }

  get isEmpty(): boolean {
    return this.at === this.leases.length;
  }
}

/** Makes the encoded `leases` of a LeaseLeasesResponse and hands over its pieces. */
export class LeaseList {
  private readonly world: ApiWorld;
  private readonly cursor: Iterator<Lease>;
  private readonly order: (lease: Lease) => number;
  private readonly done: (chunks: Buffer[], bytes: number) => void;
  private readonly runs = new Heap<Run>();
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private gathered = false;

  /** `order`: what to sort by; the order of leases with equal numbers is that of the iterator, roughly. */
  constructor(
    world: ApiWorld,
    leases: Iterator<Lease>,
    order: (lease: Lease) => number,
    done: (chunks: Buffer[], bytes: number) => void,
  ) {
    this.world = world;
    this.cursor = leases;
    this.order = order;
    this.done = done;
  }

  /** The next slice; the last one calls `done`. */
  readonly step = (): void => {
    if (!this.gathered) this.gather();
    else this.merge();
    if (this.gathered && this.runs.size === 0) this.done(this.chunks, this.bytes);
    else if (this.gathered && this.runs.size === 1 && this.chunks.length === 0) this.step();
    else this.world.timers.endOfTurn(this.step);
  };

  private gather(): void {
    const leases: Lease[] = [];
    while (leases.length < RUN) {
      const { value: lease, done } = this.cursor.next();
      if (done === true) {
        this.gathered = true;
        break;
      }
      leases.push(lease);
    }
    if (leases.length > 0) this.runs.push(new Run(leases, this.order));
  }

  private merge(): void {
    // Tag, length, tag and an id of at most ten bytes.
    const chunk = Buffer.allocUnsafe(RUN * 13);
    let at = 0;
    for (let count = 0; count < RUN; count++) {
      const run = this.runs.peek();
      if (run === undefined) break;
      const { id } = run.take();
      chunk[at++] = 0x12;
      chunk[at++] = 1 + u64Size(id);
      chunk[at++] = 0x08;
      at = writeU64(chunk, at, id);
      if (run.isEmpty) this.runs.remove(run);
      else this.runs.update(run);
    }
    this.chunks.push(chunk.subarray(0, at));
    this.bytes += at;
  }
}
