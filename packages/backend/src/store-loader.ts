import { type Bucket, bucketIndex } from './buckets.ts';
import { LmdbBuilder } from './lmdb-builder.ts';
import { KEY_BYTES_MAX, openLmdbFile } from './lmdb-file.ts';

/**
 * Fills a new store with records that come in order, bucket by bucket, for tools: nobody reads it meanwhile, so nothing is
 * kept to be found, and pages are filled one after the other.
 */
export class StoreLoader {
  private readonly builder: LmdbBuilder;

  private constructor(builder: LmdbBuilder) {
    this.builder = builder;
  }

  /** Makes the file, which must not exist. Nobody may open it before it is closed here. */
  static async create(path: string): Promise<StoreLoader> {
    await openLmdbFile(path).close();
    return new StoreLoader(new LmdbBuilder(path));
  }

  /** Whether it is time to `drain`. */
  get isFull(): boolean {
    return this.builder.isFull;
  }

  /** Adds a record behind all others of its bucket; both are copied. Nothing is added to a bucket behind those of another. */
  add(bucket: Bucket, key: Buffer, value: Buffer): void {
    if (key.length === 0 || key.length > KEY_BYTES_MAX) throw new RangeError(`a key of ${key.length} bytes`);
    this.builder.add(bucketIndex(bucket), key, value);
  }

  /** Resolves when the disk has taken what was added, but for the last pages. */
  drain(): Promise<void> {
    return this.builder.drain();
  }

  /** Writes the rest, syncs and closes. */
  close(): Promise<void> {
    return this.builder.finish();
  }
}
