import { EMPTY, type Key } from '@etsd/base';
import type { RangeCursor, RangeOptions, RecordSink, Store } from '@etsd/mvcc';
import {
  ErrCompacted,
  ErrEmptyKey,
  ErrFutureRev,
  ErrInvalidSortOption,
  type EtcdError,
  RangeRequestView,
  rangeBodySize,
  SortOrder,
  SortTarget,
  singleRangeResponseSize,
  writeRangeBody,
  writeSingleRangeResponse,
} from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiWaiter, MemberContext } from '../context.ts';
import { failCall, failUnreadable, refusal } from './guards.ts';
import { LargeRange, type LargeRanges } from './large-range.ts';
import { planOf, type RangePlan } from './range-plan.ts';
import { SlicedSort } from './sliced-sort.ts';
import { checkSort } from './txn-rules.ts';

/** Keys that are looked at before a range counts as large. */
const FIRST_SLICE_KEYS = 1000;
/** Bytes of a range that is answered in one go though memory for answers is scarce. */
const SCARCE_BYTES = 16 * 1024;

/** Adds up what a range has. */
class Measure implements RecordSink {
  bytes = 0;

  record(record: Buffer): void {
    this.bytes += record.length;
  }
}

export function registerRange(context: MemberContext, large: LargeRanges): void {
  context.rpc.handle('/etcdserverpb.KV/Range', new RangeHandler(context, large));
}

/** A range asked for: its request, kept until it can be answered. Goes back to the handler's pool. */
export class RangeWaiter implements ApiWaiter, RangeOptions {
  call: ApiCall | null = null;
  key: Key = '';
  rangeEnd: Key = '';
  limit = 0;
  revision = 0;
  sortOrder = 0;
  sortTarget = 0;
  keysOnly = false;
  countOnly = false;
  minModRevision = 0;
  maxModRevision = 0;
  minCreateRevision = 0;
  maxCreateRevision = 0;
  private readonly handler: RangeHandler;

  constructor(handler: RangeHandler) {
    this.handler = handler;
  }

  take(view: RangeRequestView, bytes: Buffer): void {
    this.key = view.key(bytes);
    this.rangeEnd = view.rangeEnd(bytes);
    this.limit = view.limit;
    this.revision = view.revision;
    this.sortOrder = view.sortOrder;
    this.sortTarget = view.sortTarget;
    this.keysOnly = view.keysOnly;
    this.countOnly = view.countOnly;
    this.minModRevision = view.minModRevision;
    this.maxModRevision = view.maxModRevision;
    this.minCreateRevision = view.minCreateRevision;
    this.maxCreateRevision = view.maxCreateRevision;
  }

  get isFiltered(): boolean {
    return (
      this.minModRevision !== 0 ||
      this.maxModRevision !== 0 ||
      this.minCreateRevision !== 0 ||
      this.maxCreateRevision !== 0
    );
  }

  /** The barrier is passed: what is applied here now may be read. */
  done(): void {
    const call = this.call;
    if (call !== null) {
      call.context = null;
      if (call.notes !== null) call.notes.readable(this.key, this.rangeEnd);
      this.handler.serve(call, this);
    }
    this.handler.release(this);
  }

  fail(error: EtcdError): void {
    const call = this.call;
    if (call !== null) {
      call.context = null;
      failCall(call, error);
    }
    this.handler.release(this);
  }
}

class RangeHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;
  private readonly store: Store;
  private readonly large: LargeRanges;
  private readonly view = new RangeRequestView();
  private readonly free: RangeWaiter[] = [];
  private readonly one: Buffer[] = [EMPTY];
  private readonly measure = new Measure();

  constructor(context: MemberContext, large: LargeRanges) {
    this.context = context;
    this.store = context.store;
    this.large = large;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { context, view } = this;
    try {
      view.parse(bytes, start, end);
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    const refused = refusal(context, call, view.serializable);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    if (view.keyEnd === view.keyStart) {
      failCall(call, ErrEmptyKey);
      return;
    }
    if (view.sortOrder !== SortOrder.NONE || view.sortTarget !== SortTarget.KEY) {
      if (checkSort(view.sortOrder, view.sortTarget) !== null) {
        failCall(call, ErrInvalidSortOption);
        return;
      }
    }
    const waiter = this.free.pop() ?? new RangeWaiter(this);
    waiter.take(view, bytes);
    waiter.call = call;
    call.context = waiter;
    if (view.serializable) waiter.done();
    else context.replication.readBarrier(waiter);
  }

  closed(call: ApiCall): void {
    const context = call.context;
    if (context instanceof RangeWaiter) context.call = null;
    else if (context instanceof LargeRange) context.cancel();
  }

  drained(call: ApiCall): void {
    if (call.context instanceof LargeRange) call.context.drained();
  }

  release(waiter: RangeWaiter): void {
    waiter.call = null;
    waiter.key = waiter.rangeEnd = '';
    this.free.push(waiter);
  }

  /** Answers from the state as it is now. */
  serve(call: ApiCall, query: RangeWaiter): void {
    const { store } = this;
    const { access } = this.context;
    if (access.auth.enabled) {
      const refused = access.readError(call, query.key, query.rangeEnd);
      if (refused !== null) {
        failCall(call, refused);
        return;
      }
    }
    if (query.revision > store.revision) {
      failCall(call, ErrFutureRev);
      return;
    }
    if (query.revision > 0 && query.revision < store.compactRevision) {
      failCall(call, ErrCompacted);
      return;
    }
    if (query.rangeEnd === '' && !query.isFiltered) this.serveOne(call, query);
    else this.serveMany(call, query);
  }

  private serveOne(call: ApiCall, query: RangeWaiter): void {
    const { store } = this;
    const { header, replication } = this.context;
    const term = replication.term;
    const revision = store.revision;
    if (!store.lookup(query.key, Math.max(0, query.revision))) {
      this.answer(call, revision, NO_RECORDS, false, false, 0);
      return;
    }
    if (query.countOnly) {
      this.answer(call, revision, NO_RECORDS, false, false, 1);
      return;
    }
    const record = store.record(store.found.mainRevision, store.found.subRevision);
    if (record.length > SCARCE_BYTES && (call.isCongested || call.isShut) && !query.keysOnly) {
      this.serveMany(call, query);
      return;
    }
    if (query.keysOnly || record.length > this.context.limits.directResponseBytes) {
      this.one[0] = record;
      this.answer(call, revision, this.one, query.keysOnly, false, 1);
      return;
    }
    call.begin(singleRangeResponseSize(header, revision, term, record));
    const { buffer, offset } = call.target;
    writeSingleRangeResponse(buffer, offset, header, revision, term, record);
    call.commit();
    call.end();
  }

  /**
   * Begins with a slice. Most ranges are finished with it and are answered at once; the others go on as a `LargeRange`.
   */
  private serveMany(call: ApiCall, query: RangeWaiter): void {
    const { store, context } = this;
    const revision = store.revision;
    const plan = planOf(query);
    const cursor = store.openCursor(query.key, query.rangeEnd, plan.reading);
    if (cursor instanceof Error) {
      failCall(call, cursor);
      return;
    }
    const isScarce = call.isCongested || this.large.isScarce(plan);
    if (call.isShut || (isScarce && !this.isShortAnswer(cursor))) {
      this.startLarge(call, cursor, plan, revision);
      return;
    }
    if (!cursor.next(context.limits.directResponseBytes, FIRST_SLICE_KEYS)) {
      this.startLarge(call, cursor, plan, revision);
      return;
    }
    if (plan.sortTarget < 0) {
      this.answer(call, revision, cursor.records, query.keysOnly, cursor.more, cursor.count);
      return;
    }
    const sort = new SlicedSort(plan.sortTarget, plan.sortOrder);
    sort.add(cursor.records);
    sort.step(Number.POSITIVE_INFINITY);
    const cut = plan.limit > 0 && sort.records.length > plan.limit;
    const records = cut ? sort.records.slice(0, plan.limit) : sort.records;
    this.answer(call, revision, records, query.keysOnly, cut, cursor.count);
  }

  /** Whether the range is small enough to be answered in one go while memory is scarce; found out without any. */
  private isShortAnswer(cursor: RangeCursor): boolean {
    const { measure } = this;
    measure.bytes = 0;
    cursor.keep();
    const isWhole = cursor.next(SCARCE_BYTES, FIRST_SLICE_KEYS, measure);
    cursor.rewind();
    return isWhole && measure.bytes <= SCARCE_BYTES;
  }

  private startLarge(call: ApiCall, cursor: RangeCursor, plan: RangePlan, revision: number): void {
    const range = new LargeRange(call, this.large, cursor, plan, revision);
    call.context = range;
    this.large.start(range);
  }

  private answer(
    call: ApiCall,
    revision: number,
    records: readonly Buffer[],
    keysOnly: boolean,
    more: boolean,
    count: number,
  ): void {
    const { header, limits, replication } = this.context;
    const term = replication.term;
    const size = header.size(revision, term) + rangeBodySize(records, records.length, keysOnly, more, count);
    if (size <= limits.directResponseBytes * 2) {
      call.begin(size);
      const { buffer, offset } = call.target;
      const at = header.write(buffer, offset, revision, term);
      writeRangeBody(buffer, at, records, records.length, keysOnly, more, count);
      call.commit();
    } else {
      const message = Buffer.allocUnsafe(size);
      const at = header.write(message, 0, revision, term);
      writeRangeBody(message, at, records, records.length, keysOnly, more, count);
      call.send(message);
    }
    call.end();
  }
}

const NO_RECORDS: readonly Buffer[] = [];
