import { assert } from '@etsd/base';
import { V2Code, type V2Event, V2Failure } from './event.ts';

/** Events that are remembered for those who ask for the past; as many as in etcd. */
export const HISTORY_EVENTS = 1000;

/**
 * The last changes. Each change of the store has an index of its own, so a place follows from an index. Changes that no
 * client can see (members, the version of the cluster) have their place and no event.
 */
export class V2History {
  /** By index modulo the length. */
  private readonly ring: (V2Event | null)[] = Array.from({ length: HISTORY_EVENTS }, () => null);
  /** Index of the oldest change that is remembered; 0 before there is one. */
  first = 0;
  /** Index of the newest. */
  last = 0;

  /** The changes of these indexes are remembered as such of which nobody is told. */
  reset(first: number, last: number): void {
    this.ring.fill(null);
    this.first = first;
    this.last = last;
  }

  /** The next change: null for one that no client sees. Returns the index that is forgotten for it, or 0. */
  add(index: number, event: V2Event | null): number {
    assert(this.last === 0 || index === this.last + 1, 'every index has one change');
    if (this.first === 0) this.first = index;
    this.last = index;
    this.ring[index % HISTORY_EVENTS] = event;
    if (index - this.first < HISTORY_EVENTS) return 0;
    return this.first++;
  }

  /** Puts back what was remembered before a restart. */
  restore(index: number, event: V2Event): void {
    if (index >= this.first && index <= this.last) this.ring[index % HISTORY_EVENTS] = event;
  }

  at(index: number): V2Event | null {
    if (index < this.first || index > this.last) return null;
    return this.ring[index % HISTORY_EVENTS] as V2Event | null;
  }

  /** The first change from `index` on that concerns whoever watches `key`; null where there is none yet. */
  find(key: string, isRecursive: boolean, index: number): V2Event | V2Failure | null {
    if (index < this.first) {
      return new V2Failure(
        V2Code.EventIndexCleared,
        `the requested history has been cleared [${this.first}/${index}]`,
        0,
      );
    }
    for (let at = index; at <= this.last; at++) {
      const event = this.at(at);
      if (event !== null && !event.isRefresh && concerns(event, key, isRecursive)) return event;
    }
    return null;
  }
}

/** As etcd looks for it in the past, where hidden keys count as well. */
function concerns(event: V2Event, key: string, isRecursive: boolean): boolean {
  const { node, previous, action } = event;
  if (node.key === key) return true;
  if (isRecursive && node.key.startsWith(key.endsWith('/') ? key : `${key}/`)) return true;
  // A directory that went took with it what lay in it.
  const isGone = action === 'delete' || action === 'expire';
  return isGone && previous?.isDir === true && key.startsWith(`${previous.key}/`);
}
