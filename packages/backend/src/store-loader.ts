import { type Key, keyFromBytes } from '@etsd/base';
import { type Bucket, bucketIndex } from './buckets.ts';
import { KEY_BYTES_MAX, type LmdbFile, openLmdbFile } from './lmdb-file.ts';

/** Handed to the engine in one transaction. */
const SLICE_BYTES = 2 * 1024 * 1024;

/**
 * Fills a new store with records that come in order, bucket by bucket, for tools: nobody reads it meanwhile, so nothing is
 * kept to be found, and pages are filled one after the other.
 */
export class StoreLoader {
  private readonly file: LmdbFile;
  private bucket = -1;
  private keys: Key[] = [];
  private values: Buffer[] = [];
  private bytes = 0;
  /** What was handed to the engine last, which works while the next records are gathered. */
  private writing: Promise<unknown> = Promise.resolve();

  /** Makes the file, which must not exist. */
  constructor(path: string) {
    this.file = openLmdbFile(path);
  }

  /** Whether it is time to `drain`. */
  get isFull(): boolean {
    return this.bytes >= SLICE_BYTES;
  }

  /** Adds a record behind all others of its bucket; both are copied. Another bucket may begin only after `drain`. */
  add(bucket: Bucket, key: Buffer, value: Buffer): void {
    if (key.length === 0 || key.length > KEY_BYTES_MAX) throw new RangeError(`a key of ${key.length} bytes`);
    const index = bucketIndex(bucket);
    if (index !== this.bucket && this.keys.length > 0) this.hand();
    this.bucket = index;
    this.keys.push(keyFromBytes(key));
    this.values.push(Buffer.from(value));
    this.bytes += key.length + value.length;
  }

  /** Hands over what was gathered; resolves when what was handed over before is written. */
  async drain(): Promise<void> {
    const before = this.writing;
    this.hand();
    await before;
  }

  /** One transaction after the other: each takes the digest of the store from the one before. */
  private hand(): void {
    if (this.keys.length === 0) return;
    const { bucket, keys, values } = this;
    this.writing = this.writing.then(() => this.file.append(bucket, { keys, values }));
    // Whoever drains or closes hears of it.
    this.writing.catch(() => {});
    this.keys = [];
    this.values = [];
    this.bytes = 0;
  }

  /** Writes the rest, syncs and closes. */
  async close(): Promise<void> {
    this.hand();
    try {
      await this.writing;
      await this.file.sync();
    } finally {
      await this.file.close();
    }
  }
}
