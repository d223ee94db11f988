/** A power of two; a million keys come to four thousand in each. */
const SHARDS = 256;

/**
 * A map over strings in many small tables. A `Map` of a million keys doubles its table in one go, which takes tens of
 * milliseconds; here a table that doubles holds a 256th of the keys. Iteration goes table by table, each in the order of
 * insertion: the same for the same history.
 */
export class ShardedMap<V> {
  /** Number of keys held. */
  size = 0;
  private shards: Map<string, V>[] = Array.from({ length: SHARDS }, () => new Map<string, V>());

  get(key: string): V | undefined {
    return this.shardOf(key).get(key);
  }

  has(key: string): boolean {
    return this.shardOf(key).has(key);
  }

  set(key: string, value: V): void {
    const shard = this.shardOf(key);
    const before = shard.size;
    shard.set(key, value);
    this.size += shard.size - before;
  }

  /** Whether the key was there. */
  delete(key: string): boolean {
    const wasThere = this.shardOf(key).delete(key);
    if (wasThere) this.size--;
    return wasThere;
  }

  clear(): void {
    for (const shard of this.shards) shard.clear();
    this.size = 0;
  }

  /** Takes over what `other` holds, which must not be used any more. Iterations under way go on over the old content. */
  become(other: ShardedMap<V>): void {
    this.shards = other.shards;
    this.size = other.size;
  }

  *values(): Generator<V, undefined> {
    for (const shard of this.shards) yield* shard.values();
  }

  *keys(): Generator<string, undefined> {
    for (const shard of this.shards) yield* shard.keys();
  }

  /** By the last characters, where ids and keys differ most. Places before the first count as zero. */
  private shardOf(key: string): Map<string, V> {
    const end = key.length;
    const hash = Math.imul(
      (key.charCodeAt(end - 1) | 0) +
        Math.imul(key.charCodeAt(end - 2) | 0, 31) +
        Math.imul(key.charCodeAt(end - 3) | 0, 961) +
        Math.imul(key.charCodeAt(end - 4) | 0, 29_791),
      0x9e37_79b1,
    );
    return this.shards[hash >>> 24] as Map<string, V>;
  }
}
