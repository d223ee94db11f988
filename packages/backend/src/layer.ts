import { type Key, keyFromBytes, keyToBytes } from '@etsd/base';
import type { Visit } from './backend.ts';

/** The writes to one bucket within one batch. A value of null is a deletion. */
export class Layer {
  readonly entries = new Map<Key, Buffer | null>();
  /** The same keys as an array; in order while `sorted`. Revisions arrive in order, so it usually is. */
  private readonly keys: Key[] = [];
  private sorted = true;
  private last: Key = '';

  set(key: Key, value: Buffer | null): void {
    const before = this.entries.size;
    this.entries.set(key, value);
    if (this.entries.size === before) return;
    if (key < this.last) this.sorted = false;
    else this.last = key;
    this.keys.push(key);
  }

  /** All keys in order. The array belongs to the layer. */
  sortedKeys(): readonly Key[] {
    if (!this.sorted) {
      this.keys.sort(compareKeys);
      this.sorted = true;
    }
    return this.keys;
  }
}

/** The order of keys, in the form `Array.sort` wants. */
export function compareKeys(a: Key, b: Key): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first index of the sorted `keys` whose key is ≥ `key`. */
export function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as Key) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Told of a record under the layers; also its key as such, where the engine has it. */
export type BaseVisit = (bytes: Buffer, value: Buffer, key?: Key) => boolean;

/** What lies under the layers: an engine's own scan. */
export type BaseScan = (from: Key, to: Key | null, visit: BaseVisit) => void;

/** A sorted run of a layer during a merge. */
class Run {
  readonly layer: Layer;
  readonly keys: readonly Key[];
  at: number;

  constructor(layer: Layer, from: Key) {
    this.layer = layer;
    this.keys = layer.sortedKeys();
    this.at = lowerBound(this.keys, from);
  }
}

/** Visits the base with the layers (oldest first) laid over it: newest wins, deletions hide. */
export function mergeScan(
  layers: readonly Layer[],
  base: BaseScan,
  from: Buffer | null,
  to: Buffer | null,
  visit: Visit,
): void {
  const low = from === null ? '' : keyFromBytes(from);
  const high = to === null ? null : keyFromBytes(to);
  if (layers.length === 0) {
    base(low, high, visit);
    return;
  }
  const runs = layers.map((layer) => new Run(layer, low));
  let stopped = false;

  /** Visits all layered records below `limit` (null: no limit); returns whether to go on. */
  const drain = (limit: Key | null): boolean => {
    for (;;) {
      let smallest: Key | null = null;
      let winner: Run | null = null;
      for (const run of runs) {
        const key = run.keys[run.at];
        if (key !== undefined && (smallest === null || key <= smallest)) {
          smallest = key;
          winner = run;
        }
      }
      if (smallest === null || winner === null) return true;
      if ((limit !== null && smallest >= limit) || (high !== null && smallest >= high)) return true;
      const value = winner.layer.entries.get(smallest) as Buffer | null;
      for (const run of runs) if (run.keys[run.at] === smallest) run.at++;
      if (value !== null && !visit(keyToBytes(smallest), value)) {
        stopped = true;
        return false;
      }
    }
  };

  base(low, high, (bytes, value, key = keyFromBytes(bytes)) => {
    if (!drain(key)) return false;
    // The same key in a layer: its turn comes with the next drain.
    for (const run of runs) if (run.keys[run.at] === key) return true;
    if (visit(bytes, value)) return true;
    stopped = true;
    return false;
  });
  if (!stopped) drain(null);
}
