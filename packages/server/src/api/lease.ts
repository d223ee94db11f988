/** `etcdserverpb.Lease`: grants and revokes through the log, renewals and questions by the leader. */
import { keyFromBytes, type U64, U64_ZERO, u64FromHalves } from '@etsd/base';
import {
  type EtcdError,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseLeasesRequest,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  RaftRequestField,
  ResponseHeader,
} from '@etsd/proto';
import type { LeaseResult, Lessor } from '@etsd/state';
import type { ApiWaiter, MemberContext } from '../context.ts';
import type { LeaseExpiry } from '../duties/lease-expiry.ts';
import { LEASE_COST_BYTES, type Quota } from '../quota.ts';
import { proposeRequest, refusal } from './guards.ts';
import type { LeaderGuard } from './leader-guard.ts';
import { KeepAliveHandler } from './lease-keep-alive.ts';
import { LeaseList } from './lease-list.ts';
import { type LeaseForwarder, LeaseRouter } from './lease-router.ts';
import { type Reply, registerUnary } from './unary.ts';

export interface LeaseParts {
  readonly context: MemberContext;
  readonly quota: Quota;
  readonly lessor: Lessor;
  readonly expiry: LeaseExpiry;
  readonly guard: LeaderGuard;
  /** Null for a member that has no peers. */
  readonly forwarder: LeaseForwarder | null;
}

export function registerLease(parts: LeaseParts): LeaseRouter {
  const { context, expiry, forwarder, guard, lessor } = parts;
  const { header, replication, rpc, store, world } = context;
  const requestTimeoutMs = context.limits.requestTimeoutMs;
  const router = new LeaseRouter({ world, replication, lessor, expiry, requestTimeoutMs, forwarder });
  registerGrant(parts);
  registerRevoke(context);
  registerTimeToLive(context, router);
  registerLeases(parts);
  rpc.handle(
    '/etcdserverpb.Lease/LeaseKeepAlive',
    new KeepAliveHandler({
      router,
      guard,
      header,
      store,
      replication,
      refusal: (call) => refusal(context, call, false),
      access: (call, id) => context.access.leaseWriteError(call, id),
    }),
  );
  return router;
}

function headerOf(context: MemberContext, revision: number): ResponseHeader {
  const { clusterId, memberId, replication } = context;
  return ResponseHeader.create({ clusterId, memberId, revision, raftTerm: replication.term });
}

function registerGrant({ context, quota }: LeaseParts): void {
  registerUnary(context, {
    path: '/etcdserverpb.Lease/LeaseGrant',
    decode: LeaseGrantRequest.decode,
    run(request, reply) {
      const waiter = {
        done(result: unknown): void {
          const { id, revision, ttl } = result as LeaseResult;
          const response = LeaseGrantResponse.create({ header: headerOf(context, revision), ID: id, TTL: ttl });
          reply.answer(LeaseGrantResponse.encode(response));
        },
        fail: (error: EtcdError): void => reply.fail(error),
      };
      if (!quota.admits(LEASE_COST_BYTES)) {
        quota.raise(waiter);
        return;
      }
      if (request.ID === U64_ZERO) {
        const { high, low } = context.replication.nextRequestId();
        // Ids that are chosen here are positive.
        request.ID = u64FromHalves(high & 0x7fff_ffff, low);
      }
      const body = LeaseGrantRequest.encode(request);
      proposeRequest(context, RaftRequestField.LeaseGrant, body, 0, body.length, waiter, reply.caller);
    },
  });
}

function registerRevoke(context: MemberContext): void {
  registerUnary(context, {
    path: '/etcdserverpb.Lease/LeaseRevoke',
    decode: LeaseRevokeRequest.decode,
    run(request, reply) {
      const body = LeaseRevokeRequest.encode(request);
      const waiter: ApiWaiter = {
        done(result) {
          const header = headerOf(context, (result as LeaseResult).revision);
          reply.answer(LeaseRevokeResponse.encode(LeaseRevokeResponse.create({ header })));
        },
        fail: (error) => reply.fail(error),
      };
      const refused = context.access.userError(reply.origin);
      if (refused !== null) reply.fail(refused);
      // Whether the keys attached may be deleted is judged when the entry is applied.
      else proposeRequest(context, RaftRequestField.LeaseRevoke, body, 0, body.length, waiter, reply.caller);
    },
  });
}

function registerTimeToLive(context: MemberContext, router: LeaseRouter): void {
  registerUnary(context, {
    path: '/etcdserverpb.Lease/LeaseTimeToLive',
    decode: LeaseTimeToLiveRequest.decode,
    run(request, reply) {
      const refused = context.access.userError(reply.origin);
      if (refused !== null) {
        reply.fail(refused);
        return;
      }
      router.timeToLive(request, {
        known(answer) {
          // Judged by the keys of now, which this member knows unless it lags; those of the answer come on top.
          const refused = request.keys ? shownKeysError(context, reply, request.ID, answer) : null;
          if (refused !== null) {
            reply.fail(refused);
            return;
          }
          const response = answer ?? LeaseTimeToLiveResponse.create({ ID: request.ID, TTL: -1 });
          response.header = headerOf(context, context.store.revision);
          reply.answer(LeaseTimeToLiveResponse.encode(response));
        },
        failed: (error) => reply.fail(error),
      });
    },
  });
}

/** Why the keys of a lease may not be shown, or null. */
function shownKeysError(
  { access }: MemberContext,
  { origin }: Reply,
  id: U64,
  answer: LeaseTimeToLiveResponse | null,
): EtcdError | null {
  const error = access.leaseReadError(origin, id);
  if (error !== null || answer === null) return error;
  for (const key of answer.keys) {
    const refused = access.readError(origin, keyFromBytes(key), '');
    if (refused !== null) return refused;
  }
  return null;
}

function registerLeases({ context, expiry, lessor }: LeaseParts): void {
  registerUnary(context, {
    path: '/etcdserverpb.Lease/LeaseLeases',
    decode: LeaseLeasesRequest.decode,
    run(_request, reply) {
      const refused = context.access.leasesReadError(reply.origin);
      if (refused !== null) {
        reply.fail(refused);
        return;
      }
      const leases = lessor.leases.values();
      const order = expiry.orderOf;
      new LeaseList(context.world, leases, order, (chunks, bytes) =>
        answerLeases(context, reply, chunks, bytes),
      ).step();
    },
  });
}

function answerLeases(context: MemberContext, reply: Reply, chunks: Buffer[], bytes: number): void {
  const { header, replication, store } = context;
  const size = header.size(store.revision, replication.term);
  const head = Buffer.allocUnsafe(size);
  header.write(head, 0, store.revision, replication.term);
  reply.answer(Buffer.concat([head, ...chunks], size + bytes));
}
