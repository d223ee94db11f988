/**
 * The leases by id, made so that a million of them leave the collector of garbage little to go through: one object each,
 * whose id is two integers and whose deadlines lie in typed arrays. As objects with an id as text, numbers of their own
 * and an entry of a `Map` they were four objects and twice as many bytes.
 *
 * A table is 256 small ones, so that one which grows costs little at a time. Places are found by linear probing; what is
 * removed is marked, and forgotten when its table is made anew.
 */
import { type HeapNode, type Key, type U64, u64FromHalves } from '@etsd/base';

/** A power of two; a million leases come to four thousand in each. */
const SHARDS = 256;
const SHARD_SHIFT = 24;
const PLACES_MIN = 8;
/** Numbers of a lease, side by side. */
const CELL_NUMBERS = 2;
const DEADLINE = 0;
const HEAP_KEY = 1;
const CHUNK_BITS = 11;
const CHUNK_CELLS = 1 << CHUNK_BITS;

/** Numbers of leases, off the heap. */
class LeaseNumbers {
  private readonly chunks: Float64Array[] = [];
  private readonly free: number[] = [];
  private used = 0;

  take(): number {
    const free = this.free.pop();
    if (free !== undefined) return free;
    if (this.used === this.chunks.length << CHUNK_BITS) {
      this.chunks.push(new Float64Array(CHUNK_CELLS * CELL_NUMBERS));
    }
    return this.used++;
  }

  chunk(cell: number): Float64Array {
    return this.chunks[cell >> CHUNK_BITS] as Float64Array;
  }

  release(cell: number): void {
    const numbers = this.chunk(cell);
    const at = (cell & (CHUNK_CELLS - 1)) * CELL_NUMBERS;
    numbers[at + DEADLINE] = 0;
    numbers[at + HEAP_KEY] = 0;
    this.free.push(cell);
  }
}

/**
 * One lease. The last five properties are a place for whoever keeps deadlines, so that a million leases need no second
 * object each: nothing in this package reads them. They mean nothing once the lease is deleted.
 */
export class Lease implements HeapNode {
  /** The id, as two signed integers. */
  readonly high: number;
  readonly low: number;
  /** Seconds, as granted. */
  readonly ttl: number;
  /** Seconds left at the last checkpoint; 0 where there was none since the last renewal. */
  remaining: number;
  /** Most leases have no key or one: a set is made for the second. */
  private held: Key | Set<Key> | null = null;
  private readonly numbers: Float64Array;
  private readonly at: number;
  /** Where its numbers lie; kept by the table. */
  readonly cell: number;

  /** Which term of office of the owner the others are from; they mean nothing in another. */
  epoch = 0;
  /** The owner has asked for it to be revoked. */
  revoking = false;
  heapIndex = -1;

  /** Made by `LeaseTable.add`. */
  constructor(id: U64, ttl: number, remaining: number, numbers: Float64Array, cell: number) {
    this.high = halfOf(id, 0);
    this.low = halfOf(id, 8);
    this.ttl = ttl;
    this.remaining = remaining;
    this.numbers = numbers;
    this.cell = cell;
    this.at = (cell & (CHUNK_CELLS - 1)) * CELL_NUMBERS;
  }

  get id(): U64 {
    return u64FromHalves(this.high >>> 0, this.low >>> 0);
  }

  /** When the lease expires, in the owner's milliseconds. */
  get deadline(): number {
    return this.numbers[this.at + DEADLINE] as number;
  }

  set deadline(ms: number) {
    this.numbers[this.at + DEADLINE] = ms;
  }

  get heapKey(): number {
    return this.numbers[this.at + HEAP_KEY] as number;
  }

  set heapKey(ms: number) {
    this.numbers[this.at + HEAP_KEY] = ms;
  }

  get keyCount(): number {
    if (this.held === null) return 0;
    return typeof this.held === 'string' ? 1 : this.held.size;
  }

  /** The keys that hang on it, in no order. */
  keys(): Iterable<Key> {
    if (this.held === null) return [];
    return typeof this.held === 'string' ? [this.held] : this.held;
  }

  /** The keys that hang on it, in order. */
  sortedKeys(): Key[] {
    if (this.held === null) return [];
    return typeof this.held === 'string' ? [this.held] : [...this.held].sort(compareKeys);
  }

  /** See `Lessor.attach`. */
  hold(key: Key): void {
    if (this.held === null) this.held = key;
    else if (typeof this.held !== 'string') this.held.add(key);
    else if (this.held !== key) this.held = new Set([this.held, key]);
  }

  /** See `Lessor.detach`. */
  letGo(key: Key): void {
    if (this.held === key) this.held = null;
    else if (this.held !== null && typeof this.held !== 'string') this.held.delete(key);
  }
}

/** By bytes, whatever the language of the machine. */
function compareKeys(a: Key, b: Key): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A place: never used, used and given up, or a lease. */
type Place = Lease | null | undefined;

class Shard {
  places: Place[] = new Array<Place>(PLACES_MIN).fill(null);
  /** Places that are not empty: leases, and marks of those removed. */
  used = 0;
  size = 0;

  /** Where the lease lies, or −1. */
  find(hash: number, high: number, low: number): number {
    const { places } = this;
    const mask = places.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const place = places[at];
      if (place === null) return -1;
      if (place !== undefined && place.low === low && place.high === high) return at;
    }
  }

  holds(lease: Lease): boolean {
    const at = this.find(hashOf(lease.high, lease.low), lease.high, lease.low);
    return at >= 0 && this.places[at] === lease;
  }

  add(hash: number, lease: Lease): void {
    if ((this.used + 1) * 4 > this.places.length * 3) this.makeAnew();
    this.put(hash, lease);
    this.used++;
    this.size++;
  }

  private put(hash: number, lease: Lease): void {
    const { places } = this;
    const mask = places.length - 1;
    let at = hash & mask;
    while (places[at] !== null) at = (at + 1) & mask;
    places[at] = lease;
  }

  /** Forgets all of them; who is going through the places finds none there. */
  clear(): void {
    this.places = new Array<Place>(PLACES_MIN).fill(null);
    this.used = 0;
    this.size = 0;
  }

  remove(at: number): void {
    this.places[at] = undefined;
    this.size--;
  }

  /** Forgets the marks, with room for twice as many leases as there are. */
  private makeAnew(): void {
    const old = this.places;
    let length = PLACES_MIN;
    while (length < (this.size + 1) * 2) length *= 2;
    this.places = new Array<Place>(length).fill(null);
    for (const place of old) {
      if (place !== null && place !== undefined) this.put(hashOf(place.high, place.low), place);
    }
    this.used = this.size;
  }
}

/** Eight hexadecimal digits as a signed integer. */
function halfOf(id: U64, offset: number): number {
  let half = 0;
  for (let i = offset; i < offset + 8; i++) {
    const code = id.charCodeAt(i);
    half = (half << 4) | (code < 0x3a ? code - 0x30 : code - 0x57);
  }
  return half;
}

function hashOf(high: number, low: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

export class LeaseTable {
  /** Number of leases. */
  size = 0;
  private shards: Shard[] = Array.from({ length: SHARDS }, () => new Shard());
  private numbers = new LeaseNumbers();

  private shardOf(hash: number): Shard {
    return this.shards[hash >>> SHARD_SHIFT] as Shard;
  }

  get(id: U64): Lease | undefined {
    const high = halfOf(id, 0);
    const low = halfOf(id, 8);
    const hash = hashOf(high, low);
    const shard = this.shardOf(hash);
    const at = shard.find(hash, high, low);
    return at < 0 ? undefined : (shard.places[at] as Lease);
  }

  has(id: U64): boolean {
    return this.get(id) !== undefined;
  }

  /** Makes a lease that is not there yet. */
  add(id: U64, ttl: number, remaining: number): Lease {
    const cell = this.numbers.take();
    const lease = new Lease(id, ttl, remaining, this.numbers.chunk(cell), cell);
    const hash = hashOf(lease.high, lease.low);
    this.shardOf(hash).add(hash, lease);
    this.size++;
    return lease;
  }

  delete(lease: Lease): void {
    const hash = hashOf(lease.high, lease.low);
    const shard = this.shardOf(hash);
    const at = shard.find(hash, lease.high, lease.low);
    if (at < 0) return;
    shard.remove(at);
    this.numbers.release(lease.cell);
    this.size--;
  }

  clear(): void {
    for (const shard of this.shards) shard.clear();
    this.numbers = new LeaseNumbers();
    this.size = 0;
  }

  /** Takes the leases of another table, which is not used any more, in place of its own. */
  become(other: LeaseTable): void {
    for (const shard of this.shards) shard.clear();
    this.shards = other.shards;
    this.numbers = other.numbers;
    this.size = other.size;
  }

  /**
   * All leases, in an order that is the same for the same history. May be gone through over many turns: one that is there
   * all the time comes once; of those added or removed meanwhile some come.
   */
  *values(): Generator<Lease, undefined> {
    for (const shard of this.shards) {
      const { places } = shard;
      // A table that is made anew leaves the old places as they were.
      for (let at = 0; at < places.length; at++) {
        const place = places[at];
        if (place === null || place === undefined) continue;
        if (places === shard.places || shard.holds(place)) yield place;
      }
    }
  }

  *keys(): Generator<U64, undefined> {
    for (const lease of this.values()) yield lease.id;
  }
}
