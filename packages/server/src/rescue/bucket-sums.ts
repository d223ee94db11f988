/** Checksums by which two stores are compared, whatever the container: one for each bucket, over all keys and values. */
import { type BackendReader, BUCKETS, type Bucket } from '@etsd/backend';
import { crc32c } from '@etsd/base';
import type { BoltFile } from '@etsd/boltfile';
import { isRevisionKey, revisionMain } from '@etsd/mvcc';
import type { Pause } from '../snapshots/store-file.ts';

const SLICE_RECORDS = 1000;

export interface BucketSum {
  readonly records: number;
  readonly hash: number;
}

export interface BucketSums {
  readonly buckets: ReadonlyMap<Bucket, BucketSum>;
  /** The newest revision of any key, compacted ones aside. */
  readonly revision: number;
}

class Summing {
  readonly buckets = new Map<Bucket, BucketSum>();
  revision = 1;
  private bucket: Bucket = 'key';
  private records = 0;
  private hash = 0;

  begin(bucket: Bucket): void {
    this.bucket = bucket;
    this.records = 0;
    this.hash = 0;
  }

  add(key: Buffer, value: Buffer): void {
    this.hash = crc32c(value, 0, value.length, crc32c(key, 0, key.length, this.hash));
    this.records++;
    if (this.bucket === 'key' && isRevisionKey(key)) this.revision = revisionMain(key);
  }

  end(): void {
    this.buckets.set(this.bucket, { records: this.records, hash: this.hash });
  }
}

/** Of a store, or of what reads its file. */
export async function sumsOfStore(source: BackendReader, pause: Pause): Promise<BucketSums> {
  const sums = new Summing();
  for (const bucket of BUCKETS) {
    sums.begin(bucket);
    let from: Buffer | null = null;
    do {
      let left = SLICE_RECORDS;
      const start: Buffer | null = from;
      from = null;
      source.scan(bucket, start, null, (key, value) => {
        if (left-- === 0) {
          from = Buffer.from(key);
          return false;
        }
        sums.add(key, value);
        return true;
      });
      await pause();
    } while (from !== null);
    sums.end();
  }
  return sums;
}

/** Of a file of etcd; buckets that are not there count as empty. */
export async function sumsOfBolt(file: BoltFile, pause: Pause): Promise<BucketSums> {
  const sums = new Summing();
  const present = await file.buckets();
  for (const bucket of BUCKETS) {
    sums.begin(bucket);
    const found = present.find(({ name }) => name.toString('latin1') === bucket);
    const cursor = found === undefined ? null : file.leaves(found);
    for (let leaf = (await cursor?.next()) ?? null; leaf !== null; leaf = (await cursor?.next()) ?? null) {
      for (let index = 0; index < leaf.count; index++) sums.add(leaf.key(index), leaf.value(index));
      await pause();
    }
    sums.end();
  }
  return sums;
}

/** The buckets in which two stores differ. */
export function differingBuckets(a: BucketSums, b: BucketSums): Bucket[] {
  return BUCKETS.filter((bucket) => {
    const [left, right] = [a.buckets.get(bucket), b.buckets.get(bucket)];
    return left?.hash !== right?.hash || left?.records !== right?.records;
  });
}
