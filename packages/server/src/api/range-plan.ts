import type { RangeOptions } from '@etsd/mvcc';
import { SortOrder, SortTarget } from '@etsd/proto';

/** A range as it was asked for. */
export interface RangeQuestion extends RangeOptions {
  readonly keysOnly: boolean;
  readonly isFiltered: boolean;
}

/** How a range is read and what is done with its records. */
export interface RangePlan {
  /** What the cursor is asked for; its limit and order are the request's only where it is keys that are ordered. */
  readonly reading: RangeOptions;
  /** Field to sort by afterwards, or -1 where the cursor's order is the one wanted. */
  readonly sortTarget: number;
  readonly sortOrder: number;
  /** Of the request; applied after sorting. */
  readonly limit: number;
  readonly keysOnly: boolean;
}

/**
 * etcd's rules for unset orders: a target other than the key means ascending, and then, where there is no filter, the
 * limit is applied in the order of keys first (one more is read, which decides `more`).
 */
export function planOf(query: RangeQuestion): RangePlan {
  const byKey = query.sortTarget === SortTarget.KEY;
  const { limit, keysOnly } = query;
  if (query.countOnly || byKey) {
    return { reading: copyOf(query, limit, query.sortOrder), sortTarget: -1, sortOrder: 0, limit, keysOnly };
  }
  const cutFirst = query.sortOrder === SortOrder.NONE && !query.isFiltered && limit > 0;
  const sortOrder = query.sortOrder === SortOrder.NONE ? SortOrder.ASCEND : query.sortOrder;
  const reading = copyOf(query, cutFirst ? limit + 1 : 0, SortOrder.NONE);
  return { reading, sortTarget: query.sortTarget, sortOrder, limit, keysOnly };
}

/** The query outlives its waiter, which goes back to the pool. */
function copyOf(query: RangeOptions, limit: number, sortOrder: number): RangeOptions {
  return {
    limit,
    revision: query.revision,
    sortOrder,
    sortTarget: 0,
    countOnly: query.countOnly,
    minModRevision: query.minModRevision,
    maxModRevision: query.maxModRevision,
    minCreateRevision: query.minCreateRevision,
    maxCreateRevision: query.maxCreateRevision,
  };
}
