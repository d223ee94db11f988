/** `etcdserverpb.KV`: puts, deletions and compactions here; ranges and transactions in the files beside. */
import { U64_ZERO } from '@etsd/base';
import {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  deleteRangeBodySize,
  ErrEmptyKey,
  ErrLeaseProvided,
  ErrValueProvided,
  type EtcdError,
  PutRequestView,
  putResponseSize,
  RaftRequestField,
  ResponseHeader,
  writeDeleteRangeBody,
  writePutResponse,
} from '@etsd/proto';
import type { CompactResult, DeleteResult, PutResult } from '@etsd/state';
import type { ApiCall, ApiHandler, ApiWaiter, MemberContext } from '../context.ts';
import type { Quota } from '../quota.ts';
import { canonical, failCall, failUnreadable, proposeRequest, refusal } from './guards.ts';
import { registerRange } from './kv-range.ts';
import { registerRangeStream } from './kv-range-stream.ts';
import { registerTxn } from './kv-txn.ts';
import { LargeRanges } from './large-range.ts';
import type { SliceRunner } from './slice-runner.ts';
import { PUT_OVERHEAD_BYTES } from './txn-rules.ts';
import { registerUnary } from './unary.ts';

/** Who can say when a compaction has given its space back (the duty that does it in slices). */
export interface CompactionWatch {
  /** Calls back once everything below `revision` is purged, or at once where it is. */
  whenPurged(revision: number, done: () => void): void;
}

export interface KvParts {
  readonly context: MemberContext;
  readonly quota: Quota;
  readonly compactions: CompactionWatch;
  /** Gives long reads their slices; one for the whole member. */
  readonly runner: SliceRunner;
}

export function registerKv(parts: KvParts): void {
  const { context, runner } = parts;
  context.rpc.handle('/etcdserverpb.KV/Put', new PutHandler(parts));
  context.rpc.handle('/etcdserverpb.KV/DeleteRange', new DeleteRangeHandler(parts));
  registerRange(context, new LargeRanges(context, runner));
  registerRangeStream(context, runner);
  registerTxn(parts);
  registerCompact(parts);
}

// ── Put ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Waits for one put; goes back to the handler's pool when it is answered, whether or not the client still is there. */
class PutWaiter implements ApiWaiter {
  call: ApiCall | null = null;
  private readonly handler: PutHandler;

  constructor(handler: PutHandler) {
    this.handler = handler;
  }

  done(result: unknown): void {
    const call = this.release();
    if (call !== null) this.handler.answer(call, result as PutResult);
  }

  fail(error: EtcdError): void {
    const call = this.release();
    if (call !== null) failCall(call, error);
  }

  private release(): ApiCall | null {
    const call = this.call;
    this.call = null;
    this.handler.free.push(this);
    if (call !== null) call.context = null;
    return call;
  }
}

class PutHandler implements ApiHandler {
  readonly kind = 'unary';
  readonly free: PutWaiter[] = [];
  private readonly context: MemberContext;
  private readonly quota: Quota;
  private readonly view = new PutRequestView();

  constructor({ context, quota }: KvParts) {
    this.context = context;
    this.quota = quota;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { context, view } = this;
    const refused = refusal(context, call, false);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    try {
      view.parse(bytes, start, end);
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    const keyBytes = view.keyEnd - view.keyStart;
    const valueBytes = view.valueEnd - view.valueStart;
    const fits = this.quota.admits(PUT_OVERHEAD_BYTES + keyBytes + valueBytes);
    if (fits) {
      if (keyBytes === 0) {
        failCall(call, ErrEmptyKey);
        return;
      }
      if (view.ignoreValue && valueBytes !== 0) {
        failCall(call, ErrValueProvided);
        return;
      }
      if (view.ignoreLease && view.lease !== U64_ZERO) {
        failCall(call, ErrLeaseProvided);
        return;
      }
    }
    const waiter = this.free.pop() ?? new PutWaiter(this);
    waiter.call = call;
    call.context = waiter;
    const caller = context.access.callerOf(call);
    if (fits) call.entry = proposeRequest(context, RaftRequestField.Put, bytes, start, end, waiter, caller);
    else this.quota.raise(waiter);
  }

  closed(call: ApiCall): void {
    const waiter = call.context;
    if (waiter instanceof PutWaiter) waiter.call = null;
  }

  answer(call: ApiCall, result: PutResult): void {
    if (call.notes !== null) call.notes.answering();
    const { header, limits, replication } = this.context;
    const { revision, previous } = result;
    const term = replication.term;
    const size = putResponseSize(header, revision, term, previous);
    if (size <= limits.directResponseBytes) {
      call.begin(size);
      writePutResponse(call.target.buffer, call.target.offset, header, revision, term, previous);
      call.commit();
    } else {
      const message = Buffer.allocUnsafe(size);
      writePutResponse(message, 0, header, revision, term, previous);
      call.send(message);
    }
    call.end();
  }
}

// ── DeleteRange ─────────────────────────────────────────────────────────────────────────────────────────────────────

class DeleteWaiter implements ApiWaiter {
  call: ApiCall | null;
  private readonly context: MemberContext;

  constructor(call: ApiCall, context: MemberContext) {
    this.call = call;
    this.context = context;
  }

  done(result: unknown): void {
    const call = this.call;
    if (call === null) return;
    call.context = null;
    if (call.notes !== null) call.notes.answering();
    const { header, limits, replication } = this.context;
    const { revision, deleted, previous } = result as DeleteResult;
    const term = replication.term;
    const size = header.size(revision, term) + deleteRangeBodySize(deleted, previous);
    if (size <= limits.directResponseBytes) {
      call.begin(size);
      const { buffer, offset } = call.target;
      writeDeleteRangeBody(buffer, header.write(buffer, offset, revision, term), deleted, previous);
      call.commit();
    } else {
      const message = Buffer.allocUnsafe(size);
      writeDeleteRangeBody(message, header.write(message, 0, revision, term), deleted, previous);
      call.send(message);
    }
    call.end();
  }

  fail(error: EtcdError): void {
    const call = this.call;
    if (call === null) return;
    call.context = null;
    failCall(call, error);
  }
}

class DeleteRangeHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;

  constructor({ context }: KvParts) {
    this.context = context;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { context } = this;
    const refused = refusal(context, call, false);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    let request: DeleteRangeRequest;
    try {
      request = DeleteRangeRequest.decode(bytes, start, end);
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    if (request.key.length === 0) {
      failCall(call, ErrEmptyKey);
      return;
    }
    const waiter = new DeleteWaiter(call, context);
    call.context = waiter;
    const body = canonical(DeleteRangeRequest, request, start, end);
    const caller = context.access.callerOf(call);
    if (body === null) proposeRequest(context, RaftRequestField.DeleteRange, bytes, start, end, waiter, caller);
    else proposeRequest(context, RaftRequestField.DeleteRange, body, 0, body.length, waiter, caller);
  }

  closed(call: ApiCall): void {
    const waiter = call.context;
    if (waiter instanceof DeleteWaiter) waiter.call = null;
  }
}

// ── Compact ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function registerCompact({ context, compactions }: KvParts): void {
  registerUnary(context, {
    path: '/etcdserverpb.KV/Compact',
    decode: CompactionRequest.decode,
    run(request, reply) {
      const answer = (revision: number) => {
        const { clusterId, memberId, replication } = context;
        const header = ResponseHeader.create({ clusterId, memberId, revision, raftTerm: replication.term });
        reply.answer(CompactionResponse.encode(CompactionResponse.create({ header })));
      };
      const body = CompactionRequest.encode(request);
      const waiter: ApiWaiter = {
        done(result) {
          const { revision, compactRevision } = result as CompactResult;
          if (request.physical) compactions.whenPurged(compactRevision, () => answer(revision));
          else answer(revision);
        },
        fail: (error) => reply.fail(error),
      };
      proposeRequest(context, RaftRequestField.Compaction, body, 0, body.length, waiter, reply.caller);
    },
  });
}
