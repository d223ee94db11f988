/**
 * Is there an order of the operations on one object that its model allows, with each operation somewhere between its call
 * and its return? A search that looks at nothing but what was asked and answered.
 *
 * After Wing and Gong, "Testing and verifying concurrent objects" (1993), and Lowe, "Testing for linearizability"
 * (2017), whose just-in-time variant this is: walking along the calls and returns in time, it keeps every configuration
 * (a state of the object and the set of calls under way that have already taken effect) that is still possible. At a
 * return the operation must have taken effect, so each configuration in which it has not is carried on through every order
 * of the calls under way until it has. No configuration left: no order exists.
 */

/** An object. States are whole numbers from 0, so that configurations are cheap to compare. */
export interface Model<Operation> {
  readonly initial: number;
  /** The state behind the operation, or -1 where the operation cannot have been answered so. */
  step(state: number, operation: Operation): number;
  /** Whether the operation leaves every state as it is. */
  isRead(operation: Operation): boolean;
  /** The state behind an operation of which nobody knows whether it happened; -1 if it would change nothing. */
  optionalStep(state: number): number;
}

export interface Interval<Operation> {
  readonly start: number;
  readonly end: number;
  readonly operation: Operation;
}

export interface SearchResult<Operation> {
  readonly isLinearizable: boolean;
  /** The first operation, in order of the returns, for which no place was left; null when all have one. */
  readonly culprit: Interval<Operation> | null;
  /** What was under way beside it. */
  readonly concurrent: readonly Interval<Operation>[];
}

interface Configuration {
  readonly state: number;
  /** One bit for each of the first slots: whether the operation in it has taken effect. */
  readonly taken: number;
  /** The same of all other slots, which hardly any history needs. */
  readonly more: bigint;
  /** How many of the optional operations were needed. */
  readonly optional: number;
}

/** Slots whose bits are in `taken`. */
const FIRST_SLOTS = 30;
const STATES_MAX = 2 ** (53 - FIRST_SLOTS);

function hasTaken({ taken, more }: Configuration, slot: number): boolean {
  return slot < FIRST_SLOTS ? (taken & (1 << slot)) !== 0 : (more & (1n << BigInt(slot - FIRST_SLOTS))) !== 0n;
}

/** The same with the bit of one slot turned over, behind a step to another state. */
function turned(from: Configuration, slot: number, state: number): Configuration {
  const { taken, more, optional } = from;
  if (slot < FIRST_SLOTS) return { state, taken: taken ^ (1 << slot), more, optional };
  return { state, taken, more: more ^ (1n << BigInt(slot - FIRST_SLOTS)), optional };
}

/** Equal for configurations that differ in nothing but what is optional. */
function keyOf({ state, taken, more }: Configuration): number | string {
  return more === 0n && state < STATES_MAX ? state * 2 ** FIRST_SLOTS + taken : `${state} ${taken} ${more}`;
}

/** More than this many possible pasts, and the history says too little to be judged. */
const CONFIGURATIONS_MAX = 600_000;

/**
 * @param optional moments from which one more optional operation (all of the same kind, see `optionalStep`) may take effect.
 * @throws Error when the possibilities outgrow what can be looked at.
 */
export function searchOrder<Operation>(
  model: Model<Operation>,
  intervals: readonly Interval<Operation>[],
  optional: readonly number[] = [],
): SearchResult<Operation> {
  return new Search(model, intervals, optional).run();
}

class Search<Operation> {
  private readonly model: Model<Operation>;
  private readonly intervals: readonly Interval<Operation>[];
  private readonly optional: readonly number[];
  /** The operations under way, by slot; null where a slot is free. */
  private readonly slots: (Interval<Operation> | null)[] = [];
  private readonly free: number[] = [];
  private available = 0;
  private configurations: Configuration[];

  constructor(model: Model<Operation>, intervals: readonly Interval<Operation>[], optional: readonly number[]) {
    this.model = model;
    this.intervals = intervals;
    this.optional = [...optional].sort((a, b) => a - b);
    this.configurations = [{ state: model.initial, taken: 0, more: 0n, optional: 0 }];
  }

  run(): SearchResult<Operation> {
    const calls = [...this.intervals].sort((a, b) => a.start - b.start);
    const returns = [...this.intervals].sort((a, b) => a.end - b.end);
    const slotOf = new Map<Interval<Operation>, number>();
    let called = 0;
    for (const returned of returns) {
      // At the same moment calls come first: nothing says that they did not overlap.
      while (called < calls.length && (calls[called] as Interval<Operation>).start <= returned.end) {
        const call = calls[called++] as Interval<Operation>;
        slotOf.set(call, this.enter(call));
      }
      while (this.available < this.optional.length && (this.optional[this.available] as number) <= returned.end) {
        this.available++;
      }
      const slot = slotOf.get(returned) as number;
      slotOf.delete(returned);
      this.leave(slot);
      if (this.configurations.length === 0) {
        const concurrent = this.slots.filter((one) => one !== null && one !== returned) as Interval<Operation>[];
        return { isLinearizable: false, culprit: returned, concurrent };
      }
      this.slots[slot] = null;
      this.free.push(slot);
    }
    return { isLinearizable: true, culprit: null, concurrent: [] };
  }

  private enter(call: Interval<Operation>): number {
    const slot = this.free.pop() ?? this.slots.length;
    this.slots[slot] = call;
    return slot;
  }

  /** Only configurations remain in which the operation of this slot has taken effect; its bit is cleared. */
  private leave(slot: number): void {
    const done = new Map<number | string, Configuration>();
    const seen = new Map<number | string, number>();
    const open: Configuration[] = [];
    const visit = (next: Configuration): void => {
      if (hasTaken(next, slot)) {
        const cleared = turned(next, slot, next.state);
        const key = keyOf(cleared);
        const other = done.get(key);
        // Of two that differ only in the optional operations used up, the thriftier can do whatever the other can.
        if (other === undefined || other.optional > cleared.optional) done.set(key, cleared);
        return;
      }
      const key = keyOf(next);
      const spent = seen.get(key);
      if (spent !== undefined && spent <= next.optional) return;
      seen.set(key, next.optional);
      if (seen.size > CONFIGURATIONS_MAX) throw new Error('too many operations overlap to be ordered');
      open.push(next);
    };
    for (const configuration of this.configurations) visit(this.settle(configuration));
    for (let next = open.pop(); next !== undefined; next = open.pop()) this.expand(next, visit);
    this.configurations = [...done.values()];
  }

  private expand(from: Configuration, visit: (next: Configuration) => void): void {
    for (let slot = 0; slot < this.slots.length; slot++) {
      const interval = this.slots[slot] as Interval<Operation> | null;
      if (interval === null || hasTaken(from, slot) || this.model.isRead(interval.operation)) continue;
      const state = this.model.step(from.state, interval.operation);
      if (state >= 0) visit(this.settle(turned(from, slot, state)));
    }
    if (from.optional >= this.available) return;
    const state = this.model.optionalStep(from.state);
    if (state >= 0) visit(this.settle({ ...from, state, optional: from.optional + 1 }));
  }

  /** A read that fits now is taken now: that changes nothing, so nothing else becomes impossible. */
  private settle(configuration: Configuration): Configuration {
    let settled = configuration;
    for (let slot = 0; slot < this.slots.length; slot++) {
      const interval = this.slots[slot] as Interval<Operation> | null;
      if (interval === null || hasTaken(settled, slot) || !this.model.isRead(interval.operation)) continue;
      if (this.model.step(settled.state, interval.operation) >= 0) settled = turned(settled, slot, settled.state);
    }
    return settled;
  }
}
