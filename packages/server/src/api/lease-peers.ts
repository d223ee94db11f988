/**
 * What members ask each other about leases, over the peers' HTTP as etcd has it: a member that does not lead sends
 * renewals and questions about time to live to the one that does. Both ends are here; carrying the bytes is left to
 * whoever owns the connections.
 */
import { type U64, U64_ZERO } from '@etsd/base';
import {
  type EtcdError,
  LeaseInternalRequest,
  LeaseInternalResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  type LeaseTimeToLiveRequest,
  type LeaseTimeToLiveResponse,
  ProtoError,
  ResponseHeader,
} from '@etsd/proto';
import type { LeaseForwarder, LeaseRouter } from './lease-router.ts';

export const LEASES_PATH = '/leases';
export const LEASES_INTERNAL_PATH = '/leases/internal';

const PROTOBUF = 'application/protobuf';
const TEXT = 'text/plain; charset=utf-8';
const NOT_FOUND_TEXT = 'lease not found';

export interface PeerAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** Answers the post of another member to one of the two paths; once, now or later. */
export function answerLeasePost(
  router: LeaseRouter,
  path: string,
  body: Buffer,
  reply: (answer: PeerAnswer) => void,
): void {
  try {
    if (path === LEASES_PATH) answerRenewal(router, LeaseKeepAliveRequest.decode(body).ID, reply);
    else if (path === LEASES_INTERNAL_PATH) answerTimeToLive(router, LeaseInternalRequest.decode(body), reply);
    else reply(text(404, '404 page not found'));
  } catch (error) {
    if (!(error instanceof ProtoError)) throw error;
    reply(text(400, 'error unmarshalling request'));
  }
}

function answerRenewal(router: LeaseRouter, id: U64, reply: (answer: PeerAnswer) => void): void {
  router.parts.expiry.renew(id, {
    renewed(ttl) {
      if (ttl === 0) reply(text(404, NOT_FOUND_TEXT));
      else reply(protobuf(LeaseKeepAliveResponse.encode(LeaseKeepAliveResponse.create({ ID: id, TTL: ttl }))));
    },
    failed: (error) => reply(text(400, error.message)),
  });
}

function answerTimeToLive(
  router: LeaseRouter,
  { leaseTimeToLiveRequest: request }: LeaseInternalRequest,
  reply: (answer: PeerAnswer) => void,
): void {
  if (request === null) {
    reply(text(400, 'error unmarshalling request'));
    return;
  }
  router.localTimeToLive(request, {
    known(answer) {
      if (answer === null) {
        reply(text(404, NOT_FOUND_TEXT));
        return;
      }
      // An empty header, which whoever asked fills in.
      answer.header = ResponseHeader.create({});
      reply(protobuf(LeaseInternalResponse.encode(LeaseInternalResponse.create({ leaseTimeToLiveResponse: answer }))));
    },
    failed: (error: EtcdError) => reply(text(400, error.message)),
  });
}

function protobuf(body: Buffer): PeerAnswer {
  return { status: 200, contentType: PROTOBUF, body };
}

function text(status: number, message: string): PeerAnswer {
  return { status, contentType: TEXT, body: Buffer.from(`${message}\n`) };
}

/** Posts a body (`application/protobuf`) to a member; `status` is that of its answer. */
export type PeerPost = (
  member: U64,
  path: string,
  body: Buffer,
  done: (error: Error | null, status: number, body: Buffer) => void,
) => void;

/** The asking end. */
export class PeerLeaseForwarder implements LeaseForwarder {
  private readonly post: PeerPost;

  constructor(post: PeerPost) {
    this.post = post;
  }

  renew(leader: U64, id: U64, done: (error: Error | null, ttl: number) => void): void {
    const request = LeaseKeepAliveRequest.encode(LeaseKeepAliveRequest.create({ ID: id }));
    this.post(leader, LEASES_PATH, request, (error, status, body) => {
      if (error !== null) return done(error, 0);
      if (isNotFound(status, body)) return done(null, 0);
      const answer = status === 200 ? decoded(() => LeaseKeepAliveResponse.decode(body)) : null;
      if (answer === null || answer.ID !== id) return done(refusedBy(leader, status, body), 0);
      done(null, answer.TTL);
    });
  }

  timeToLive(
    leader: U64,
    request: LeaseTimeToLiveRequest,
    done: (error: Error | null, answer: LeaseTimeToLiveResponse | null) => void,
  ): void {
    const wrapped = LeaseInternalRequest.create({ leaseTimeToLiveRequest: request });
    this.post(leader, LEASES_INTERNAL_PATH, LeaseInternalRequest.encode(wrapped), (error, status, body) => {
      if (error !== null) return done(error, null);
      if (isNotFound(status, body)) return done(null, null);
      const answer = status === 200 ? decoded(() => LeaseInternalResponse.decode(body).leaseTimeToLiveResponse) : null;
      if (answer === null || answer.ID !== request.ID) return done(refusedBy(leader, status, body), null);
      done(null, answer);
    });
  }
}

/** The same status says that the other side does not know the path at all. */
function isNotFound(status: number, body: Buffer): boolean {
  return status === 404 && body.toString('latin1').trim() === NOT_FOUND_TEXT;
}

function decoded<T>(decode: () => T | null): T | null {
  try {
    return decode();
  } catch (error) {
    if (error instanceof ProtoError) return null;
    throw error;
  }
}

function refusedBy(member: U64, status: number, body: Buffer): Error {
  const who = member === U64_ZERO ? 'nobody' : member;
  return new Error(`member ${who} answers ${status}: ${body.toString('latin1', 0, 200).trim()}`);
}
