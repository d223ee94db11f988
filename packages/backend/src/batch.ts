import type { Key } from '@etsd/base';
import { bucketIndex, STORED_BUCKETS } from './buckets.ts';
import { Layer } from './layer.ts';
import { RecordRun } from './records.ts';
import type { Slab } from './slab.ts';

const RECORD_KEY_BYTES = 17;
export const KEY_BUCKET: number = bucketIndex('key');

/** The writes of one commit, by bucket. Frozen once it was handed to the engine. */
export class Batch {
  readonly layers: (Layer | null)[] = STORED_BUCKETS.map(() => null);
  /** New records of the bucket `key`; what its layer says counts more. */
  readonly records = new RecordRun();
  operations = 0;
  bytes = 0;
  /** Who wants to know when the engine holds it, or why not. */
  readonly waiters: ((error: Error | null) => void)[] = [];

  set(bucket: number, key: Key, value: Buffer | null): void {
    let layer = this.layers[bucket] as Layer | null;
    if (layer === null) {
      layer = new Layer();
      this.layers[bucket] = layer;
    }
    layer.set(key, value);
    this.operations++;
    this.bytes += key.length + (value === null ? 0 : value.length);
  }

  addRecord(main: number, sub: number, slab: Slab, start: number, end: number, isTombstone: boolean): void {
    this.records.add(main, sub, slab, start, end, isTombstone);
    this.operations++;
    this.bytes += RECORD_KEY_BYTES + end - start;
  }

  /** What this batch says about a bucket, the less important first. */
  addLayers(bucket: number, layers: Layer[]): void {
    if (bucket === KEY_BUCKET && this.records.length > 0) layers.push(this.records.asLayer());
    const layer = this.layers[bucket] as Layer | null;
    if (layer !== null) layers.push(layer);
  }
}
