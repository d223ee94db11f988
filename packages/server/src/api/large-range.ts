import { RingQueue } from '@etsd/base';
import type { RangeCursor } from '@etsd/mvcc';
import { EtcdError, GrpcCode, rangeBodySize, writeRangeBody } from '@etsd/proto';
import type { ApiCall, MemberContext } from '../context.ts';
import { failCall } from './guards.ts';
import type { RangePlan } from './range-plan.ts';
import type { SlicedJob, SliceRunner } from './slice-runner.ts';
import { SlicedSort } from './sliced-sort.ts';

/** A slice: this many bytes of records, or this many keys looked at. Well under a millisecond each. */
const SLICE_BYTES = 256 * 1024;
const SLICE_KEYS = 1000;
/** Ranges that are being gathered at a time. */
const ACTIVE_MAX = 4;
/** Bytes of answers, whole or half gathered, above which no further range is begun. */
const HELD_BYTES_MAX = 512 * 1024 * 1024;
/** A message can be no larger, whatever is configured; RangeStream has no such bound. */
const MESSAGE_BYTES_MAX = 2 ** 31 - 1;

/**
 * The large ranges of a member. A unary answer has to stand in memory as a whole before its first byte goes out, for its
 * length comes first; so only a few are gathered at a time, and none is begun while those before it fill the memory set
 * aside for them. Whoever has to wait keeps the revision it was asked at.
 */
export class LargeRanges {
  readonly context: MemberContext;
  private readonly runner: SliceRunner;
  private readonly waiting = new RingQueue<LargeRange>();
  private active = 0;
  private heldBytes = 0;

  constructor(context: MemberContext, runner: SliceRunner) {
    this.context = context;
    this.runner = runner;
  }

  start(range: LargeRange): void {
    this.waiting.push(range);
    this.admit();
  }

  held(bytes: number): void {
    this.heldBytes += bytes;
  }

  /** A range is gathered, or given up. */
  gathered(): void {
    this.active--;
    this.admit();
  }

  /** An answer left memory. */
  released(bytes: number): void {
    this.heldBytes -= bytes;
    this.admit();
  }

  private admit(): void {
    while (this.active < ACTIVE_MAX && (this.heldBytes < HELD_BYTES_MAX || this.active === 0)) {
      const range = this.waiting.take();
      if (range === undefined) return;
      if (range.isOver) continue;
      this.active++;
      range.isActive = true;
      this.runner.add(range);
    }
  }
}

/** One large range on its way: read in slices, sorted in slices where an order is asked for, then sent as one message. */
export class LargeRange implements SlicedJob {
  isOver = false;
  /** Counted among those being gathered. */
  isActive = false;
  private readonly call: ApiCall;
  private readonly ranges: LargeRanges;
  private readonly cursor: RangeCursor;
  private readonly plan: RangePlan;
  /** The store's revision when it was asked. */
  private readonly revision: number;
  private readonly sort: SlicedSort | null;
  private readonly chunks: Buffer[] = [];
  private chunkBytes = 0;
  private heldBytes = 0;
  private isRead = false;
  private isSorted = false;
  /** Sorted records that are packed. */
  private packed = 0;

  /** The cursor has read its first slice, which is not the last. */
  constructor(call: ApiCall, ranges: LargeRanges, cursor: RangeCursor, plan: RangePlan, revision: number) {
    this.call = call;
    this.ranges = ranges;
    this.cursor = cursor;
    this.plan = plan;
    this.revision = revision;
    this.sort = plan.sortTarget < 0 ? null : new SlicedSort(plan.sortTarget, plan.sortOrder);
    this.take(cursor.records);
  }

  step(): boolean {
    if (this.isOver) return true;
    if (!this.isRead) {
      this.isRead = this.cursor.next(SLICE_BYTES, SLICE_KEYS);
      this.take(this.cursor.records);
    } else if (this.sort !== null && !this.isSorted) {
      this.isSorted = this.sort.step(SLICE_KEYS);
    } else if (this.sort !== null && !this.packSorted(this.sort.records)) {
      return false;
    } else {
      this.send();
      return true;
    }
    if (this.chunkBytes <= MESSAGE_BYTES_MAX) return false;
    failCall(this.call, ErrTooLarge);
    return true;
  }

  /** The call is over: answered and read, or given up. */
  cancel(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.cursor.close();
    if (this.isActive) this.ranges.gathered();
    this.isActive = false;
    this.ranges.released(this.heldBytes);
  }

  private take(records: readonly Buffer[]): void {
    if (this.sort === null) {
      this.pack(records);
      return;
    }
    this.sort.add(records);
    let bytes = 0;
    for (const record of records) bytes += record.length;
    this.hold(bytes);
  }

  private packSorted(records: readonly Buffer[]): boolean {
    const wanted = this.plan.limit > 0 ? Math.min(this.plan.limit, records.length) : records.length;
    const end = Math.min(this.packed + SLICE_KEYS, wanted);
    if (this.packed < end) this.pack(records.slice(this.packed, end));
    this.packed = end;
    return end === wanted;
  }

  private pack(records: readonly Buffer[]): void {
    if (records.length === 0) return;
    const { keysOnly } = this.plan;
    const chunk = Buffer.allocUnsafeSlow(rangeBodySize(records, records.length, keysOnly, false, 0));
    writeRangeBody(chunk, 0, records, records.length, keysOnly, false, 0);
    this.chunks.push(chunk);
    this.chunkBytes += chunk.length;
    this.hold(chunk.length);
  }

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.ranges.held(bytes);
  }

  private send(): void {
    const { header, replication } = this.ranges.context;
    const { sort, plan, cursor } = this;
    const more = sort === null ? cursor.more : plan.limit > 0 && sort.records.length > plan.limit;
    const term = replication.term;
    const head = Buffer.allocUnsafe(header.size(this.revision, term));
    header.write(head, 0, this.revision, term);
    const tail = Buffer.allocUnsafe(rangeBodySize(NO_RECORDS, 0, false, more, cursor.count));
    writeRangeBody(tail, 0, NO_RECORDS, 0, false, more, cursor.count);
    this.chunks.unshift(head);
    this.chunks.push(tail);
    this.isActive = false;
    this.call.sendChunks(this.chunks, head.length + this.chunkBytes + tail.length);
    this.call.end();
    this.ranges.gathered();
  }
}

const NO_RECORDS: readonly Buffer[] = [];
const ErrTooLarge = new EtcdError(
  GrpcCode.ResourceExhausted,
  `grpc: trying to send message larger than max (${MESSAGE_BYTES_MAX})`,
);
