/** `v3lockpb.Lock`: locks that are held by keys, so that any client can see who holds them and who waits. */
import { keyToBytes } from '@etsd/base';
import {
  ErrCanceled,
  ErrSessionExpired,
  type EtcdError,
  LockRequest,
  LockResponse,
  UnlockRequest,
  UnlockResponse,
  unknownError,
} from '@etsd/proto';
import type { MemberContext } from '../context.ts';
import { type KeyQueue, placeKey, queuePrefix, takePlace } from './key-queue.ts';
import { type Reply, registerUnary } from './unary.ts';

const NO_BYTES = Buffer.alloc(0);

export function registerLock(context: MemberContext, queue: KeyQueue): void {
  registerUnary(context, {
    path: '/v3lockpb.Lock/Lock',
    decode: LockRequest.decode,
    run: (request, reply) => settle(reply, lock(queue.for(reply.origin), request, hangUpSignal(reply)), LockResponse),
  });
  registerUnary(context, {
    path: '/v3lockpb.Lock/Unlock',
    decode: UnlockRequest.decode,
    run: (request, reply) => settle(reply, unlock(queue.for(reply.origin), request), UnlockResponse),
  });
}

async function lock(queue: KeyQueue, request: LockRequest, signal: AbortSignal): Promise<LockResponse> {
  const lease = await queue.session(request.lease);
  const key = placeKey(request.name, lease);
  const prefix = queuePrefix(request.name);
  const { succeeded, header, found } = await queue.commit(takePlace(key, NO_BYTES, lease));
  const createRevision = succeeded ? header.revision : (found[0]?.createRevision ?? 0);
  const owner = await queue.read(prefix);
  const response = LockResponse.create({ header, key: keyToBytes(key) });
  if (owner.kv === null || owner.kv.createRevision === createRevision) return response;
  try {
    await queue.waitForTurn(prefix, { key, createRevision }, signal);
    const own = await queue.readKey(key);
    if (own.kv === null) throw ErrSessionExpired;
    response.header = own.header;
    if (!signal.aborted) return response;
  } catch (error) {
    if (error === ErrSessionExpired) throw error;
    await giveUp(queue, response.key);
    throw error;
  }
  await giveUp(queue, response.key);
  throw ErrSessionExpired;
}

/** Leaves the queue; where that fails the lease's end does it. */
async function giveUp(queue: KeyQueue, key: Buffer): Promise<void> {
  await queue.delete(key).catch(() => {});
}

async function unlock(queue: KeyQueue, request: UnlockRequest): Promise<UnlockResponse> {
  if (request.key.length === 0) throw unknownError('etcdserver: key is not provided');
  return UnlockResponse.create({ header: await queue.delete(request.key) });
}

/** Aborted where the client gives up waiting. */
export function hangUpSignal(reply: Reply): AbortSignal {
  const controller = new AbortController();
  reply.onHangUp = () => controller.abort(ErrCanceled);
  return controller.signal;
}

/**
 * Answers with what becomes of the work. Every error is sent as Unknown, whatever its own code: etcd does its work
 * through a client, whose errors its transport does not know.
 */
export function settle<T>(reply: Reply, work: Promise<T>, type: { encode(message: T): Buffer }): void {
  work.then(
    (response) => reply.answer(type.encode(response)),
    (error: EtcdError) => reply.fail(unknownError(error.message)),
  );
}
