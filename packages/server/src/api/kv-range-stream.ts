import { EMPTY, type Key, keyFromBytes, successor } from '@etsd/base';
import type { RangeCursor } from '@etsd/mvcc';
import {
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrRangeStreamFilter,
  ErrRangeStreamSort,
  type EtcdError,
  KeyValueView,
  lengthDelimitedSize,
  RangeRequest,
  rangeBodySize,
  SortOrder,
  SortTarget,
  writeRangeBody,
  writeVarint,
} from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiWaiter, MemberContext } from '../context.ts';
import { failCall, failUnreadable, refusal } from './guards.ts';
import type { SlicedJob, SliceRunner } from './slice-runner.ts';
import { checkSort } from './txn-rules.ts';

const lastView = new KeyValueView();

/** One message of the stream: this many bytes of records, or this many keys looked at. */
const MESSAGE_BYTES = 256 * 1024;
const MESSAGE_KEYS = 1000;

export function registerRangeStream(context: MemberContext, runner: SliceRunner): void {
  context.rpc.handle('/etcdserverpb.KV/RangeStream', new RangeStreamHandler(context, runner));
}

/**
 * A range as a stream of pieces, all of one revision. Memory is bounded whatever the size: the next piece is read when
 * the client has taken the ones before. Header, count and `more` stand in the last piece.
 */
class RangeStreamHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;
  private readonly runner: SliceRunner;

  constructor(context: MemberContext, runner: SliceRunner) {
    this.context = context;
    this.runner = runner;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    let request: RangeRequest;
    try {
      request = RangeRequest.decode(Buffer.from(bytes.subarray(start, end)));
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    const refused = refusal(this.context, call, request.serializable) ?? check(request);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    const stream = new RangeStream(call, request, this.context, this.runner);
    call.context = stream;
    if (request.serializable) stream.done();
    else this.context.replication.readBarrier(stream);
  }

  closed(call: ApiCall): void {
    if (call.context instanceof RangeStream) call.context.cancel();
  }

  drained(call: ApiCall): void {
    if (call.context instanceof RangeStream) call.context.drained();
  }
}

function check(request: RangeRequest): EtcdError | null {
  if (request.key.length === 0) return ErrEmptyKey;
  if (checkSort(request.sortOrder, request.sortTarget) !== null) return ErrInvalidSortOption;
  if (request.sortTarget !== SortTarget.KEY || request.sortOrder === SortOrder.DESCEND) return ErrRangeStreamSort;
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const filtered = minModRevision + maxModRevision + minCreateRevision + maxCreateRevision !== 0;
  return filtered ? ErrRangeStreamFilter : null;
}

/**
 * One stream. While its client does not read it keeps no cursor, only its place: it must not hold back a compaction. If
 * its revision is compacted meanwhile, it ends with that error, as the next page of a client that reads pages would.
 */
class RangeStream implements ApiWaiter, SlicedJob {
  private readonly call: ApiCall;
  private readonly request: RangeRequest;
  private readonly context: MemberContext;
  private readonly runner: SliceRunner;
  private cursor: RangeCursor | null = null;
  /** Revision that is read, and that of the store when it was asked. */
  private readRevision = 0;
  private revision = 0;
  /** Keys in the range where that was known at the start, else -1. */
  private countKnown = -1;
  /** Where to go on after a pause. */
  private from: Key = '';
  private sent = 0;
  /** What was sent before the cursor was opened. */
  private sentBefore = 0;
  private isOver = false;
  /** Out of the runner until the client has taken what is queued. */
  private isParked = false;

  constructor(call: ApiCall, request: RangeRequest, context: MemberContext, runner: SliceRunner) {
    this.call = call;
    this.request = request;
    this.context = context;
    this.runner = runner;
  }

  /** The barrier is passed. */
  done(): void {
    if (this.isOver) return;
    const { access, store } = this.context;
    const { key, rangeEnd } = this.request;
    const refused = access.readError(this.call, keyFromBytes(key), keyFromBytes(rangeEnd));
    if (refused !== null) {
      failCall(this.call, refused);
      return;
    }
    this.revision = store.revision;
    this.readRevision = this.request.revision > 0 ? this.request.revision : store.revision;
    this.from = keyFromBytes(this.request.key);
    if (!this.open()) return;
    if (this.readRevision === store.revision) this.countKnown = this.cursor?.count ?? 0;
    if (!this.step()) this.runner.add(this);
  }

  fail(error: EtcdError): void {
    if (!this.isOver) failCall(this.call, error);
  }

  step(): boolean {
    const { call, cursor } = this;
    if (this.isOver || cursor === null) return true;
    if (call.queuedBytes > this.context.limits.responseWindowBytes) {
      this.park();
      return true;
    }
    const finished = cursor.next(MESSAGE_BYTES, MESSAGE_KEYS);
    if (cursor.error !== null) {
      failCall(call, cursor.error);
      return true;
    }
    const records = cursor.records;
    this.sent += records.length;
    if (finished) {
      const { limit } = this.request;
      const count = this.countKnown >= 0 ? this.countKnown : this.sentBefore + cursor.count;
      const more = !this.request.countOnly && limit > 0 && count > limit;
      call.send(this.message(records, more, count, true));
      call.end();
    } else if (records.length > 0) {
      this.remember(records[records.length - 1] as Buffer);
      call.send(this.message(records, false, 0, false));
    }
    return finished;
  }

  drained(): void {
    if (!this.isParked) return;
    this.isParked = false;
    if (this.open()) this.runner.add(this);
  }

  cancel(): void {
    this.isOver = true;
    this.cursor?.close();
    this.cursor = null;
  }

  private park(): void {
    this.isParked = true;
    this.cursor?.close();
    this.cursor = null;
  }

  private remember(last: Buffer): void {
    lastView.parse(last, 0, last.length);
    this.from = successor(lastView.key(last));
  }

  /** Opens a cursor where the stream stands; false where that is no longer possible, and the call has been failed. */
  private open(): boolean {
    const { limit, countOnly } = this.request;
    const left = limit > 0 ? limit - this.sent : 0;
    const query = RangeRequest.create({
      revision: this.readRevision,
      limit: left,
      countOnly: countOnly || (limit > 0 && left === 0),
    });
    const isOneKey = this.request.rangeEnd.length === 0;
    // Behind a single key there is nothing more to read.
    const rangeEnd = isOneKey && this.sent > 0 ? this.from : keyFromBytes(this.request.rangeEnd);
    const cursor = this.context.store.openCursor(this.from, rangeEnd, query);
    if (cursor instanceof Error) {
      failCall(this.call, cursor);
      return false;
    }
    this.cursor = cursor;
    this.sentBefore = this.sent;
    return true;
  }

  private message(records: readonly Buffer[], more: boolean, count: number, withHeader: boolean): Buffer {
    const { header, replication } = this.context;
    const { keysOnly } = this.request;
    const term = replication.term;
    const headerSize = withHeader ? header.size(this.revision, term) : 0;
    const size = headerSize + rangeBodySize(records, records.length, keysOnly, more, count);
    if (size === 0) return EMPTY;
    const message = Buffer.allocUnsafe(1 + lengthDelimitedSize(size));
    message[0] = 0x0a;
    let at = writeVarint(message, 1, size);
    if (withHeader) at = header.write(message, at, this.revision, term);
    writeRangeBody(message, at, records, records.length, keysOnly, more, count);
    return message;
  }
}
