import { describeOperation, type KvOperation, type Step, type Violation } from './history.ts';
import { type Interval, type Model, searchOrder } from './linearizability.ts';
import { covers } from './revision-log.ts';
import { isTended } from './tenure-records.ts';

/**
 * Linearizability key by key, without a look at revisions: each key is a register, and what a history says about one key
 * must be an order of its own (linearizability is local: Herlihy and Wing, §3.1). Weaker than `checkStoreOrder` in what it
 * sees, but it believes the members nothing, not even their numbering.
 */
type Touch =
  | { readonly kind: 'read'; readonly value: number; readonly operation: KvOperation }
  /** `expected` is a value the key must have had, or ANY. */
  | { readonly kind: 'write'; readonly value: number; readonly expected: number; readonly operation: KvOperation };

const ABSENT = 0;
const ANY = -1;

const REGISTER: Model<Touch> = {
  initial: ABSENT,
  step(state, touch) {
    if (touch.kind === 'read') return touch.value === state ? state : -1;
    return touch.expected === ANY || touch.expected === state ? touch.value : -1;
  },
  isRead: (touch) => touch.kind === 'read',
  // The operations that may or may not have happened are deletes.
  optionalStep: (state) => (state === ABSENT ? -1 : ABSENT),
};

/** Everything that concerns one key. */
interface KeyHistory {
  readonly touches: Interval<Touch>[];
  /** Puts without an answer, by value: they count once somebody saw the value. */
  readonly unanswered: Map<number, Interval<Touch>>;
  /** When deletes began that got no answer. */
  readonly deletes: number[];
  /** For each value, when the first operation that saw it had ended. */
  readonly seenAt: Map<number, number>;
}

/** Keys that ever hung on a lease, which may delete them at any time, are left to the other checks. */
export function checkRegisters(operations: readonly KvOperation[]): Violation[] {
  const leased = new Set<string>();
  const keys = new Set<string>();
  for (const operation of operations) {
    for (const step of [...operation.success, ...operation.failure]) {
      if (step.do === 'put' && step.lease !== '0') leased.add(step.key);
      if (step.do === 'put' || step.end === '') keys.add(step.key);
    }
    for (const result of operation.results) for (const kv of result.kvs) keys.add(kv.key);
  }
  const histories = new Map<string, KeyHistory>();
  for (const key of keys) {
    // Locks and elections write theirs by other requests than these, too.
    if (leased.has(key) || isTended(key)) continue;
    histories.set(key, { touches: [], unanswered: new Map(), deletes: [], seenAt: new Map() });
  }
  const values = new Map<string, number>();
  const ranges = new Ranges(histories);
  for (const operation of operations) {
    if (operation.serializable || operation.outcome === 'failed') continue;
    project(operation, ranges, values);
  }
  const violations: Violation[] = [];
  for (const [key, history] of histories) {
    const found = searchOrder(REGISTER, settleUnanswered(history), history.deletes);
    if (found.isLinearizable) continue;
    const lines = [found.culprit, ...found.concurrent].map(
      (one) => `\n  ${describeOperation((one as Interval<Touch>).operation.operation)}`,
    );
    violations.push({
      rule: 'linearizability of a key',
      text: `no order of the operations on ${key} allows${lines.join('')}`,
    });
  }
  return violations;
}

function numberOf(values: Map<string, number>, value: string): number {
  let number = values.get(value);
  if (number === undefined) {
    number = values.size + 1;
    values.set(value, number);
  }
  return number;
}

/** What an operation says about each key it touches. */
function project(operation: KvOperation, ranges: Ranges, values: Map<string, number>): void {
  const answered = operation.outcome === 'ok';
  const branches = answered
    ? [operation.succeeded ? operation.success : operation.failure]
    : [operation.success, operation.failure];
  for (const steps of branches) {
    for (const [index, step] of steps.entries()) {
      for (const [key, history] of ranges.concerned(step)) {
        projectStep(operation, step, index, key, history, values);
      }
    }
  }
}

type NamedHistory = readonly [key: string, history: KeyHistory];

/** Which keys a step is about; the same few ranges come again and again. */
class Ranges {
  private readonly histories: ReadonlyMap<string, KeyHistory>;
  private readonly known = new Map<string, readonly NamedHistory[]>();

  constructor(histories: ReadonlyMap<string, KeyHistory>) {
    this.histories = histories;
  }

  concerned(step: Step): readonly NamedHistory[] {
    const { key } = step;
    const end = step.do === 'put' ? '' : step.end;
    const range = `${key}\0${end}`;
    let found = this.known.get(range);
    if (found === undefined) {
      found = [...this.histories].filter(([name]) => covers(key, end, name));
      this.known.set(range, found);
    }
    return found;
  }
}

function projectStep(
  operation: KvOperation,
  step: Step,
  index: number,
  key: string,
  history: KeyHistory,
  values: Map<string, number>,
): void {
  const { start, end, outcome } = operation;
  if (outcome === 'unknown') {
    if (step.do === 'delete') history.deletes.push(start);
    if (step.do !== 'put') return;
    const value = numberOf(values, step.value);
    history.unanswered.set(value, {
      start,
      end,
      operation: { kind: 'write', value, expected: expectedOf(operation, key, values), operation },
    });
    return;
  }
  if (step.do === 'range') {
    // A range at an old revision, or one that was cut off, says nothing about keys it does not show.
    if (step.revision !== 0) return;
    const result = operation.results[index];
    const kv = result?.kvs.find((candidate) => candidate.key === key);
    if (kv === undefined && step.limit > 0) return;
    // Behind a write of the same transaction it reads that one.
    const own = (operation.succeeded ? operation.success : operation.failure).slice(0, index);
    if (
      own.some((earlier) => earlier.do !== 'range' && covers(earlier.key, earlier.do === 'put' ? '' : earlier.end, key))
    )
      return;
    const value = kv === undefined ? ABSENT : numberOf(values, kv.value);
    history.touches.push({ start, end, operation: { kind: 'read', value, operation } });
    see(history, value, end);
    return;
  }
  if (step.do === 'delete' && step.end === '' && operation.results[index]?.deleted === 0) {
    history.touches.push({ start, end, operation: { kind: 'read', value: ABSENT, operation } });
    return;
  }
  const value = step.do === 'put' ? numberOf(values, step.value) : ABSENT;
  const expected = operation.succeeded ? expectedOf(operation, key, values) : ANY;
  history.touches.push({ start, end, operation: { kind: 'write', value, expected, operation } });
  if (expected !== ANY) see(history, expected, end);
}

function expectedOf(operation: KvOperation, key: string, values: Map<string, number>): number {
  for (const { key: name, target, result, operand } of operation.compares) {
    if (name === key && target === 'value' && result === '=') return numberOf(values, operand as string);
  }
  return ANY;
}

function see(history: KeyHistory, value: number, at: number): void {
  const other = history.seenAt.get(value);
  if (other === undefined || at < other) history.seenAt.set(value, at);
}

/**
 * A put without an answer whose value somebody saw did happen, before whoever saw it had ended; one whose value nobody saw
 * may as well not have happened.
 */
function settleUnanswered(history: KeyHistory): Interval<Touch>[] {
  const settled = [...history.touches];
  let isChanged = true;
  while (isChanged) {
    isChanged = false;
    for (const [value, interval] of history.unanswered) {
      const end = history.seenAt.get(value);
      if (end === undefined) continue;
      history.unanswered.delete(value);
      isChanged = true;
      const { start, operation } = interval;
      // Seen before it was asked for, it still begins when it began, and no order is found.
      settled.push({ start, end: Math.max(start, end), operation });
      if (operation.kind === 'write' && operation.expected !== ANY) see(history, operation.expected, end);
    }
  }
  return settled;
}
