import type { Compare, KeyRecord, KvOperation, Step, StepResult } from './history.ts';
import { type Change, covers, type RevisionLog, sameKey } from './revision-log.ts';

/** What an operation would do and answer on the store as of a revision. */
export interface Evaluation {
  readonly succeeded: boolean;
  readonly results: readonly StepResult[];
  /** In the order of the steps; at most one per key, since the protocol refuses more. Empty: it only read. */
  readonly changes: readonly Change[];
}

const NOTHING: readonly Change[] = [];

function holds(compare: Compare, kv: KeyRecord | null): boolean {
  // A key that is not there has no value that could be compared; its numbers are 0.
  if (kv === null && compare.target === 'value') return false;
  const actual = kv === null ? 0 : kv[compare.target];
  switch (compare.result) {
    case '=':
      return actual === compare.operand;
    case '!=':
      return actual !== compare.operand;
    case '>':
      return actual > compare.operand;
    case '<':
      return actual < compare.operand;
  }
}

/** The store as of a revision, with what a transaction has changed so far laid over it. */
class View {
  private readonly log: RevisionLog;
  private readonly base: number;
  /** Most operations only read. */
  private changed: Map<string, KeyRecord | null> | null = null;

  constructor(log: RevisionLog, base: number) {
    this.log = log;
    this.base = base;
  }

  get(key: string): KeyRecord | null {
    const changed = this.changed?.get(key);
    return changed === undefined ? this.log.at(key, this.base) : changed;
  }

  set(key: string, kv: KeyRecord | null): void {
    this.changed ??= new Map();
    this.changed.set(key, kv);
  }

  get changes(): readonly Change[] {
    if (this.changed === null) return NOTHING;
    const changes: Change[] = [];
    for (const [key, kv] of this.changed) changes.push({ key, kv });
    return changes;
  }

  range(key: string, end: string, revision: number): KeyRecord[] {
    const known = this.log.keysIn(key, end);
    if (revision !== 0) return this.asOf(known, revision);
    if (this.changed === null) return this.asOf(known, this.base);
    const names = [...known];
    for (const name of this.changed.keys()) if (covers(key, end, name) && !names.includes(name)) names.push(name);
    return names
      .sort()
      .map((name) => this.get(name))
      .filter((kv) => kv !== null);
  }

  private asOf(names: readonly string[], revision: number): KeyRecord[] {
    const found: KeyRecord[] = [];
    for (const name of names) {
      const kv = this.log.at(name, revision);
      if (kv !== null) found.push(kv);
    }
    return found;
  }
}

function runStep(step: Step, view: View, revision: number): StepResult {
  if (step.do === 'range') {
    const all = view.range(step.key, step.end, step.revision);
    return { kvs: step.limit > 0 ? all.slice(0, step.limit) : all, count: all.length, deleted: 0 };
  }
  if (step.do === 'delete') {
    const found = view.range(step.key, step.end, 0);
    for (const kv of found) view.set(kv.key, null);
    return { kvs: [], count: 0, deleted: found.length };
  }
  const before = view.get(step.key);
  view.set(step.key, {
    key: step.key,
    value: step.value,
    create: before === null ? revision : before.create,
    mod: revision,
    version: before === null ? 1 : before.version + 1,
    lease: step.lease,
  });
  return { kvs: [], count: 0, deleted: 0 };
}

/** Runs an operation on the store as of `base`; what it writes gets the next revision. */
export function evaluate(operation: KvOperation, log: RevisionLog, base: number): Evaluation {
  const view = new View(log, base);
  const succeeded = operation.compares.every((compare) => holds(compare, view.get(compare.key)));
  const steps = succeeded ? operation.success : operation.failure;
  const results = steps.map((step) => runStep(step, view, base + 1));
  return { succeeded, results, changes: view.changes };
}

/** Whether the answers name a change: then the operation has a revision of its own. */
export function hasWritten(operation: KvOperation): boolean {
  const steps = operation.succeeded ? operation.success : operation.failure;
  return steps.some((step, index) => step.do === 'put' || (operation.results[index]?.deleted ?? 0) > 0);
}

/** Whether a range's answer is what it should be; null if so, else what is wrong. */
export function differenceOf(expected: StepResult, actual: StepResult | undefined): string | null {
  if (actual === undefined) return 'no answer for a step';
  if (actual.deleted !== expected.deleted) return `deleted ${actual.deleted} keys, expected ${expected.deleted}`;
  if (actual.count !== expected.count) return `counted ${actual.count} keys, expected ${expected.count}`;
  if (actual.kvs.length !== expected.kvs.length) return `${actual.kvs.length} keys, expected ${expected.kvs.length}`;
  for (let index = 0; index < expected.kvs.length; index++) {
    const kv = expected.kvs[index] as KeyRecord;
    const other = actual.kvs[index] as KeyRecord;
    if (!sameKey(kv, other)) return `read ${JSON.stringify(other)}, expected ${JSON.stringify(kv)}`;
  }
  return null;
}

/** Whether an operation names every one of these keys in some step that deletes: no other can have deleted them. */
export function mayDelete({ success, failure }: KvOperation, changes: readonly Change[]): boolean {
  const deletes = (steps: readonly Step[], name: string): boolean =>
    steps.some((step) => step.do === 'delete' && covers(step.key, step.end, name));
  return changes.every(({ key }) => deletes(success, key) || deletes(failure, key));
}

/** Whether two sets of changes are the same, in any order. */
export function sameChanges(a: readonly Change[], b: readonly Change[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((change) => {
    const other = b.find((candidate) => candidate.key === change.key);
    return other !== undefined && sameKey(change.kv, other.kv);
  });
}
