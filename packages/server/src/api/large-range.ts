import { EMPTY, RingQueue } from '@etsd/base';
import type { RangeCursor } from '@etsd/mvcc';
import { EtcdError, GrpcCode, rangeBodySize, writeRangeBody } from '@etsd/proto';
import type { ApiCall, MemberContext } from '../context.ts';
import { failCall } from './guards.ts';
import { ChunkPool, RangeChunks } from './range-chunks.ts';
import type { RangePlan } from './range-plan.ts';
import type { SlicedJob, SliceRunner } from './slice-runner.ts';
import { SlicedSort } from './sliced-sort.ts';

/** A slice: this many bytes of records, or this many keys looked at. Well under a millisecond each. */
const SLICE_BYTES = 64 * 1024;
const SLICE_KEYS = 250;
/** Sorting moves this many records in a slice. */
const SLICE_SORTED = 1000;
/** Ranges that are being gathered at a time. */
const ACTIVE_MAX = 4;
/** Bytes in the transport above which a range that is read as it is sent waits for its client. */
const SENT_AHEAD_BYTES = 256 * 1024;
/** The same of all ranges together: beyond it each waits until its client has taken everything. */
const SENT_AHEAD_BYTES_OF_ALL = 64 * 1024 * 1024;
/** A message can be no larger, whatever is configured; RangeStream has no such bound. */
const MESSAGE_BYTES_MAX = 2 ** 31 - 1;

/**
 * The large ranges of a member. The length of a unary answer comes before its first byte, so it is gathered first, a few
 * at a time. Where memory is short, because the answers are very large or their clients do not read them, a range only
 * adds up its length, and then is read once more, piece by piece as its client takes them. One that has to be sorted
 * cannot do that; it waits for memory before it begins, or until no other is being sorted. All keep the revision they
 * were asked at.
 */
export class LargeRanges {
  readonly context: MemberContext;
  readonly runner: SliceRunner;
  readonly pool = new ChunkPool();
  private readonly waiting = new RingQueue<LargeRange>();
  private readonly waitingToSort = new RingQueue<LargeRange>();
  private active = 0;
  /** Those of the active ones that will be sorted. */
  private sorting = 0;
  private heldBytes = 0;
  private aheadBytes = 0;

  constructor(context: MemberContext, runner: SliceRunner) {
    this.context = context;
    this.runner = runner;
  }

  start(range: LargeRange): void {
    if (range.awaitsWindow()) return;
    (range.isSorted ? this.waitingToSort : this.waiting).push(range);
    this.admit();
  }

  held(bytes: number): void {
    this.heldBytes += bytes;
  }

  /** A range that is read as it is sent has so many bytes more, or fewer, in the transport. */
  sentAhead(bytes: number): void {
    this.aheadBytes += bytes;
  }

  /** What a range may have in the transport before its client has taken some of it. */
  get aheadBytesMax(): number {
    return this.aheadBytes > SENT_AHEAD_BYTES_OF_ALL ? 0 : SENT_AHEAD_BYTES;
  }

  /** Whether what is held fills the memory set aside for it. */
  get isShort(): boolean {
    return this.heldBytes > this.context.limits.gatheredBytes;
  }

  /** Whether a range that is not short had better begin without holding anything. */
  isScarce(plan: RangePlan): boolean {
    return this.isShort || (plan.sortTarget >= 0 && this.waitingToSort.length > 0);
  }

  /** One at a time is sorted however short memory is: what fills it may be answers that nobody reads. */
  private get maySort(): boolean {
    return !this.isShort || this.sorting === 0;
  }

  /** A range is gathered, or given up. */
  gathered(range: LargeRange): void {
    this.active--;
    if (range.isSorted) this.sorting--;
    this.admit();
  }

  /** An answer left memory. */
  released(bytes: number): void {
    this.heldBytes -= bytes;
    this.admit();
  }

  private admit(): void {
    while (this.active < ACTIVE_MAX) {
      const range = this.waiting.take() ?? (this.maySort ? this.waitingToSort.take() : undefined);
      if (range === undefined) return;
      if (range.isOver) continue;
      this.active++;
      if (range.isSorted) this.sorting++;
      range.begin();
      this.runner.add(range);
    }
  }
}

/** One large range on its way: read in slices, sorted in slices where an order is asked for, then sent as one message. */
export class LargeRange implements SlicedJob {
  isOver = false;
  /** Counted among those being gathered. */
  private isActive = false;
  private readonly call: ApiCall;
  private readonly ranges: LargeRanges;
  private readonly cursor: RangeCursor;
  private readonly plan: RangePlan;
  /** The store's revision when it was asked. */
  private readonly revision: number;
  private readonly sort: SlicedSort | null;
  private readonly chunks: RangeChunks;
  /** Of the range's chunks and of the records it sorts, as told to `ranges`. */
  private heldBytes = 0;
  private sortedBytes = 0;
  /** In the transport, as told to `ranges`. */
  private aheadBytes = 0;
  private isRead = false;
  private isOrdered = false;
  /** Sorted records that are packed. */
  private packed = 0;
  /** Its records are added up and not kept, to be read again while they are sent. */
  private isMeasuredOnly = false;
  private isSending = false;
  /** Out of the runner until the client has taken what is queued, or not begun until it opens its window. */
  private isParked = false;
  private tail: Buffer = EMPTY;

  /** The cursor has read its first slice, which is not the last. */
  constructor(call: ApiCall, ranges: LargeRanges, cursor: RangeCursor, plan: RangePlan, revision: number) {
    this.call = call;
    this.ranges = ranges;
    this.cursor = cursor;
    this.plan = plan;
    this.revision = revision;
    this.sort = plan.sortTarget < 0 ? null : new SlicedSort(plan.sortTarget, plan.sortOrder);
    this.chunks = new RangeChunks(ranges.pool, plan.keysOnly);
    if (this.sort === null) {
      cursor.keep();
      if (ranges.isShort || call.isCongested) this.measureOnly();
      for (const record of cursor.records) this.chunks.record(record);
    }
    // One that is sorted begins anew in its turn: it may wait for memory, and then must not hold any.
    else cursor.keep();
    cursor.records = [];
    this.tellHeld();
  }

  /** Whether it has an order that takes all of its records at once to make. */
  get isSorted(): boolean {
    return this.sort !== null;
  }

  /** Whether the client's window is shut: then `drained` begins it later. */
  awaitsWindow(): boolean {
    if (!this.call.isShut) return false;
    this.isParked = true;
    this.call.awaitWindow();
    return true;
  }

  begin(): void {
    this.isActive = true;
    if (this.sort !== null) this.cursor.rewind();
  }

  private measureOnly(): void {
    this.isMeasuredOnly = true;
    this.chunks.measureOnly();
  }

  step(): boolean {
    if (this.isOver) return true;
    if (this.isSending) return this.sendSlice();
    if (!this.isRead) {
      this.isRead = this.readSlice();
      if (this.cursor.error !== null) return this.lost(this.cursor.error);
    } else if (this.sort !== null && !this.isOrdered) {
      this.isOrdered = this.sort.step(SLICE_SORTED);
    } else if (this.sort !== null && !this.packSorted(this.sort.records)) {
      return false;
    } else {
      return this.send();
    }
    if (this.chunks.totalBytes <= MESSAGE_BYTES_MAX) return false;
    failCall(this.call, ErrTooLarge);
    return true;
  }

  /** The client has taken what was queued. */
  drained(): void {
    this.tellAhead();
    if (!this.isParked || this.isOver) return;
    this.isParked = false;
    if (this.isSending) this.ranges.runner.add(this);
    else this.ranges.start(this);
  }

  /** The call is over: answered and read, or given up. */
  cancel(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.cursor.close();
    if (this.isActive) this.ranges.gathered(this);
    this.isActive = false;
    this.chunks.giveBack();
    this.ranges.sentAhead(-this.aheadBytes);
    this.aheadBytes = 0;
    this.ranges.released(this.heldBytes);
  }

  /** Tells all ranges what this one has read ahead of its client. */
  private tellAhead(): void {
    const bytes = this.isSending ? this.call.queuedBytes + this.chunks.unfinishedBytes : 0;
    this.ranges.sentAhead(bytes - this.aheadBytes);
    this.aheadBytes = bytes;
  }

  private readSlice(): boolean {
    const { chunks, cursor, ranges, sort } = this;
    const isLast = cursor.next(SLICE_BYTES, SLICE_KEYS, sort === null ? chunks : null);
    if (sort !== null) this.sortLater(sort, cursor.records);
    else if (!this.isMeasuredOnly && ranges.isShort) {
      this.measureOnly();
    }
    this.tellHeld();
    return isLast;
  }

  private sortLater(sort: SlicedSort, records: readonly Buffer[]): void {
    sort.add(records);
    for (const record of records) this.sortedBytes += record.length;
  }

  private packSorted(records: readonly Buffer[]): boolean {
    const wanted = this.plan.limit > 0 ? Math.min(this.plan.limit, records.length) : records.length;
    const end = Math.min(this.packed + SLICE_KEYS, wanted);
    for (; this.packed < end; this.packed++) this.chunks.record(records[this.packed] as Buffer);
    this.tellHeld();
    return end === wanted;
  }

  /** Tells all ranges what this one holds by now. */
  private tellHeld(): void {
    const held = this.chunks.heldBytes + this.sortedBytes;
    if (held > this.heldBytes) this.ranges.held(held - this.heldBytes);
    else if (held < this.heldBytes) this.ranges.released(this.heldBytes - held);
    this.heldBytes = held;
  }

  /** The length is known: sends everything, or begins to. Returns whether nothing is left to do. */
  private send(): boolean {
    const { header, replication } = this.ranges.context;
    const { call, sort, plan, cursor } = this;
    const more = sort === null ? cursor.more : plan.limit > 0 && sort.records.length > plan.limit;
    const term = replication.term;
    const head = Buffer.allocUnsafe(header.size(this.revision, term));
    header.write(head, 0, this.revision, term);
    const tail = Buffer.allocUnsafe(rangeBodySize(NO_RECORDS, 0, false, more, cursor.count));
    writeRangeBody(tail, 0, NO_RECORDS, 0, false, more, cursor.count);
    const totalBytes = head.length + this.chunks.totalBytes + tail.length;
    this.isActive = false;
    if (this.isMeasuredOnly) {
      this.isSending = call.beginParts(totalBytes);
      if (this.isSending) {
        cursor.rewind();
        this.chunks.writeAgain();
        call.sendPart(head);
        this.tail = tail;
      }
    } else {
      cursor.close();
      call.sendChunks([head, ...this.chunks.take(true), tail], totalBytes);
      call.end();
    }
    this.ranges.gathered(this);
    return !this.isSending;
  }

  private lost(error: EtcdError): true {
    failCall(this.call, error);
    return true;
  }

  /** Reads the next piece again and sends it, unless the client has not taken those before it. */
  private sendSlice(): boolean {
    const { call, chunks, cursor } = this;
    this.tellAhead();
    if (call.queuedBytes > this.ranges.aheadBytesMax) {
      this.isParked = true;
      return true;
    }
    chunks.taken(call.queuedBytes);
    const isLast = cursor.next(SLICE_BYTES, SLICE_KEYS, chunks);
    if (cursor.error !== null) return this.lost(cursor.error);
    for (const bytes of chunks.take(isLast)) call.sendPart(bytes);
    this.tellAhead();
    if (!isLast) return false;
    call.sendPart(this.tail);
    call.end();
    return true;
  }
}

const NO_RECORDS: readonly Buffer[] = [];
const ErrTooLarge = new EtcdError(
  GrpcCode.ResourceExhausted,
  `grpc: trying to send message larger than max (${MESSAGE_BYTES_MAX})`,
);
