/**
 * What a user may do: the ranges of all its roles, merged, so that one search among them answers. Follows what etcd's
 * interval trees answer: a range is allowed where permissions cover it without a gap, whichever roles they come from.
 */
import { type Key, keyFromBytes, OPEN_END } from '@etsd/base';
import { type AuthPermission, PermissionType } from '@etsd/proto';

interface Interval {
  readonly begin: Key;
  /** Exclusive; null: everything from `begin` on. */
  end: Key | null;
}

/** A set of keys as disjoint intervals in order. */
export class KeyIntervals {
  private readonly merged: readonly Interval[];

  constructor(permissions: readonly AuthPermission[]) {
    const intervals: Interval[] = [];
    for (const permission of permissions) {
      const interval = intervalOf(permission);
      if (interval !== null) intervals.push(interval);
    }
    this.merged = merge(intervals);
  }

  /** Whether all keys from `key` up to `rangeEnd` (etcd's convention) belong to the set. */
  covers(key: Key, rangeEnd: Key): boolean {
    const interval = this.find(key);
    if (interval === null) return false;
    if (interval.end === null) return true;
    if (rangeEnd === '') return key < interval.end;
    // Where a range ends before it begins, the key it begins with decides.
    return rangeEnd !== OPEN_END && key < interval.end && rangeEnd <= interval.end;
  }

  /** The last interval that does not begin behind the key. */
  private find(key: Key): Interval | null {
    const { merged } = this;
    let low = 0;
    let high = merged.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((merged[middle] as Interval).begin <= key) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : (merged[low - 1] as Interval);
  }
}

/** What one user may read and write. */
export class UserPermissions {
  readonly read: KeyIntervals;
  readonly write: KeyIntervals;

  constructor(permissions: readonly AuthPermission[]) {
    this.read = new KeyIntervals(
      permissions.filter(({ permType }) => permType !== PermissionType.WRITE && isKnown(permType)),
    );
    this.write = new KeyIntervals(
      permissions.filter(({ permType }) => permType !== PermissionType.READ && isKnown(permType)),
    );
  }
}

/** A kind of permission that this version does not know allows nothing. */
function isKnown(permType: number): boolean {
  return permType === PermissionType.READ || permType === PermissionType.WRITE || permType === PermissionType.READWRITE;
}

/** Null for what contains no key: such permissions are refused today, but old stores may have some. */
function intervalOf(permission: AuthPermission): Interval | null {
  const begin = keyFromBytes(permission.key);
  const end = keyFromBytes(permission.rangeEnd);
  if (begin === '') return null;
  if (end === '') return { begin, end: `${begin}\0` };
  if (end === OPEN_END) return { begin, end: null };
  return begin < end ? { begin, end } : null;
}

function merge(intervals: Interval[]): Interval[] {
  intervals.sort((a, b) => (a.begin < b.begin ? -1 : a.begin > b.begin ? 1 : 0));
  const merged: Interval[] = [];
  for (const interval of intervals) {
    const last = merged.at(-1);
    if (last === undefined || (last.end !== null && last.end < interval.begin)) merged.push({ ...interval });
    else if (last.end !== null && (interval.end === null || last.end < interval.end)) last.end = interval.end;
  }
  return merged;
}

/** Whether a permission for such a range may be granted: it has a first key, and does not end before it begins. */
export function isGrantable(key: Buffer, rangeEnd: Buffer): boolean {
  if (key.length === 0) return false;
  if (rangeEnd.length === 0) return true;
  return key.compare(rangeEnd) < 0 || (rangeEnd.length === 1 && rangeEnd[0] === 0);
}
