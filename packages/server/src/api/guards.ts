/** What every request passes before its own rules, and the words for a request that can not be read. */
import { U64_ZERO } from '@etsd/base';
import {
  ErrNoLeader,
  ErrNoSpace,
  ErrNotSupportedForLearner,
  ErrRequestTooLarge,
  EtcdError,
  GrpcCode,
  ProtoError,
  RaftRequestField,
  writeRaftRequest,
} from '@etsd/proto';
import type { ApiCall, ApiWaiter, MemberContext } from '../context.ts';
import { STORE_BACKLOG_BYTES_MAX } from '../limits.ts';
import type { Caller } from '../tokens.ts';

/** Ends the call with an error of the catalogue. */
export function failCall(call: ApiCall, error: EtcdError): void {
  call.fail(error.code, error.message);
}

/** Ends the call over what decoding threw; anything but a malformed message is a bug of ours and goes on up. */
export function failUnreadable(call: ApiCall, error: unknown): void {
  if (!(error instanceof ProtoError)) throw error;
  call.fail(GrpcCode.Internal, `grpc: error unmarshalling request: proto: ${error.message}`);
}

/**
 * Why this member does not take the call at all, or null: its data differs from that of the others, or the call asked for
 * a member with a leader and there is none (looked for only where there is none, so it costs nothing), or this member only
 * learns.
 */
export function refusal(context: MemberContext, call: ApiCall, learnerServes: boolean): EtcdError | null {
  return context.quarantine.refusal ?? operatorRefusal(context, call, learnerServes);
}

/** The same for what operators look at and do, which a member in quarantine answers too. */
export function operatorRefusal(context: MemberContext, call: ApiCall, learnerServes: boolean): EtcdError | null {
  if (context.replication.leader === U64_ZERO && call.header('hasleader') === 'true') return ErrNoLeader;
  if (!learnerServes && context.state.members.isLearner(context.memberId)) return ErrNotSupportedForLearner;
  return null;
}

/**
 * Puts a request into the log as it came from the client, in the name of its caller; what the caller may do is judged
 * now and again when the entry is applied. A caller that could not be told fails the request.
 */
export function proposeRequest(
  context: MemberContext,
  field: number,
  body: Buffer,
  start: number,
  end: number,
  waiter: ApiWaiter,
  caller: Caller | EtcdError,
): Buffer | null {
  if (caller instanceof EtcdError) {
    waiter.fail(caller);
    return null;
  }
  if (context.access.auth.enabled && context.state.deniedError(field, body, start, end, caller) !== null) {
    // This member may lag behind a right just given: what it has not applied yet may allow it.
    const kept = Buffer.from(body.subarray(start, end));
    context.replication.readBarrier({
      done() {
        const error = context.state.deniedError(field, kept, 0, kept.length, caller);
        if (error === null) propose(context, field, kept, 0, kept.length, waiter, caller);
        else waiter.fail(error);
      },
      fail: (error) => waiter.fail(error),
    });
    return null;
  }
  return propose(context, field, body, start, end, waiter, caller);
}

function propose(
  context: MemberContext,
  field: number,
  body: Buffer,
  start: number,
  end: number,
  waiter: ApiWaiter,
  caller: Caller,
): Buffer | null {
  const { backend } = context;
  if (backend.isOutOfSpace && backend.pendingBytes > STORE_BACKLOG_BYTES_MAX && field !== RaftRequestField.Alarm) {
    waiter.fail(ErrNoSpace);
    return null;
  }
  const id = context.replication.nextRequestId();
  let data = writeRaftRequest(field, body, start, end, id.high, id.low, caller.username, caller.authRevision);
  if (context.tracer !== null) data = context.tracer.marked(data, context.limits.maxRequestBytes);
  if (data.length > context.limits.maxRequestBytes) waiter.fail(ErrRequestTooLarge);
  else context.replication.propose(data, waiter);
  return data;
}

/**
 * The bytes of a request as its class writes them, where the client wrote them otherwise, and else null. Only that form
 * may enter the log: to etcd's members a `range_end` that is there but empty means everything from the key on, one that
 * is left out means the key alone. (A longer form of the same length does not exist: leaving a default out is what makes
 * it short.)
 */
export function canonical<T>(type: MessageClass<T>, message: T, start: number, end: number): Buffer | null {
  return type.size(message) === end - start ? null : type.encode(message);
}

interface MessageClass<T> {
  size(message: T): number;
  encode(message: T): Buffer;
}
