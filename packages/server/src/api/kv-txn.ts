import { EtcdError, GrpcCode, RaftRequestField, TxnRequest } from '@etsd/proto';
import type { TxnResult } from '@etsd/state';
import type { ApiCall, ApiHandler, ApiWaiter, MemberContext } from '../context.ts';
import type { Quota } from '../quota.ts';
import { canonical, failCall, failUnreadable, proposeRequest, refusal } from './guards.ts';
import { txnResponseSize, writeTxnResponse } from './txn-response.ts';
import { checkTxn, isReadOnly, isSerializable, txnCost } from './txn-rules.ts';

const ErrAnswerTooLarge = new EtcdError(GrpcCode.ResourceExhausted, 'etsd: the answer of the transaction is too large');

export function registerTxn({ context, quota }: { context: MemberContext; quota: Quota }): void {
  context.rpc.handle('/etcdserverpb.KV/Txn', new TxnHandler(context, quota));
}

/** One transaction in the log, or waiting for the barrier where it only reads. */
class TxnWaiter implements ApiWaiter {
  call: ApiCall | null;
  /** Of a transaction that only reads; null for one in the log. */
  request: TxnRequest | null;
  private readonly context: MemberContext;

  constructor(call: ApiCall, request: TxnRequest | null, context: MemberContext) {
    this.call = call;
    this.request = request;
    this.context = context;
  }

  done(result: unknown): void {
    const call = this.call;
    if (call === null) return;
    call.context = null;
    if (this.request === null) answerTxn(this.context, call, result as TxnResult);
    else answerRead(this.context, call, this.request);
  }

  fail(error: EtcdError): void {
    const call = this.call;
    if (call === null) return;
    call.context = null;
    failCall(call, error);
  }
}

class TxnHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;
  private readonly quota: Quota;

  constructor(context: MemberContext, quota: Quota) {
    this.context = context;
    this.quota = quota;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { context, quota } = this;
    const refused = refusal(context, call, false);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    let request: TxnRequest;
    try {
      request = TxnRequest.decode(bytes, start, end);
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    if (!quota.admits(txnCost(request))) {
      const waiter = new TxnWaiter(call, null, context);
      call.context = waiter;
      quota.raise(waiter);
      return;
    }
    const error = checkTxn(request, context.limits.maxTxnOps);
    if (error !== null) {
      failCall(call, error);
      return;
    }
    if (!isReadOnly(request)) {
      const waiter = new TxnWaiter(call, null, context);
      call.context = waiter;
      const body = canonical(TxnRequest, request, start, end);
      const caller = context.access.callerOf(call);
      if (body === null) proposeRequest(context, RaftRequestField.Txn, bytes, start, end, waiter, caller);
      else proposeRequest(context, RaftRequestField.Txn, body, 0, body.length, waiter, caller);
      return;
    }
    if (isSerializable(request)) {
      answerRead(context, call, request);
      return;
    }
    const waiter = new TxnWaiter(call, request, context);
    call.context = waiter;
    context.replication.readBarrier(waiter);
    // Decoded again from a copy where it has to wait: what was decoded points into bytes that are gone after this call.
    if (call.context === waiter) waiter.request = TxnRequest.decode(Buffer.from(bytes.subarray(start, end)));
  }

  closed(call: ApiCall): void {
    const waiter = call.context;
    if (waiter instanceof TxnWaiter) waiter.call = null;
  }
}

function answerRead(context: MemberContext, call: ApiCall, request: TxnRequest): void {
  // Now that what is read is up to date, and with it the rights.
  const caller = context.access.callerOf(call);
  const refused = caller instanceof EtcdError ? caller : context.state.guard.txnError(request, caller);
  if (refused !== null) {
    failCall(call, refused);
    return;
  }
  const result = context.state.txn.read(request);
  if (result instanceof Error) failCall(call, result);
  else answerTxn(context, call, result);
}

function answerTxn(context: MemberContext, call: ApiCall, result: TxnResult): void {
  if (call.notes !== null) call.notes.answering();
  if (result.isTooLarge) {
    failCall(call, ErrAnswerTooLarge);
    return;
  }
  const { header, limits, replication } = context;
  const term = replication.term;
  const size = txnResponseSize(result, header, term);
  if (size <= limits.directResponseBytes) {
    call.begin(size);
    writeTxnResponse(call.target.buffer, call.target.offset, result, header, term);
    call.commit();
  } else {
    const message = Buffer.allocUnsafe(size);
    writeTxnResponse(message, 0, result, header, term);
    call.send(message);
  }
  call.end();
}
