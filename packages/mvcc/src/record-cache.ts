import { Slab } from '@etsd/backend';
import { copyBytes } from '@etsd/proto';
import { SLAB_BYTES } from './limits.ts';

/**
 * Records written or read lately, so that reading one that is hot costs neither the engine nor a copy. Records lie one
 * behind the other in slabs; the oldest slab is given up when the bound is reached. Slabs are never written twice, so
 * a view of a record stays right for as long as somebody holds it.
 *
 * The directory is a table without chains, indexed by the main revision: revisions are dense, so recent ones do not
 * push each other out.
 */
const ENTRIES_MAX = 1 << 18;
const ENTRIES_MIN = 1 << 8;
/** Room in the cache for which the directory has an entry. */
const BYTES_PER_ENTRY = 256;
const LARGE_RECORD_BYTES = SLAB_BYTES >> 3;

export class RecordCache {
  private readonly mask: number;
  private readonly mains: Float64Array;
  private readonly subs: Int32Array;
  /** Serial number of the slab an entry lies in; 0 in an empty entry. */
  private readonly serials: Int32Array;
  private readonly offsets: Int32Array;
  private readonly lengths: Int32Array;
  /** The slabs with the serial numbers (newest − length, newest], by serial number modulo their number. */
  private readonly slabs: (Slab | null)[];
  private newest = 1;
  private current: Slab = new Slab(SLAB_BYTES);
  private used = 0;

  /** The slab `reserve` made room in, and where. */
  slab: Slab = this.current;
  offset = 0;

  constructor(bytesMax: number) {
    const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, bytesMax / BYTES_PER_ENTRY)));
    const entries = Math.max(ENTRIES_MIN, Math.min(ENTRIES_MAX, wanted));
    this.mask = entries - 1;
    this.mains = new Float64Array(entries);
    this.subs = new Int32Array(entries);
    this.serials = new Int32Array(entries);
    this.offsets = new Int32Array(entries);
    this.lengths = new Int32Array(entries);
    this.slabs = new Array<Slab | null>(Math.max(2, Math.ceil(bytesMax / SLAB_BYTES))).fill(null);
    this.slabs[1 % this.slabs.length] = this.current;
  }

  /** Makes room for a record that the caller writes into `slab` at `offset`. */
  reserve(main: number, sub: number, length: number): void {
    if (length > LARGE_RECORD_BYTES) {
      // Not in the directory: a few of these would push out all others, and reading them costs little by comparison.
      this.slab = new Slab(length);
      this.offset = 0;
      return;
    }
    if (this.used + length > SLAB_BYTES) this.nextSlab();
    const at = (main + sub * 7919) & this.mask;
    this.mains[at] = main;
    this.subs[at] = sub;
    this.serials[at] = this.newest;
    this.offsets[at] = this.used;
    this.lengths[at] = length;
    this.slab = this.current;
    this.offset = this.used;
    this.used += length;
  }

  /** Keeps a copy of a record and returns it. */
  add(main: number, sub: number, record: Buffer): Buffer {
    const length = record.length;
    this.reserve(main, sub, length);
    copyBytes(this.slab.bytes, this.offset, record, 0, length);
    return this.slab.bytes.subarray(this.offset, this.offset + length);
  }

  get(main: number, sub: number): Buffer | null {
    const at = (main + sub * 7919) & this.mask;
    if (this.mains[at] !== main || this.subs[at] !== sub) return null;
    const serial = this.serials[at] as number;
    if (serial === 0 || serial <= this.newest - this.slabs.length) return null;
    const slab = this.slabs[serial % this.slabs.length] as Slab;
    const offset = this.offsets[at] as number;
    return slab.bytes.subarray(offset, offset + (this.lengths[at] as number));
  }

  /** Forgets everything. Views handed out stay right. */
  clear(): void {
    this.serials.fill(0);
    this.slabs.fill(null);
    this.nextSlab();
  }

  private nextSlab(): void {
    this.current = new Slab(SLAB_BYTES);
    this.used = 0;
    this.newest++;
    this.slabs[this.newest % this.slabs.length] = this.current;
  }
}
