/**
 * `LeaseKeepAlive`: a stream of renewals, answered in their order. Many may be under way at once, which is what lets one
 * question to the cluster settle all renewals of a turn.
 */
import { RingQueue, type U64, U64_ZERO } from '@etsd/base';
import {
  ErrRequestTooManyRequests,
  type EtcdError,
  GrpcCode,
  type HeaderTemplate,
  LeaseKeepAliveRequest,
  u64Size,
  varintSize,
  writeU64,
  writeVarint,
} from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiReplication } from '../context.ts';
import type { RenewWaiter } from '../duties/lease-expiry.ts';
import type { LeaderGuard } from './leader-guard.ts';
import type { LeaseRouter } from './lease-router.ts';

/** Renewals of one stream that may wait at a time; one more ends the stream. */
const WAITING_MAX = 100_000;
/** Answers a client may leave unread, in bytes; more end the stream. */
const UNREAD_MAX_BYTES = 1024 * 1024;

export interface KeepAliveParts {
  readonly router: LeaseRouter;
  readonly guard: LeaderGuard;
  readonly header: HeaderTemplate;
  readonly store: { readonly revision: number };
  readonly replication: Pick<ApiReplication, 'term'>;
  /** Why this member does not take the call at all, or null. */
  readonly refusal: (call: ApiCall) => EtcdError | null;
  /** Why the caller may not renew this lease, or null. */
  readonly access: (call: ApiCall, id: U64) => EtcdError | null;
}

export class KeepAliveHandler implements ApiHandler {
  readonly kind = 'stream';
  private readonly parts: KeepAliveParts;

  constructor(parts: KeepAliveParts) {
    this.parts = parts;
  }

  opened(call: ApiCall): void {
    const refused = this.parts.refusal(call);
    if (refused !== null) call.fail(refused.code, refused.message);
    else if (this.parts.guard.admit(call)) call.context = new KeepAliveCall(this.parts, call);
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    if (call.context === null || !call.isOpen) return;
    let id: U64;
    try {
      id = LeaseKeepAliveRequest.decode(bytes, start, end).ID;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      call.fail(GrpcCode.Internal, `grpc: failed to unmarshal the received message: ${reason}`);
      return;
    }
    const refused = this.parts.access(call, id);
    if (refused === null) (call.context as KeepAliveCall).renew(id);
    else call.fail(refused.code, refused.message);
  }

  halfClosed(call: ApiCall): void {
    (call.context as KeepAliveCall | null)?.halfClosed();
  }

  closed(call: ApiCall): void {
    this.parts.guard.forget(call);
    call.context = null;
  }
}

/** One client's stream. */
class KeepAliveCall {
  private readonly parts: KeepAliveParts;
  private readonly call: ApiCall;
  /** Renewals in the order they came, answered or not. */
  private readonly waiting = new RingQueue<Renewal>();
  private noMore = false;

  constructor(parts: KeepAliveParts, call: ApiCall) {
    this.parts = parts;
    this.call = call;
  }

  renew(id: U64): void {
    if (this.waiting.length >= WAITING_MAX || this.call.queuedBytes > UNREAD_MAX_BYTES) {
      this.call.fail(ErrRequestTooManyRequests.code, ErrRequestTooManyRequests.message);
      return;
    }
    const renewal = new Renewal(this, id);
    this.waiting.push(renewal);
    this.parts.router.renew(id, renewal);
  }

  halfClosed(): void {
    this.noMore = true;
    this.answerReady();
  }

  /** Answers what is known, up to the first renewal that is not. */
  answerReady(): void {
    const { call, waiting } = this;
    if (!call.isOpen) return;
    for (let first = waiting.peek(); first !== undefined && first.ttl >= 0; first = waiting.peek()) {
      waiting.take();
      this.answer(first.id, first.ttl);
    }
    if (this.noMore && waiting.length === 0) call.end();
  }

  fail(error: EtcdError): void {
    if (this.call.isOpen) this.call.fail(error.code, error.message);
  }

  private answer(id: U64, ttl: number): void {
    const { header, replication, store } = this.parts;
    const call = this.call;
    const { term } = replication;
    const { revision } = store;
    let size = header.size(revision, term);
    if (id !== U64_ZERO) size += 1 + u64Size(id);
    if (ttl !== 0) size += 1 + varintSize(ttl);
    call.begin(size);
    const { buffer, offset } = call.target;
    let at = header.write(buffer, offset, revision, term);
    if (id !== U64_ZERO) {
      buffer[at++] = 0x10;
      at = writeU64(buffer, at, id);
    }
    if (ttl !== 0) {
      buffer[at++] = 0x18;
      writeVarint(buffer, at, ttl);
    }
    call.commit();
  }
}

class Renewal implements RenewWaiter {
  readonly id: U64;
  /** −1 until known. */
  ttl = -1;
  private readonly owner: KeepAliveCall;

  constructor(owner: KeepAliveCall, id: U64) {
    this.owner = owner;
    this.id = id;
  }

  renewed(ttl: number): void {
    this.ttl = ttl;
    this.owner.answerReady();
  }

  failed(error: EtcdError): void {
    this.owner.fail(error);
  }
}
