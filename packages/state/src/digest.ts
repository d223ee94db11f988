import { crc32c } from '@etsd/base';
import type { BackendPort } from './ports.ts';

/** All buckets in the order of their names, which is the order etcd hashes them in. */
const BUCKETS = [
  'alarm',
  'auth',
  'authRoles',
  'authUsers',
  'cluster',
  'key',
  'lease',
  'members',
  'members_removed',
  'meta',
] as const;

/** What may differ between members that applied the same: when they last committed. */
const IGNORED = new Set(['consistent_index', 'term', 'storageVersion']);

/**
 * CRC-32C over every bucket's name, keys and values, but for what says how far a member is. Members that applied the
 * same entries, and purged the same compactions, have the same digest; etcd's `Hash` is this number.
 */
export class Digest {
  private readonly backend: BackendPort;
  private readonly buckets: readonly string[];
  private bucketAt = 0;
  /** Where the next slice begins within the bucket; null at its start. */
  private from: Buffer | null = null;
  private crc = 0;
  private budget = 0;
  private next: Buffer | null = null;

  /** Over all buckets unless some are named, in the order of their names. */
  constructor(backend: BackendPort, buckets: readonly string[] = BUCKETS) {
    this.backend = backend;
    this.buckets = buckets;
  }

  /** The number so far; final once `step` returned true. */
  get value(): number {
    return this.crc;
  }

  /** Takes in up to `records` further records; true when nothing is left. */
  step(records: number): boolean {
    this.budget = records;
    while (this.bucketAt < this.buckets.length && this.budget > 0) {
      const bucket = this.buckets[this.bucketAt] as string;
      if (this.from === null) this.take(Buffer.from(bucket, 'latin1'));
      this.next = null;
      this.backend.scan(bucket, this.from, null, (key, value) => {
        if (this.budget === 0) {
          this.next = Buffer.from(key);
          return false;
        }
        this.budget--;
        if (bucket !== 'meta' || !IGNORED.has(key.toString('latin1'))) {
          this.take(key);
          this.take(value);
        }
        return true;
      });
      this.from = this.next;
      if (this.next === null) this.bucketAt++;
    }
    return this.bucketAt === this.buckets.length;
  }

  private take(bytes: Buffer): void {
    this.crc = crc32c(bytes, 0, bytes.length, this.crc);
  }
}

/** The digest in one go, for tests and small stores. */
export function digest(backend: BackendPort): number {
  const run = new Digest(backend);
  while (!run.step(10_000));
  return run.value;
}
