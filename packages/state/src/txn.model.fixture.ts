/** Transactions told as plainly as possible, to hold the real ones against. Written from the rules, not from the code. */
import { inRange, type U64, U64_ZERO, u64ToSignedDecimal } from '@etsd/base';
import type { Compare, RequestOp, TxnRequest } from '@etsd/proto';

export interface ModelKey {
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly value: string;
  readonly lease: U64;
}

export type ModelState = ReadonlyMap<string, ModelKey>;

export type ModelOp =
  | { kind: 'range'; revision: number; keys: string[]; values: string[]; count: number; more: boolean }
  | { kind: 'put'; revision: number; previous: string | null }
  | { kind: 'delete'; revision: number; count: number; previous: string[] }
  | { kind: 'txn'; succeeded: boolean; ops: ModelOp[] }
  | { kind: 'none' };

export interface ModelAnswer {
  readonly error: string | null;
  readonly succeeded: boolean;
  readonly revision: number;
  readonly ops: ModelOp[];
}

const NO_ANSWER = { succeeded: false, revision: 0, ops: [] };
const text = (bytes: Buffer) => bytes.toString('latin1');

/** All past states by revision, and the leases there are. */
export class TxnModel {
  readonly states: ModelState[] = [new Map(), new Map()];
  readonly leases = new Set<U64>();
  compactRevision = -1;

  get revision(): number {
    return this.states.length - 1;
  }

  get current(): ModelState {
    return this.states.at(-1) as ModelState;
  }

  run(request: TxnRequest): ModelAnswer {
    const plan = this.plan(request);
    const error = this.putError(plan) ?? this.rangeError(plan);
    if (error !== null) return { ...NO_ANSWER, error };
    const draft = new Map(this.current);
    const progress = { changed: false };
    const ops = this.perform(plan, draft, progress);
    if (progress.changed) this.states.push(draft);
    return { error: null, succeeded: plan.succeeded, revision: this.revision, ops };
  }

  private plan(request: TxnRequest): Plan {
    const succeeded = request.compare.every((compare) => this.holds(compare));
    const branch = succeeded ? request.success : request.failure;
    return {
      succeeded,
      steps: branch.map((op) => ({ op, nested: op.requestTxn === null ? null : this.plan(op.requestTxn) })),
    };
  }

  private putError(plan: Plan): string | null {
    for (const { op, nested } of plan.steps) {
      if (nested !== null) {
        const inner = this.putError(nested);
        if (inner !== null) return inner;
      }
      const put = op.requestPut;
      if (put === null) continue;
      if ((put.ignoreLease || put.ignoreValue) && !this.current.has(text(put.key))) return 'key not found';
      if (put.lease !== U64_ZERO && !this.leases.has(put.lease)) return 'lease not found';
    }
    return null;
  }

  private rangeError(plan: Plan): string | null {
    for (const { op, nested } of plan.steps) {
      if (nested !== null) {
        const inner = this.rangeError(nested);
        if (inner !== null) return inner;
      }
      const revision = op.requestRange?.revision ?? 0;
      if (revision > this.revision) return 'future';
      if (revision !== 0 && revision < this.compactRevision) return 'compacted';
    }
    return null;
  }

  private perform(plan: Plan, draft: Map<string, ModelKey>, progress: { changed: boolean }): ModelOp[] {
    return plan.steps.map(({ op, nested }) => {
      if (nested !== null) {
        return { kind: 'txn', succeeded: nested.succeeded, ops: this.perform(nested, draft, progress) };
      }
      return this.step(op, draft, progress);
    });
  }

  private step(op: RequestOp, draft: Map<string, ModelKey>, progress: { changed: boolean }): ModelOp {
    const before = this.revision;
    if (op.requestRange !== null) {
      const { key, rangeEnd, revision, limit } = op.requestRange;
      const state = revision > 0 ? (this.states[revision] as ModelState) : draft;
      const all = namesIn(state, text(key), text(rangeEnd));
      const shown = limit > 0 ? all.slice(0, limit) : all;
      return {
        kind: 'range',
        revision: progress.changed ? before + 1 : before,
        keys: shown,
        values: shown.map((name) => state.get(name)?.value as string),
        count: all.length,
        more: shown.length < all.length,
      };
    }
    if (op.requestPut !== null) {
      const put = op.requestPut;
      const name = text(put.key);
      const old = draft.get(name);
      draft.set(name, {
        create: old?.create ?? before + 1,
        mod: before + 1,
        version: (old?.version ?? 0) + 1,
        value: put.ignoreValue && old !== undefined ? old.value : text(put.value),
        lease: put.ignoreLease && old !== undefined ? old.lease : put.lease,
      });
      progress.changed = true;
      return { kind: 'put', revision: before + 1, previous: put.prevKv ? (old?.value ?? null) : null };
    }
    if (op.requestDeleteRange !== null) {
      const { key, rangeEnd, prevKv } = op.requestDeleteRange;
      const names = namesIn(draft, text(key), text(rangeEnd));
      const previous = prevKv ? names.map((name) => draft.get(name)?.value as string) : [];
      for (const name of names) draft.delete(name);
      if (names.length > 0) progress.changed = true;
      return { kind: 'delete', revision: progress.changed ? before + 1 : before, count: names.length, previous };
    }
    return { kind: 'none' };
  }

  private holds(compare: Compare): boolean {
    const names = namesIn(this.current, text(compare.key), text(compare.rangeEnd));
    if (names.length === 0) {
      if (compare.target === 3) return false;
      return this.relation(compare, { create: 0, mod: 0, version: 0, value: '', lease: U64_ZERO });
    }
    return names.every((name) => this.relation(compare, this.current.get(name) as ModelKey));
  }

  private relation(compare: Compare, key: ModelKey): boolean {
    const [left, right] = operands(compare, key);
    switch (compare.result) {
      case 0:
        return left === right;
      case 1:
        return left > right;
      case 2:
        return left < right;
      case 3:
        return left !== right;
      default:
        return true;
    }
  }
}

interface Plan {
  readonly succeeded: boolean;
  readonly steps: { readonly op: RequestOp; readonly nested: Plan | null }[];
}

type Operand = number | string;

function operands(compare: Compare, key: ModelKey): [Operand, Operand] {
  const signed = (id: U64) => Number(u64ToSignedDecimal(id));
  switch (compare.target) {
    case 0:
      return [key.version, compare.version ?? 0];
    case 1:
      return [key.create, compare.createRevision ?? 0];
    case 2:
      return [key.mod, compare.modRevision ?? 0];
    case 3:
      return [key.value, compare.value === null ? '' : text(compare.value)];
    case 4:
      return [signed(key.lease), signed(compare.lease ?? U64_ZERO)];
    default:
      return [0, 0];
  }
}

function namesIn(state: ModelState, key: string, rangeEnd: string): string[] {
  return [...state.keys()].filter((name) => inRange(name, key, rangeEnd)).sort();
}
