import { EMPTY, type Key, keyFromBytes } from '@etsd/base';
import type { RangeCursor } from '@etsd/mvcc';
import {
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrRangeStreamFilter,
  ErrRangeStreamSort,
  type EtcdError,
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

class RangeStream implements ApiWaiter, SlicedJob {
  private readonly call: ApiCall;
  private readonly request: RangeRequest;
  private readonly context: MemberContext;
  private readonly runner: SliceRunner;
  private cursor: RangeCursor | null = null;
  private revision = 0;
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
    const { store } = this.context;
    const key: Key = keyFromBytes(this.request.key);
    const cursor = store.openCursor(key, keyFromBytes(this.request.rangeEnd), this.request);
    if (cursor instanceof Error) {
      failCall(this.call, cursor);
      return;
    }
    this.cursor = cursor;
    this.revision = store.revision;
    if (!this.step()) this.runner.add(this);
  }

  fail(error: EtcdError): void {
    if (!this.isOver) failCall(this.call, error);
  }

  step(): boolean {
    const { call, cursor } = this;
    if (this.isOver || cursor === null) return true;
    if (call.queuedBytes > this.context.limits.responseWindowBytes) {
      this.isParked = true;
      return true;
    }
    const finished = cursor.next(MESSAGE_BYTES, MESSAGE_KEYS);
    if (finished) {
      call.send(this.message(cursor.records, cursor.more, cursor.count, true));
      call.end();
    } else if (cursor.records.length > 0) {
      call.send(this.message(cursor.records, false, 0, false));
    }
    return finished;
  }

  drained(): void {
    if (!this.isParked) return;
    this.isParked = false;
    this.runner.add(this);
  }

  cancel(): void {
    this.isOver = true;
    this.cursor?.close();
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
