/**
 * Which requests on keys are refused before they reach the log, and with what: etcd's rules, in etcd's order, for each
 * was seen on 3.5.30 (where etcd 3.5 crashes, on a sort target that does not exist, 3.6's answer is given).
 */
import { type Key, keyFromBytes, OPEN_END, U64_ZERO } from '@etsd/base';
import {
  type DeleteRangeRequest,
  ErrDuplicateKey,
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrKeyNotFound,
  ErrLeaseProvided,
  ErrTooManyOps,
  ErrValueProvided,
  type EtcdError,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  SortOrder,
  SortTarget,
  type TxnRequest,
} from '@etsd/proto';

/** Bytes that a put costs beside its key and value, as the quota counts them. */
export const PUT_OVERHEAD_BYTES = 256;

/** The rules of a transaction on its own, those of its operations and of what may stand beside what. */
export function checkTxn(request: TxnRequest, maxOps: number): EtcdError | null {
  const error = checkShape(request, maxOps);
  if (error !== null) return error;
  return checkBranch(request.success) ?? checkBranch(request.failure);
}

function checkShape(request: TxnRequest, maxOps: number): EtcdError | null {
  const { compare, success, failure } = request;
  const widest = Math.max(compare.length, success.length, failure.length);
  if (widest > maxOps) return ErrTooManyOps;
  for (const each of compare) if (each.key.length === 0) return ErrEmptyKey;
  const left = maxOps - widest;
  for (const op of success) {
    const error = checkOp(op, left);
    if (error !== null) return error;
  }
  for (const op of failure) {
    const error = checkOp(op, left);
    if (error !== null) return error;
  }
  return null;
}

function checkOp(op: RequestOp, opsLeft: number): EtcdError | null {
  if (op.requestRange !== null) return checkRange(op.requestRange);
  if (op.requestPut !== null) return checkPut(op.requestPut);
  if (op.requestDeleteRange !== null) return checkDelete(op.requestDeleteRange);
  if (op.requestTxn !== null) return checkShape(op.requestTxn, opsLeft);
  return ErrKeyNotFound;
}

function checkRange(request: RangeRequest): EtcdError | null {
  if (request.key.length === 0) return ErrEmptyKey;
  return checkSort(request.sortOrder, request.sortTarget);
}

export function checkSort(order: number, target: number): EtcdError | null {
  if (order < SortOrder.NONE || order > SortOrder.DESCEND) return ErrInvalidSortOption;
  if (target < SortTarget.KEY || target > SortTarget.VALUE) return ErrInvalidSortOption;
  return null;
}

function checkPut(request: PutRequest): EtcdError | null {
  if (request.key.length === 0) return ErrEmptyKey;
  if (request.ignoreValue && request.value.length !== 0) return ErrValueProvided;
  if (request.ignoreLease && request.lease !== U64_ZERO) return ErrLeaseProvided;
  return null;
}

function checkDelete(request: DeleteRangeRequest): EtcdError | null {
  return request.key.length === 0 ? ErrEmptyKey : null;
}

// ── what may stand beside what ──────────────────────────────────────────────────────────────────────────────────────

/** Sorted, disjoint, half-open intervals of keys. */
interface Intervals {
  readonly starts: Key[];
  readonly ends: Key[];
}

/** What a list of operations writes. */
interface Writes {
  readonly puts: Set<Key>;
  deletes: Intervals;
  /** Smallest key from which on everything is deleted; null where no deletion is open-ended. */
  openFrom: Key | null;
  /** Greatest key of which the former value or lease is to be kept; null where there is none. */
  keptTo: Key | null;
}

/**
 * No key may be put twice, nor put and deleted, by operations of one branch and the transactions nested in it; the two
 * branches of a nested one exclude each other and may meet. Three things follow etcd though they look odd: deletions of
 * one nested transaction forbid puts in the later ones but not in the earlier ones, deletions twice are fine, and a
 * deletion with an open end forbids nothing.
 */
function checkBranch(ops: readonly RequestOp[]): EtcdError | null {
  if (ops.length === 0 || (ops.length === 1 && ops[0]?.requestTxn === null)) return null;
  const writes = collect(ops);
  if (writes === null) return ErrDuplicateKey;
  // Here etcd would accept, and stop with a panic when it applies that the key is gone.
  if (writes.openFrom !== null && writes.keptTo !== null && writes.keptTo >= writes.openFrom) return ErrDuplicateKey;
  return null;
}

function collect(ops: readonly RequestOp[]): Writes | null {
  const own: [Key, Key][] = [];
  const writes: Writes = { puts: new Set(), deletes: NO_INTERVALS, openFrom: null, keptTo: null };
  for (const op of ops) {
    if (op.requestDeleteRange === null) continue;
    const key = keyFromBytes(op.requestDeleteRange.key);
    const rangeEnd = keyFromBytes(op.requestDeleteRange.rangeEnd);
    if (rangeEnd === OPEN_END) writes.openFrom = lower(writes.openFrom, key);
    else own.push(rangeEnd === '' ? [key, `${key}\0`] : [key, rangeEnd]);
  }
  writes.deletes = intervalsOf(own);
  for (const op of ops) {
    if (op.requestTxn !== null && !collectNested(op.requestTxn, writes)) return null;
  }
  for (const op of ops) {
    if (op.requestPut === null) continue;
    const key = keyFromBytes(op.requestPut.key);
    if (writes.puts.has(key) || contains(writes.deletes, key)) return null;
    writes.puts.add(key);
    if (op.requestPut.ignoreValue || op.requestPut.ignoreLease) writes.keptTo = higher(writes.keptTo, key);
  }
  return writes;
}

/** Brings the writes of a nested transaction into those of its parent; false where they collide. */
function collectNested(request: TxnRequest, into: Writes): boolean {
  const success = collect(request.success);
  const failure = success === null ? null : collect(request.failure);
  if (success === null || failure === null) return false;
  for (const key of success.puts) {
    if (into.puts.has(key) || contains(into.deletes, key)) return false;
  }
  for (const key of failure.puts) {
    if (into.puts.has(key) || contains(into.deletes, key)) return false;
  }
  for (const writes of [success, failure]) {
    for (const key of writes.puts) into.puts.add(key);
    into.deletes = union(into.deletes, writes.deletes);
    if (writes.openFrom !== null) into.openFrom = lower(into.openFrom, writes.openFrom);
    if (writes.keptTo !== null) into.keptTo = higher(into.keptTo, writes.keptTo);
  }
  return true;
}

function lower(a: Key | null, b: Key): Key {
  return a === null || b < a ? b : a;
}

function higher(a: Key | null, b: Key): Key {
  return a === null || b > a ? b : a;
}

const NO_INTERVALS: Intervals = { starts: [], ends: [] };

function intervalsOf(pairs: [Key, Key][]): Intervals {
  if (pairs.length === 0) return NO_INTERVALS;
  const starts: Key[] = [];
  const ends: Key[] = [];
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [start, end] of pairs) append(starts, ends, start, end);
  return { starts, ends };
}

/** Merges in linear time, so that deep nesting stays harmless. */
function union(a: Intervals, b: Intervals): Intervals {
  if (a.starts.length === 0) return b;
  if (b.starts.length === 0) return a;
  const starts: Key[] = [];
  const ends: Key[] = [];
  let i = 0;
  let j = 0;
  while (i < a.starts.length || j < b.starts.length) {
    const fromA = j >= b.starts.length || (i < a.starts.length && (a.starts[i] as Key) <= (b.starts[j] as Key));
    if (fromA) append(starts, ends, a.starts[i] as Key, a.ends[i++] as Key);
    else append(starts, ends, b.starts[j] as Key, b.ends[j++] as Key);
  }
  return { starts, ends };
}

function append(starts: Key[], ends: Key[], start: Key, end: Key): void {
  if (start >= end) return;
  const last = ends.length - 1;
  if (last >= 0 && start <= (ends[last] as Key)) {
    if (end > (ends[last] as Key)) ends[last] = end;
    return;
  }
  starts.push(start);
  ends.push(end);
}

function contains({ starts, ends }: Intervals, key: Key): boolean {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((starts[middle] as Key) <= key) low = middle + 1;
    else high = middle;
  }
  return low > 0 && key < (ends[low - 1] as Key);
}

// ── what kind of transaction it is ──────────────────────────────────────────────────────────────────────────────────

/** Whether it only reads: then it need not go through the log. A nested transaction counts as a write, as in etcd. */
export function isReadOnly(request: TxnRequest): boolean {
  return onlyRanges(request.success) && onlyRanges(request.failure);
}

function onlyRanges(ops: readonly RequestOp[]): boolean {
  for (const op of ops) if (op.requestRange === null) return false;
  return true;
}

/** Whether every read in it is content with this member's own state. */
export function isSerializable(request: TxnRequest): boolean {
  for (const op of request.success) if (op.requestRange?.serializable === false) return false;
  for (const op of request.failure) if (op.requestRange?.serializable === false) return false;
  return true;
}

/** Bytes a transaction may add, as the quota counts: the dearer branch, nested ones included. */
export function txnCost(request: TxnRequest): number {
  return Math.max(branchCost(request.success), branchCost(request.failure));
}

function branchCost(ops: readonly RequestOp[]): number {
  let cost = 0;
  for (const op of ops) {
    if (op.requestPut !== null) cost += PUT_OVERHEAD_BYTES + op.requestPut.key.length + op.requestPut.value.length;
    else if (op.requestTxn !== null) cost += txnCost(op.requestTxn);
  }
  return cost;
}
