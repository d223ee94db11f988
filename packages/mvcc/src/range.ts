import { isEmptyRange, type Key, keyFromBytes, OPEN_END } from '@etsd/base';
import { ErrCompacted, ErrFutureRev, type EtcdError, KeyValueView } from '@etsd/proto';
import type { KeyIndex } from './key-index.ts';
import type { Leaf } from './key-tree.ts';

/** What a range asks for, in the fields and meanings of etcd's RangeRequest; a decoded request will do. */
export interface RangeOptions {
  readonly limit: number;
  readonly revision: number;
  readonly sortOrder: number;
  readonly sortTarget: number;
  readonly countOnly: boolean;
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
}

/** All of a range as it is now. */
export const WHOLE_RANGE: RangeOptions = {
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};

/** What a range answers. The records are whole KeyValues; whoever wants keys only leaves the values out. */
export interface RangeResult {
  /** A new array for each call; the records are the caller's to keep, and not to change. */
  records: Buffer[];
  /** Keys in the range, whatever limit and filters left of them. */
  count: number;
  more: boolean;
}

export const SORT_NONE = 0;
export const SORT_ASCEND = 1;
export const SORT_DESCEND = 2;
export const TARGET_KEY = 0;
export const TARGET_VERSION = 1;
export const TARGET_CREATE = 2;
export const TARGET_MOD = 3;
export const TARGET_VALUE = 4;

/** What a range reads from. */
export interface RangeSource {
  readonly index: KeyIndex;
  /** Grows when index and records are exchanged for those of another state. */
  readonly generation: number;
  readonly compactRevision: number;
  /** The revision a read of the present is made at. */
  readonly readRevision: number;
  /** The bytes of a record, which stay as they are; it is likely to be read again. */
  recordToKeep(main: number, sub: number): Buffer;
  /** The same for one of many. */
  recordCopy(main: number, sub: number): Buffer;
  /** The same, valid until the next call of the source. */
  recordView(main: number, sub: number): Buffer;
}

/** Whether a revision can be read; 0 and less mean the present. */
export function checkRevision(source: RangeSource, revision: number): EtcdError | null {
  if (revision > source.readRevision) return ErrFutureRev;
  return revision > 0 && revision < source.compactRevision ? ErrCompacted : null;
}

export function hasFilters(options: RangeOptions): boolean {
  return (
    options.minModRevision !== 0 ||
    options.maxModRevision !== 0 ||
    options.minCreateRevision !== 0 ||
    options.maxCreateRevision !== 0
  );
}

/** The order the records are wanted in, once etcd's rules for unset fields are applied. */
export function effectiveOrder(options: RangeOptions): number {
  if (options.sortOrder !== SORT_NONE) return options.sortOrder;
  return options.sortTarget === TARGET_KEY ? SORT_NONE : SORT_ASCEND;
}

const view = new KeyValueView();

export function passesFilters(record: Buffer, options: RangeOptions): boolean {
  view.parse(record);
  const { modRevision, createRevision } = view;
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = options;
  return !(
    (maxModRevision !== 0 && modRevision > maxModRevision) ||
    (minModRevision !== 0 && modRevision < minModRevision) ||
    (maxCreateRevision !== 0 && createRevision > maxCreateRevision) ||
    (minCreateRevision !== 0 && createRevision < minCreateRevision)
  );
}

/** Answers a range in one go. */
export function range(
  source: RangeSource,
  key: Key,
  rangeEnd: Key,
  options: RangeOptions,
  result: RangeResult,
): EtcdError | null {
  result.records = [];
  result.count = 0;
  result.more = false;
  const error = checkRevision(source, options.revision);
  if (error !== null) return error;
  const revision = options.revision <= 0 ? source.readRevision : options.revision;
  if (rangeEnd === '') return rangeOne(source, key, revision, options, result);
  if (isEmptyRange(key, rangeEnd)) return null;
  if (options.countOnly) {
    result.count = count(source, key, rangeEnd, revision);
    return null;
  }
  const filtered = hasFilters(options);
  // A quirk of etcd's, kept: without an explicit order the limit applies to the keys in their own order, even where a
  // sort target then reorders what was found.
  const order = effectiveOrder(options);
  const inKeyOrder = order !== SORT_DESCEND && options.sortTarget === TARGET_KEY;
  const pushed = (options.sortOrder === SORT_NONE || inKeyOrder) && !filtered && options.limit > 0;
  if (!filtered && order === SORT_DESCEND && options.sortTarget === TARGET_KEY && revision === source.readRevision) {
    return rangeFromEnd(source, key, rangeEnd, revision, options, result);
  }
  collect(source, key, rangeEnd, revision, pushed ? options.limit + 1 : 0, result);
  if (filtered) result.records = result.records.filter((record) => passesFilters(record, options));
  if (!inKeyOrder) sortRecords(result.records, options.sortTarget, order);
  cut(result, options.limit);
  return null;
}

function rangeOne(
  source: RangeSource,
  key: Key,
  revision: number,
  options: RangeOptions,
  result: RangeResult,
): EtcdError | null {
  const index = source.index;
  const slot = index.find(key);
  if (slot < 0 || !index.at(slot, revision)) return null;
  result.count = 1;
  if (options.countOnly) return null;
  const record = source.recordToKeep(index.foundMain, index.foundSub);
  if (!hasFilters(options) || passesFilters(record, options)) result.records.push(record);
  return null;
}

/** The last keys of a range, without looking at the others. */
function rangeFromEnd(
  source: RangeSource,
  key: Key,
  rangeEnd: Key,
  revision: number,
  options: RangeOptions,
  result: RangeResult,
): null {
  const { tree, isLive } = source.index;
  const first = tree.rank(key, isLive);
  const behind = rangeEnd === OPEN_END ? tree.live : tree.rank(rangeEnd, isLive);
  result.count = behind - first;
  if (result.count === 0) return null;
  const wanted = options.limit > 0 ? Math.min(options.limit, result.count) : result.count;
  tree.select(behind - wanted, isLive);
  walk(source, tree.leaf, tree.index, OPEN_END, revision, wanted, result.records);
  result.records.reverse();
  result.more = wanted < result.count;
  return null;
}

/** Fills in count and the first `limit` records (0: all). */
function collect(
  source: RangeSource,
  key: Key,
  rangeEnd: Key,
  revision: number,
  limit: number,
  result: RangeResult,
): void {
  const tree = source.index.tree;
  if (limit > 0) {
    result.count = count(source, key, rangeEnd, revision);
    if (result.count === 0) return;
  }
  tree.locate(key);
  walk(source, tree.leaf, tree.index, rangeEnd, revision, limit, result.records);
  if (limit === 0) result.count = result.records.length;
}

function walk(
  source: RangeSource,
  startLeaf: Leaf,
  startIndex: number,
  rangeEnd: Key,
  revision: number,
  limit: number,
  records: Buffer[],
): void {
  const index = source.index;
  const present = revision === source.readRevision;
  let leaf: Leaf | null = startLeaf;
  let at = startIndex;
  while (leaf !== null) {
    const behind = rangeEnd === OPEN_END ? leaf.length : index.tree.countBelow(leaf, rangeEnd);
    const end = present && leaf.live === 0 ? 0 : behind;
    for (; at < end; at++) {
      if (!index.at(leaf.slot(at), revision)) continue;
      records.push(source.recordCopy(index.foundMain, index.foundSub));
      if (records.length === limit) return;
    }
    if (behind < leaf.length) return;
    leaf = leaf.next;
    at = 0;
  }
}

/** Keys in a range at a revision: without walking over them in the present, one by one in the past. */
export function count(source: RangeSource, key: Key, rangeEnd: Key, revision: number): number {
  const index = source.index;
  if (rangeEnd === '') {
    const slot = index.find(key);
    return slot >= 0 && index.at(slot, revision) ? 1 : 0;
  }
  if (isEmptyRange(key, rangeEnd)) return 0;
  const { tree, isLive } = index;
  if (revision === source.readRevision) {
    const behind = rangeEnd === OPEN_END ? tree.live : tree.rank(rangeEnd, isLive);
    return behind - tree.rank(key, isLive);
  }
  tree.locate(key);
  let leaf: Leaf | null = tree.leaf;
  let at = tree.index;
  let found = 0;
  while (leaf !== null) {
    const end = rangeEnd === OPEN_END ? leaf.length : tree.countBelow(leaf, rangeEnd);
    for (; at < end; at++) if (index.at(leaf.slot(at), revision)) found++;
    if (end < leaf.length) return found;
    leaf = leaf.next;
    at = 0;
  }
  return found;
}

function cut(result: RangeResult, limit: number): void {
  if (limit <= 0 || result.records.length <= limit) return;
  result.records.length = limit;
  result.more = true;
}

/** Sorts records by one of their fields; equal ones keep the order of their keys. Orders unknown change nothing. */
export function sortRecords(records: Buffer[], target: number, order: number): void {
  if (order !== SORT_ASCEND && order !== SORT_DESCEND) return;
  const sign = order === SORT_DESCEND ? -1 : 1;
  if (target === TARGET_KEY || target === TARGET_VALUE) {
    const texts = new Map<Buffer, string>();
    for (const record of records) {
      view.parse(record);
      const start = target === TARGET_KEY ? view.keyStart : view.valueStart;
      const end = target === TARGET_KEY ? view.keyEnd : view.valueEnd;
      texts.set(record, keyFromBytes(record, start, end));
    }
    records.sort((a, b) => {
      const left = texts.get(a) as string;
      const right = texts.get(b) as string;
      return left < right ? -sign : left > right ? sign : 0;
    });
    return;
  }
  if (target !== TARGET_VERSION && target !== TARGET_CREATE && target !== TARGET_MOD) return;
  const numbers = new Map<Buffer, number>();
  for (const record of records) {
    view.parse(record);
    numbers.set(
      record,
      target === TARGET_VERSION ? view.version : target === TARGET_CREATE ? view.createRevision : view.modRevision,
    );
  }
  records.sort((a, b) => sign * ((numbers.get(a) as number) - (numbers.get(b) as number)));
}
