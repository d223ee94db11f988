import { assert } from '@etsd/base';

/**
 * The former revisions of keys, oldest first, without an object per key. A list lies in one block of a pool of typed
 * arrays; blocks have sizes 2, 4, 8 … and a list that outgrows its block moves to the next size, so that a lookup is a
 * binary search over neighbours. Lists longer than a chunk of the pool are few and have arrays of their own.
 *
 * Who owns a list keeps two numbers: its handle and its length. Each entry is a main revision and a sub revision with a
 * mark for deletions, 12 bytes side by side: each put of a key that exists adds one, to a list that nobody looked at for
 * long, and the memory it lies in is most of what that costs.
 */
const CHUNK_BITS = 12;
const CHUNK_ENTRIES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ENTRIES - 1;
/** Chunks lie in slabs of so many: for each slab there is one array to go by, and few enough of these stay at hand. */
const SLAB_CHUNKS_BITS = 4;
const SLAB_CHUNKS = 1 << SLAB_CHUNKS_BITS;
const SLAB_BITS = CHUNK_BITS + SLAB_CHUNKS_BITS;
const SLAB_MASK = (1 << SLAB_BITS) - 1;
/** Handle of the list without entries. */
export const NO_LIST = -1;

/** An entry in 32-bit integers: the lower and the upper half of the main revision; then see `SUB`. */
const INTS = 3;
const UPPER = 1;
/** Twice the sub revision, plus one for a deletion. In a free block: the next free block, −1 at the end. */
const SUB = 2;
const UPPER_UNIT = 2 ** 32;

const CHUNK_INTS = CHUNK_ENTRIES * INTS;

/** Which blocks of a chunk are free; they are all of one size. `ints` and `base` below: where the chunk lies. */
class Chunk {
  readonly sizeClass: number;
  /** The first free one of the blocks that were in use once, −1 where there is none. */
  firstFree = -1;
  /** Where the blocks begin that never were: most chunks of a small store are never filled. */
  untouched = 0;
  usedBlocks = 0;
  /** Place in the list of chunks of its class that have free blocks, −1 when outside. */
  openIndex = -1;

  constructor(sizeClass: number) {
    this.sizeClass = sizeClass;
  }

  get isFull(): boolean {
    return this.firstFree < 0 && this.untouched === CHUNK_ENTRIES;
  }

  take(ints: Int32Array, base: number): number {
    this.usedBlocks++;
    const block = this.firstFree;
    if (block >= 0) {
      this.firstFree = ints[base + block * INTS + SUB] as number;
      return block;
    }
    this.untouched += 2 << this.sizeClass;
    return this.untouched - (2 << this.sizeClass);
  }

  release(block: number, ints: Int32Array, base: number): void {
    this.usedBlocks--;
    ints[base + block * INTS + SUB] = this.firstFree;
    this.firstFree = block;
  }
}

export class RevisionLists {
  private readonly chunks: (Chunk | null)[] = [];
  private readonly freeChunks: number[] = [];
  /** The entries of `SLAB_CHUNKS` chunks each. The first stays: where few keys change, chunks come and go all the time. */
  private readonly slabs: (Int32Array | null)[] = [];
  /** Chunks in use, by slab. */
  private readonly slabChunks: number[] = [];
  /** Another slab that has none: it too may be wanted again soon. */
  private spareSlab: Int32Array | null = null;
  /** For each size class, the chunks with free blocks. */
  private readonly open: number[][] = [];
  /** Lists longer than a chunk have the handles −2, −3, … and places that grow by half. */
  private readonly longs: (Int32Array | null)[] = [];
  private readonly freeLongs: number[] = [];
  /** Entries of all lists. */
  entries = 0;

  // What the last `locate` found; fields rather than an object, as every historical read passes here.
  private ints: Int32Array = new Int32Array(0);
  /** In `ints`, of the first entry. */
  private base = 0;

  /** Appends a revision to the list (handle, length) and returns its handle, which may be another one. */
  append(handle: number, length: number, main: number, sub: number, isTombstone: boolean): number {
    const target = handle < NO_LIST ? this.roomInLong(handle, length) : this.roomInPool(handle, length);
    this.locate(target);
    const { ints } = this;
    const at = this.base + length * INTS;
    ints[at] = main;
    ints[at + UPPER] = main / UPPER_UNIT;
    ints[at + SUB] = sub * 2 + (isTombstone ? 1 : 0);
    this.entries++;
    return target;
  }

  /** Drops the oldest `dropped` of `length` entries and returns the handle of what is left. */
  dropFirst(handle: number, length: number, dropped: number): number {
    assert(dropped <= length, 'no more is dropped than there is');
    const left = length - dropped;
    this.entries -= dropped;
    if (left === 0) {
      this.release(handle, length);
      return NO_LIST;
    }
    this.locate(handle);
    const { ints, base } = this;
    const from = base + dropped * INTS;
    const end = base + length * INTS;
    if (handle >= 0 && sizeClassOf(left) === sizeClassOf(length)) {
      ints.copyWithin(base, from, end);
      return handle;
    }
    const target = left <= CHUNK_ENTRIES ? this.take(sizeClassOf(left)) : this.takeLong(left + (left >> 1));
    this.locate(target);
    this.ints.set(ints.subarray(from, end), this.base);
    this.release(handle, length);
    return target;
  }

  main(handle: number, index: number): number {
    this.locate(handle);
    return mainAt(this.ints, this.base + index * INTS);
  }

  sub(handle: number, index: number): number {
    this.locate(handle);
    return (this.ints[this.base + index * INTS + SUB] as number) >> 1;
  }

  isTombstone(handle: number, index: number): boolean {
    this.locate(handle);
    return ((this.ints[this.base + index * INTS + SUB] as number) & 1) === 1;
  }

  /** The index of the newest entry with a main revision ≤ `revision`, −1 where there is none. */
  newestUpTo(handle: number, length: number, revision: number): number {
    if (length === 0) return -1;
    this.locate(handle);
    const { ints, base } = this;
    let low = 0;
    let high = length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (mainAt(ints, base + middle * INTS) <= revision) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Bytes of the arrays that lists lie in, for tests: without what is kept though no list lies in it. */
  bytes(): number {
    let sum = 0;
    for (const [slab, ints] of this.slabs.entries()) {
      if (ints !== null && (slab > 0 || (this.slabChunks[0] as number) > 0)) sum += ints.byteLength;
    }
    for (const long of this.longs) if (long !== null) sum += long.byteLength;
    return sum;
  }

  private locate(handle: number): void {
    const isLong = handle < NO_LIST;
    this.ints = (isLong ? this.longs[-2 - handle] : this.slabs[handle >> SLAB_BITS]) as Int32Array;
    this.base = isLong ? 0 : (handle & SLAB_MASK) * INTS;
  }

  /** A place in the pool for `length` + 1 entries, to which the old ones are moved. */
  private roomInPool(handle: number, length: number): number {
    if (length === 0) return this.take(0);
    const sizeClass = sizeClassOf(length);
    if (length < 2 << sizeClass) return handle;
    const target = length < CHUNK_ENTRIES ? this.take(sizeClass + 1) : this.takeLong(length * 2);
    this.move(handle, length, target);
    return target;
  }

  private roomInLong(handle: number, length: number): number {
    if (length * INTS < (this.longs[-2 - handle] as Int32Array).length) return handle;
    const target = this.takeLong(length + (length >> 1));
    this.move(handle, length, target);
    return target;
  }

  private move(from: number, length: number, to: number): void {
    this.locate(from);
    const { ints, base } = this;
    this.locate(to);
    this.ints.set(ints.subarray(base, base + length * INTS), this.base);
    this.release(from, length);
  }

  private takeLong(capacity: number): number {
    const list = new Int32Array(capacity * INTS);
    const free = this.freeLongs.pop();
    if (free !== undefined) {
      this.longs[free] = list;
      return -2 - free;
    }
    this.longs.push(list);
    return -1 - this.longs.length;
  }

  private take(sizeClass: number): number {
    while (this.open.length <= sizeClass) this.open.push([]);
    const open = this.open[sizeClass] as number[];
    const index = open.length > 0 ? (open[open.length - 1] as number) : this.newChunk(sizeClass);
    const chunk = this.chunks[index] as Chunk;
    const handle = index << CHUNK_BITS;
    this.locate(handle);
    const block = chunk.take(this.ints, this.base);
    if (chunk.isFull) this.leaveOpen(chunk);
    return handle | block;
  }

  private release(handle: number, length: number): void {
    if (handle < NO_LIST) {
      this.longs[-2 - handle] = null;
      this.freeLongs.push(-2 - handle);
      return;
    }
    if (length === 0) return;
    const index = handle >> CHUNK_BITS;
    const chunk = this.chunks[index] as Chunk;
    if (chunk.isFull) this.enterOpen(chunk, index);
    this.locate(index << CHUNK_BITS);
    chunk.release(handle & CHUNK_MASK, this.ints, this.base);
    if (chunk.usedBlocks > 0) return;
    this.leaveOpen(chunk);
    this.chunks[index] = null;
    this.freeChunks.push(index);
    const slab = index >> SLAB_CHUNKS_BITS;
    const left = (this.slabChunks[slab] as number) - 1;
    this.slabChunks[slab] = left;
    if (left > 0 || slab === 0) return;
    this.spareSlab = this.slabs[slab] as Int32Array;
    this.slabs[slab] = null;
  }

  private newChunk(sizeClass: number): number {
    const chunk = new Chunk(sizeClass);
    const index = this.freeChunks.pop() ?? this.chunks.length;
    this.chunks[index] = chunk;
    this.makeRoom(index);
    this.enterOpen(chunk, index);
    return index;
  }

  /** The first slab grows as it is needed: most stores are small. Nobody reads what no list has written. */
  private makeRoom(index: number): void {
    const slab = index >> SLAB_CHUNKS_BITS;
    this.slabChunks[slab] = (this.slabChunks[slab] ?? 0) + 1;
    const ints = this.slabs[slab] ?? null;
    if (slab > 0) {
      if (ints !== null) return;
      this.slabs[slab] = this.spareSlab ?? new Int32Array(SLAB_CHUNKS * CHUNK_INTS);
      this.spareSlab = null;
      return;
    }
    const chunks = 1 << (32 - Math.clz32(index));
    if (ints !== null && ints.length >= chunks * CHUNK_INTS) return;
    const larger = new Int32Array(chunks * CHUNK_INTS);
    if (ints !== null) larger.set(ints);
    this.slabs[0] = larger;
  }

  private enterOpen(chunk: Chunk, index: number): void {
    const open = this.open[chunk.sizeClass] as number[];
    chunk.openIndex = open.length;
    open.push(index);
  }

  private leaveOpen(chunk: Chunk): void {
    if (chunk.openIndex < 0) return;
    const open = this.open[chunk.sizeClass] as number[];
    const last = open.pop() as number;
    const lastChunk = this.chunks[last] as Chunk;
    if (lastChunk !== chunk) {
      open[chunk.openIndex] = last;
      lastChunk.openIndex = chunk.openIndex;
    }
    chunk.openIndex = -1;
  }
}

function mainAt(ints: Int32Array, at: number): number {
  return (ints[at + UPPER] as number) * UPPER_UNIT + ((ints[at] as number) >>> 0);
}

/** The class whose blocks of 2 × 2^class entries hold `length` entries. */
function sizeClassOf(length: number): number {
  return length <= 2 ? 0 : 31 - Math.clz32(length - 1);
}
