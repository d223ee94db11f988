/** What the program and its workers know in common: some numbers in shared memory, readable while a worker stands still. */

/** Numbers kept of each worker. */
export const Slot = {
  /** Until when, on the machine's clock, the worker takes the lock for its own; 0 when it does not. */
  HELD_UNTIL_MS: 0,
  /** How often it has had the lock. */
  TENURES: 1,
  /** Revision up to which the slowest of its watches has come. */
  WATCHED: 2,
  /** Writes that were acknowledged. */
  WRITES: 3,
  /** Leases that it lost since it stood still, by the client's own word. */
  STALLED: 4,
} as const;
const SLOTS = 5;

/** The numbers of all workers. */
export class Board {
  readonly memory: SharedArrayBuffer;
  private readonly numbers: Float64Array;
  readonly workers: number;

  constructor(workers: number, memory = new SharedArrayBuffer(workers * SLOTS * 8)) {
    this.workers = workers;
    this.memory = memory;
    this.numbers = new Float64Array(memory);
  }

  get(worker: number, slot: number): number {
    return this.numbers[worker * SLOTS + slot] as number;
  }

  set(worker: number, slot: number, value: number): void {
    this.numbers[worker * SLOTS + slot] = value;
  }

  add(worker: number, slot: number): void {
    this.set(worker, slot, this.get(worker, slot) + 1);
  }

  sum(slot: number): number {
    let sum = 0;
    for (let worker = 0; worker < this.workers; worker++) sum += this.get(worker, slot);
    return sum;
  }
}

/** Milliseconds on one clock for all threads. */
export function machineMs(): number {
  return performance.timeOrigin + performance.now();
}

export interface WorkerStart {
  readonly index: number;
  readonly memory: SharedArrayBuffer;
  readonly workers: number;
  readonly endpoints: readonly string[];
  readonly startRevision: number;
  readonly ttlSeconds: number;
}

/** What a worker is told: to stand still for so long, or to end. */
export type Order = { readonly blockMs: number } | 'end';

/** What a worker says: that a promise was broken, or that it has ended. */
export type Report = { readonly violation: string } | 'ended';
