import { assert, faultPoint, type Key, keyFromBytes, keyToBytes } from '@etsd/base';
import type { Backend, BackendObserver, BackendSnapshot, Visit } from './backend.ts';
import { type Batch, KEY_BUCKET } from './batch.ts';
import { type Bucket, bucketIndex, STORED_BUCKETS } from './buckets.ts';
import { type BaseScan, type BaseVisit, type Layer, lowerBound } from './layer.ts';
import { ABSENT, Overlay } from './overlay.ts';
import { recordKey } from './records.ts';
import type { Slab } from './slab.ts';

/** Keys of a table that were deleted and may stay in its array however few are left. */
const DELETED_MAX = 64;

/** One bucket: a sorted array of keys beside a map. */
class Table {
  /** Also some that were deleted since: taking them out one by one would move all that lie behind each. */
  private keys: Key[] = [];
  readonly values: Map<Key, Buffer>;
  bytes = 0;

  constructor(values = new Map<Key, Buffer>()) {
    this.values = values;
  }

  set(key: Key, value: Buffer | null): void {
    const old = this.values.get(key);
    if (old !== undefined) this.bytes -= key.length + old.length;
    if (value === null) {
      if (old === undefined) return;
      this.values.delete(key);
      if (this.keys.length > 2 * this.values.size + DELETED_MAX)
        this.keys = this.keys.filter((one) => this.values.has(one));
      return;
    }
    this.bytes += key.length + value.length;
    this.values.set(key, value);
    if (old !== undefined) return;
    const last = this.keys[this.keys.length - 1];
    if (last === undefined || last < key) {
      this.keys.push(key);
      return;
    }
    const place = lowerBound(this.keys, key);
    if (this.keys[place] !== key) this.keys.splice(place, 0, key);
  }

  clone(): Table {
    const copy = new Table(new Map(this.values));
    copy.keys = this.keys.slice();
    copy.bytes = this.bytes;
    return copy;
  }

  scan(from: Key, to: Key | null, visit: BaseVisit): void {
    for (let i = lowerBound(this.keys, from); i < this.keys.length; i++) {
      const key = this.keys[i] as Key;
      if (to !== null && key >= to) return;
      const value = this.values.get(key);
      if (value !== undefined && !visit(keyToBytes(key), value, key)) return;
    }
  }
}

/** What one batch does to the tables. */
interface Change {
  readonly bucket: number;
  readonly key: Key;
  readonly value: Buffer | null;
}

/** Values are copied: in the file they would be too, and whoever changes a value afterwards must not get away with it. */
function changesOf(batch: Batch): Change[] {
  const { records, layers } = batch;
  const changes: Change[] = [];
  for (let i = 0; i < records.length; i++) {
    const key = recordKey(records.mains[i] as number, records.subs[i] as number, records.tombstones[i] as boolean);
    changes.push({ bucket: KEY_BUCKET, key, value: Buffer.from(records.record(i)) });
  }
  for (let bucket = 0; bucket < layers.length; bucket++) {
    const layer = layers[bucket] as Layer | null;
    if (layer === null) continue;
    for (const [key, value] of layer.entries) {
      changes.push({ bucket, key, value: value === null ? null : Buffer.from(value) });
    }
  }
  return changes;
}

function apply(tables: readonly Table[], changes: readonly Change[]): void {
  for (const { bucket, key, value } of changes) (tables[bucket] as Table).set(key, value);
}

function emptyTables(): Table[] {
  return STORED_BUCKETS.map(() => new Table());
}

/** Batches whose changes are kept apart from the durable tables. */
const FLUSHED_MAX = 1000;

export interface MemoryOptions {
  /** What a crash of the machine would leave is kept apart. */
  readonly crashable?: boolean;
  /** How long a flush takes; at once where it is absent. */
  readonly syncing?: () => Promise<void>;
}

/**
 * The store in memory, for the simulator and for unit tests. It keeps what a crash of the machine would leave apart
 * from what a reader sees: `afterCrash` gives the store a restarted member would find.
 */
export class MemoryBackend implements Backend {
  observer: BackendObserver | null = null;
  readonly isDefragmenting = false;
  private readonly overlay = new Overlay();
  private readonly hooks: (() => void)[] = [];
  private tables: Table[];
  /** The state as of some flush, behind which come the changes of later ones; null where nobody will ask for it. */
  private durable: Table[] | null;
  private flushed: (readonly Change[])[] = [];
  /** Committed since the last flush, oldest first. */
  private undurable: (readonly Change[])[] = [];
  private closed = false;
  /** The newest batch, which readers find in flight and in the tables. */
  private lingering: Batch | null = null;
  private readonly syncing: (() => Promise<void>) | null;

  constructor(options: MemoryOptions = {}) {
    this.tables = emptyTables();
    this.durable = options.crashable === true ? emptyTables() : null;
    this.syncing = options.syncing ?? null;
  }

  get pendingOperations(): number {
    return this.overlay.open.operations;
  }

  get pendingBytes(): number {
    return this.overlay.bytes - (this.lingering?.bytes ?? 0);
  }

  put(bucket: Bucket, key: Buffer, value: Buffer): void {
    assert(!this.closed, 'the backend is open');
    assert(key.length > 0, 'keys have at least one byte');
    this.overlay.write(bucket, key, value);
  }

  putRecord(main: number, sub: number, slab: Slab, start: number, end: number, isTombstone = false): void {
    assert(!this.closed, 'the backend is open');
    this.overlay.open.addRecord(main, sub, slab, start, end, isTombstone);
  }

  getRecord(main: number, sub: number): Buffer | null {
    const found = this.overlay.findRecord(main, sub);
    if (found !== ABSENT) return found;
    return (this.tables[KEY_BUCKET] as Table).values.get(recordKey(main, sub, false)) ?? null;
  }

  delete(bucket: Bucket, key: Buffer): void {
    assert(!this.closed, 'the backend is open');
    this.overlay.write(bucket, key, null);
  }

  get(bucket: Bucket, key: Buffer): Buffer | null {
    const index = bucketIndex(bucket);
    const name = keyFromBytes(key);
    const found = this.overlay.find(index, name);
    if (found !== ABSENT) return found;
    return (this.tables[index] as Table).values.get(name) ?? null;
  }

  scan(bucket: Bucket, from: Buffer | null, to: Buffer | null, visit: Visit): void {
    const table = this.tables[bucketIndex(bucket)] as Table;
    const base: BaseScan = (low, high, each) => table.scan(low, high, each);
    this.overlay.scan(bucket, base, from, to, visit);
  }

  beforeCommit(hook: () => void): void {
    this.hooks.push(hook);
  }

  commit(done?: (error: Error | null) => void): void {
    assert(!this.closed, 'the backend is open');
    if (this.overlay.open.operations > 0) {
      faultPoint('backend.commit.before');
      for (const hook of this.hooks) hook();
      faultPoint('backend.commit.hooked');
      const batch = this.overlay.seal();
      const changes = changesOf(batch);
      apply(this.tables, changes);
      if (this.lingering !== null) this.overlay.drop(this.lingering);
      // In LMDB too the file shows a batch some time before it is known to be there.
      if (this.durable === null) this.overlay.drop(batch);
      else this.lingering = batch;
      if (this.durable !== null) this.undurable.push(changes);
      faultPoint('backend.commit.after');
    }
    if (done !== undefined) done(null);
  }

  /** Memory is never out of space as a disk is. */
  readonly isOutOfSpace = false;

  retry(): void {}

  async idle(): Promise<void> {}

  async flush(): Promise<void> {
    this.commit();
    faultPoint('backend.flush.before');
    const last = this.undurable.at(-1);
    if (this.syncing !== null) await this.syncing();
    if (this.durable === null || last === undefined) return;
    // What another flush or a replacement has settled meanwhile is not there any more.
    const covered = this.undurable.splice(0, this.undurable.indexOf(last) + 1);
    this.flushed.push(...covered);
    if (this.flushed.length > FLUSHED_MAX) this.settle(this.durable);
    faultPoint('backend.flush.after');
  }

  /** Most stores never crash: what is durable is put together when one does, or when there is much of it. */
  private settle(durable: readonly Table[]): void {
    for (const changes of this.flushed) apply(durable, changes);
    this.flushed = [];
  }

  snapshot(): BackendSnapshot {
    this.commit();
    const tables = this.tables.map((table) => table.clone());
    return {
      get: (bucket, key) => (tables[bucketIndex(bucket)] as Table).values.get(keyFromBytes(key)) ?? null,
      scan: (bucket, from, to, visit) =>
        (tables[bucketIndex(bucket)] as Table).scan(
          from === null ? '' : keyFromBytes(from),
          to === null ? null : keyFromBytes(to),
          visit,
        ),
      close: () => {},
    };
  }

  sizeBytes(): number {
    return this.inUseBytes();
  }

  inUseBytes(): number {
    let sum = 0;
    for (const table of this.tables) sum += table.bytes;
    return sum;
  }

  async defragment(): Promise<void> {
    faultPoint('defragment.before');
    this.commit();
    faultPoint('defragment.exchange');
    faultPoint('defragment.after');
  }

  async replace(fill: (fresh: Backend) => Promise<void>, switched: () => void = () => {}): Promise<void> {
    const fresh = new MemoryBackend();
    await fill(fresh);
    await fresh.close();
    this.tables = fresh.tables;
    this.overlay.clear();
    this.lingering = null;
    this.undurable = [];
    this.flushed = [];
    if (this.durable !== null) this.durable = this.tables.map((table) => table.clone());
    switched();
  }

  freezeFile(): Promise<null> {
    return Promise.resolve(null);
  }

  async close(): Promise<void> {
    await this.flush();
    this.closed = true;
  }

  /** How many committed batches a crash of the machine may still take away. */
  get undurableBatches(): number {
    return this.undurable.length;
  }

  /**
   * The store that a restart finds after a crash: everything flushed, and of the batches committed since then the
   * oldest `survivors`. This object is dead afterwards. Also for what a clean stop leaves: then there are none.
   */
  afterCrash(survivors: number, options: Pick<MemoryOptions, 'syncing'> = {}): MemoryBackend {
    const durable = this.durable;
    assert(durable !== null, 'only a crashable store can crash');
    assert(survivors <= this.undurable.length, 'no more batches survive than there were');
    this.closed = true;
    // Whatever this one still does, it does not reach the disk.
    this.durable = null;
    const next = new MemoryBackend({ ...options, crashable: true });
    this.settle(durable);
    for (let i = 0; i < survivors; i++) apply(durable, this.undurable[i] as readonly Change[]);
    next.durable = durable;
    next.tables = durable.map((table) => table.clone());
    return next;
  }
}
