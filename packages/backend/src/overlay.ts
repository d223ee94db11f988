import { type Key, keyFromBytes } from '@etsd/base';
import type { Visit } from './backend.ts';
import { Batch, KEY_BUCKET } from './batch.ts';
import { type Bucket, bucketIndex } from './buckets.ts';
import { type BaseScan, type Layer, mergeScan } from './layer.ts';
import { recordKey } from './records.ts';

/** What an overlay found: a record, a deletion, or nothing (so that the engine must be asked). */
export const ABSENT: unique symbol = Symbol('absent');

/**
 * The writes an engine does not show yet: the open batch and those in flight, oldest first. Both engines share it, so
 * that what is read right after a write does not depend on the engine.
 */
export class Overlay {
  open = new Batch();
  readonly inFlight: Batch[] = [];

  write(bucket: Bucket, key: Buffer, value: Buffer | null): void {
    this.open.set(bucketIndex(bucket), keyFromBytes(key), value);
  }

  /** Moves the open batch in flight and returns it. */
  seal(): Batch {
    const batch = this.open;
    this.inFlight.push(batch);
    this.open = new Batch();
    return batch;
  }

  /** Forgets a batch that the engine shows by now. */
  drop(batch: Batch): void {
    const index = this.inFlight.indexOf(batch);
    if (index >= 0) this.inFlight.splice(index, 1);
  }

  /** Forgets everything. */
  clear(): void {
    this.open = new Batch();
    this.inFlight.length = 0;
  }

  get bytes(): number {
    let sum = this.open.bytes;
    for (const batch of this.inFlight) sum += batch.bytes;
    return sum;
  }

  find(bucket: number, key: Key): Buffer | null | typeof ABSENT {
    const open = lookUp(this.open, bucket, key);
    if (open !== ABSENT) return open;
    return findIn(this.inFlight, bucket, key);
  }

  findRecord(main: number, sub: number): Buffer | null | typeof ABSENT {
    const open = lookUpRecord(this.open, main, sub);
    if (open !== ABSENT) return open;
    for (let i = this.inFlight.length - 1; i >= 0; i--) {
      const value = lookUpRecord(this.inFlight[i] as Batch, main, sub);
      if (value !== ABSENT) return value;
    }
    return ABSENT;
  }

  scan(bucket: Bucket, base: BaseScan, from: Buffer | null, to: Buffer | null, visit: Visit): void {
    const index = bucketIndex(bucket);
    const layers = layersOf(this.inFlight, index);
    this.open.addLayers(index, layers);
    mergeScan(layers, base, from, to, visit);
  }
}

function lookUp(batch: Batch, bucket: number, key: Key): Buffer | null | typeof ABSENT {
  const layer = batch.layers[bucket] as Layer | null;
  if (layer !== null) {
    const value = layer.entries.get(key);
    if (value !== undefined) return value;
  }
  if (bucket === KEY_BUCKET && batch.records.length > 0) {
    const value = batch.records.asLayer().entries.get(key);
    if (value !== undefined) return value;
  }
  return ABSENT;
}

/** The same for a record, without making a key of its revision where that can be helped. */
function lookUpRecord(batch: Batch, main: number, sub: number): Buffer | null | typeof ABSENT {
  const layer = batch.layers[KEY_BUCKET] as Layer | null;
  if (layer !== null) {
    const value = layer.entries.get(recordKey(main, sub, false));
    if (value !== undefined) return value;
  }
  return batch.records.find(main, sub) ?? ABSENT;
}

/** The newest word on a key in these batches (oldest first). */
export function findIn(batches: readonly Batch[], bucket: number, key: Key): Buffer | null | typeof ABSENT {
  for (let i = batches.length - 1; i >= 0; i--) {
    const value = lookUp(batches[i] as Batch, bucket, key);
    if (value !== ABSENT) return value;
  }
  return ABSENT;
}

/** What these batches (oldest first) say about one bucket. */
export function layersOf(batches: readonly Batch[], bucket: number): Layer[] {
  const layers: Layer[] = [];
  for (const batch of batches) batch.addLayers(bucket, layers);
  return layers;
}
