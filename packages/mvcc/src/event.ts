/**
 * Events as they stand in a watch response, encoded once and shared by everybody who is told of them.
 *
 * ```
 * one event's frame:   5a len | [08 01] | 12 len KeyValue | [1a len previous KeyValue]
 *                      field 11   delete        kv                  prev_kv
 * ```
 * A watch response is its header, the watch id and any number of such frames, so a further watcher costs one copy.
 * A frame with the previous value is made when the first watcher asks for it.
 */
import { type Key, keyFromBytes } from '@etsd/base';
import { copyBytes, KeyValueView, varintSize, writeVarint } from '@etsd/proto';

const VIEW = new KeyValueView();

const TAG_EVENT = 0x5a;
const TAG_TYPE = 0x08;
const TYPE_DELETE = 1;
const TAG_KV = 0x12;
const TAG_PREVIOUS = 0x1a;
const TAG_KEY = 0x0a;
const TAG_MOD_REVISION = 0x18;

/** An arena that grew beyond this is not kept for the next batch, in bytes. */
const ARENA_KEEP_MAX = 1024 * 1024;
const ARENA_FIRST = 16 * 1024;
/** Lists that grew beyond this are not kept for the next batch, in events. */
const EVENTS_KEEP_MAX = 8192;

/** Where the previous values of events come from. */
export interface PreviousSource {
  /** Values from before this revision are not shown any more; −1 where nothing was ever compacted. */
  readonly compactRevision: number;
  /** The KeyValue of `key` as it was before `revision`; null where there was none or it is compacted away. */
  recordBefore(key: Key, revision: number): Buffer | null;
}

/** The events of one revision being published, or of a window of history: in order, each with its frame. */
export class EventBatch {
  count = 0;
  /** Bytes of the frames without previous values. */
  bytes = 0;
  readonly keys: Key[] = [];
  readonly revisions: number[] = [];
  readonly deletes: boolean[] = [];
  /** All frames. Grows by moving; what was handed out stays as it is. */
  buffer: Buffer = Buffer.allocUnsafeSlow(ARENA_FIRST);
  /** Set by whoever holds on to a part of `buffer` beyond the call in which it was shown. */
  kept = false;

  private readonly starts: number[] = [];
  private readonly bodies: number[] = [];
  private readonly ends: number[] = [];
  /** −1 while nobody asked for the frame with the previous value. */
  private readonly previousStarts: number[] = [];
  private readonly previousEnds: number[] = [];
  private used = 0;

  clear(): void {
    if (this.count > EVENTS_KEEP_MAX) this.forget();
    this.count = 0;
    this.bytes = 0;
    this.used = 0;
    if (this.kept || this.buffer.length > ARENA_KEEP_MAX) this.buffer = Buffer.allocUnsafeSlow(ARENA_FIRST);
    this.kept = false;
  }

  private forget(): void {
    this.keys.length = 0;
    this.revisions.length = 0;
    this.deletes.length = 0;
    this.starts.length = 0;
    this.bodies.length = 0;
    this.ends.length = 0;
    this.previousStarts.length = 0;
    this.previousEnds.length = 0;
  }

  /** Appends a put; `record` is the encoded KeyValue, of which a copy is taken. */
  addPut(key: Key, revision: number, record: Buffer): void {
    const bodySize = 1 + varintSize(record.length) + record.length;
    let at = this.open(key, revision, false, bodySize);
    const target = this.buffer;
    target[at++] = TAG_KV;
    at = writeVarint(target, at, record.length);
    this.close(copyBytes(target, at, record, 0, record.length));
  }

  /** Appends a delete; such an event shows the key and the revision alone. */
  addDelete(key: Key, revision: number): void {
    const length = key.length;
    const kvSize = 1 + varintSize(length) + length + 1 + varintSize(revision);
    const bodySize = 2 + 1 + varintSize(kvSize) + kvSize;
    let at = this.open(key, revision, true, bodySize);
    const target = this.buffer;
    target[at++] = TAG_TYPE;
    target[at++] = TYPE_DELETE;
    target[at++] = TAG_KV;
    at = writeVarint(target, at, kvSize);
    target[at++] = TAG_KEY;
    at = writeVarint(target, at, length);
    at += target.write(key, at, length, 'latin1');
    target[at++] = TAG_MOD_REVISION;
    this.close(writeVarint(target, at, revision));
  }

  startOf(place: number): number {
    return this.starts[place] as number;
  }

  endOf(place: number): number {
    return this.ends[place] as number;
  }

  /** Where the frame with the previous value starts; it is made now where this is the first time. */
  startWithPrevious(place: number, source: PreviousSource): number {
    const known = this.previousStarts[place] as number;
    return known >= 0 ? known : this.addPrevious(place, source);
  }

  endWithPrevious(place: number): number {
    return this.previousEnds[place] as number;
  }

  private addPrevious(place: number, source: PreviousSource): number {
    const revision = this.revisions[place] as number;
    const isGone = revision - 1 < source.compactRevision;
    const record = isGone || this.createsKey(place) ? null : source.recordBefore(this.keys[place] as Key, revision);
    let start = this.starts[place] as number;
    let end = this.ends[place] as number;
    if (record !== null) {
      const body = this.bodies[place] as number;
      const size = end - body + 1 + varintSize(record.length) + record.length;
      this.reserve(6 + size);
      const target = this.buffer;
      start = this.used;
      let at = start;
      target[at++] = TAG_EVENT;
      at = writeVarint(target, at, size);
      at += target.copy(target, at, body, end);
      target[at++] = TAG_PREVIOUS;
      at = writeVarint(target, at, record.length);
      end = copyBytes(target, at, record, 0, record.length);
      this.used = end;
    }
    this.previousStarts[place] = start;
    this.previousEnds[place] = end;
    return start;
  }

  /**
   * Whether the event is the put that made its key. Such an event shows no previous value, even where the same
   * transaction had deleted the key right before.
   */
  private createsKey(place: number): boolean {
    if (this.deletes[place] === true) return false;
    let at = (this.bodies[place] as number) + 1;
    while ((this.buffer[at++] as number) >= 0x80);
    VIEW.parse(this.buffer, at, this.ends[place] as number);
    return VIEW.createRevision === VIEW.modRevision;
  }

  private open(key: Key, revision: number, isDelete: boolean, bodySize: number): number {
    this.reserve(6 + bodySize);
    const place = this.count++;
    this.keys[place] = key;
    this.revisions[place] = revision;
    this.deletes[place] = isDelete;
    this.starts[place] = this.used;
    this.previousStarts[place] = -1;
    let at = this.used;
    this.buffer[at++] = TAG_EVENT;
    at = writeVarint(this.buffer, at, bodySize);
    this.bodies[place] = at;
    return at;
  }

  private close(end: number): void {
    this.bytes += end - this.used;
    this.ends[this.count - 1] = end;
    this.used = end;
  }

  private reserve(size: number): void {
    const needed = this.used + size;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.used);
    this.buffer = larger;
    // The old bytes, if somebody keeps them, are no longer ours.
    this.kept = false;
  }
}

/** What a watcher wants of events; watchers of one range with the same wishes share one selection. */
export const WANTS_PREVIOUS = 1;
export const WANTS_NO_PUTS = 2;
export const WANTS_NO_DELETES = 4;
/** Number of combinations of the three. */
export const VARIANTS = 8;

/** Some frames of a batch, in order: the events of one range for one combination of wishes. */
export class EventSelection {
  batch: EventBatch;
  count = 0;
  /** Bytes of all chosen frames. */
  bytes = 0;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly revisions: number[] = [];
  private contiguous = true;

  constructor(batch: EventBatch) {
    this.batch = batch;
  }

  clear(batch: EventBatch): void {
    this.batch = batch;
    this.count = 0;
    this.bytes = 0;
    this.contiguous = true;
  }

  /** Takes the event at `place` of the batch, unless the wishes exclude it. */
  add(place: number, variant: number, source: PreviousSource): void {
    const batch = this.batch;
    if ((variant & (batch.deletes[place] === true ? WANTS_NO_DELETES : WANTS_NO_PUTS)) !== 0) return;
    const withPrevious = (variant & WANTS_PREVIOUS) !== 0;
    const start = withPrevious ? batch.startWithPrevious(place, source) : batch.startOf(place);
    const end = withPrevious ? batch.endWithPrevious(place) : batch.endOf(place);
    const index = this.count++;
    if (index > 0 && this.ends[index - 1] !== start) this.contiguous = false;
    this.starts[index] = start;
    this.ends[index] = end;
    this.revisions[index] = batch.revisions[place] as number;
    this.bytes += end - start;
  }

  /** The first chosen event of this revision or a later one; `count` where there is none. */
  firstFrom(revision: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.revisions[middle] as number) < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Bytes of the frames [from, to). */
  size(from: number, to: number): number {
    if (from === 0 && to === this.count) return this.bytes;
    if (from >= to) return 0;
    if (this.contiguous) return (this.ends[to - 1] as number) - (this.starts[from] as number);
    let sum = 0;
    for (let index = from; index < to; index++) sum += (this.ends[index] as number) - (this.starts[index] as number);
    return sum;
  }

  /** Copies the frames [from, to) to `target`; returns the offset behind them. */
  write(target: Buffer, offset: number, from: number, to: number): number {
    if (from >= to) return offset;
    const source = this.batch.buffer;
    if (this.contiguous) {
      return copyBytes(target, offset, source, this.starts[from] as number, this.ends[to - 1] as number);
    }
    let at = offset;
    for (let index = from; index < to; index++) {
      at = copyBytes(target, at, source, this.starts[index] as number, this.ends[index] as number);
    }
    return at;
  }

  /** The frames [from, to) as views of the batch's bytes, which from now on are kept. */
  share(from: number, to: number, chunks: Buffer[]): void {
    const batch = this.batch;
    batch.kept = true;
    let index = from;
    while (index < to) {
      const start = this.starts[index] as number;
      let end = this.ends[index++] as number;
      while (index < to && this.starts[index] === end) end = this.ends[index++] as number;
      chunks.push(batch.buffer.subarray(start, end));
    }
  }
}

/** The key of an encoded KeyValue, which etcd's encoding puts first. */
export function keyOfRecord(record: Buffer): Key {
  if (record.length === 0 || record[0] !== TAG_KEY) return '';
  let at = 1;
  let length = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = record[at++] as number;
    length += (byte & 0x7f) * scale;
    if (byte < 0x80) break;
  }
  return keyFromBytes(record, at, at + length);
}
