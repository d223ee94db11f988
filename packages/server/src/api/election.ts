/** `v3electionpb.Election`: the owner of the oldest key under a name leads, and the key's value is what it proclaims. */
import { keyFromBytes, keyToBytes, prefixEnd } from '@etsd/base';
import {
  CampaignRequest,
  CampaignResponse,
  DeleteRangeRequest,
  ErrCanceled,
  ErrElectionNoLeader,
  ErrElectionNotLeader,
  ErrMissingLeaderKey,
  type EtcdError,
  EventType,
  GrpcCode,
  type KeyValue,
  LeaderKey,
  LeaderRequest,
  LeaderResponse,
  ProclaimRequest,
  ProclaimResponse,
  PutRequest,
  RequestOp,
  ResignRequest,
  ResignResponse,
  type ResponseHeader,
  TxnRequest,
} from '@etsd/proto';
import type { ApiCall, ApiHandler, MemberContext } from '../context.ts';
import { failCall, failUnreadable, refusal } from './guards.ts';
import { createdAt, type KeyQueue, placeKey, queuePrefix, takePlace } from './key-queue.ts';
import { hangUpSignal, settle } from './lock.ts';
import { registerUnary } from './unary.ts';

export function registerElection(context: MemberContext, queue: KeyQueue): void {
  registerUnary(context, {
    path: '/v3electionpb.Election/Campaign',
    decode: CampaignRequest.decode,
    run: (request, reply) =>
      settle(reply, campaign(queue.for(reply.origin), request, hangUpSignal(reply)), CampaignResponse),
  });
  registerUnary(context, {
    path: '/v3electionpb.Election/Proclaim',
    decode: ProclaimRequest.decode,
    run: (request, reply) => settle(reply, proclaim(queue.for(reply.origin), request), ProclaimResponse),
  });
  registerUnary(context, {
    path: '/v3electionpb.Election/Leader',
    decode: LeaderRequest.decode,
    run: (request, reply) => settle(reply, leader(queue.for(reply.origin), request), LeaderResponse),
  });
  registerUnary(context, {
    path: '/v3electionpb.Election/Resign',
    decode: ResignRequest.decode,
    run: (request, reply) => settle(reply, resign(queue.for(reply.origin), request), ResignResponse),
  });
  context.rpc.handle('/v3electionpb.Election/Observe', new ObserveHandler(context, queue));
}

async function campaign(queue: KeyQueue, request: CampaignRequest, signal: AbortSignal): Promise<CampaignResponse> {
  const { name, value } = request;
  const lease = await queue.session(request.lease);
  const key = placeKey(name, lease);
  const { succeeded, header, found } = await queue.commit(takePlace(key, value, lease));
  const before = found[0] ?? null;
  const rev = succeeded ? header.revision : (before?.createRevision ?? 0);
  const place = LeaderKey.create({ name, key: keyToBytes(key), rev, lease });
  try {
    if (before !== null && !before.value.equals(value)) await put(queue, place, value);
    await queue.waitForTurn(queuePrefix(name), { key, createRevision: rev }, signal);
    // While others led, the candidate's own lease may have ended, and its place with it.
    const own = await queue.readKey(key);
    if (own.kv?.createRevision !== rev) throw ErrElectionNotLeader;
    if (!signal.aborted) return CampaignResponse.create({ header, leader: place });
  } catch (error) {
    if (signal.aborted || error === ErrElectionNotLeader) await giveUp(queue, place);
    throw error;
  }
  await giveUp(queue, place);
  throw ErrElectionNotLeader;
}

async function giveUp(queue: KeyQueue, place: LeaderKey): Promise<void> {
  await queue.commit(removal(place)).catch(() => {
    // The lease's end does it.
  });
}

/** Sets the value of a leadership that still stands. */
async function put(queue: KeyQueue, { key, lease, rev }: LeaderKey, value: Buffer): Promise<ResponseHeader> {
  const requestPut = PutRequest.create({ key, value, lease });
  const success = [RequestOp.create({ requestPut })];
  const { succeeded, header } = await queue.commit(TxnRequest.create({ compare: [createdAt(key, rev)], success }));
  if (!succeeded) throw ErrElectionNotLeader;
  return header;
}

async function proclaim(queue: KeyQueue, { leader: place, value }: ProclaimRequest): Promise<ProclaimResponse> {
  if (place === null) throw ErrMissingLeaderKey;
  place.lease = await queue.session(place.lease);
  return ProclaimResponse.create({ header: await put(queue, place, value) });
}

async function leader(queue: KeyQueue, { name }: LeaderRequest): Promise<LeaderResponse> {
  const { kv, header } = await queue.read(queuePrefix(name));
  if (kv === null) throw ErrElectionNoLeader;
  return LeaderResponse.create({ header, kv });
}

function removal({ key, rev }: LeaderKey): TxnRequest {
  const requestDeleteRange = DeleteRangeRequest.create({ key });
  return TxnRequest.create({ compare: [createdAt(key, rev)], success: [RequestOp.create({ requestDeleteRange })] });
}

async function resign(queue: KeyQueue, { leader: place }: ResignRequest): Promise<ResignResponse> {
  if (place === null) throw ErrMissingLeaderKey;
  return ResignResponse.create({ header: (await queue.commit(removal(place))).header });
}

// ── Observe ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes that wait for a client that does not read, from which on it is told no more. */
const BACKLOG_BYTES = 128 * 1024;

/** One client that wants to know who leads. */
class Observer {
  readonly stop = new AbortController();
  private resume: (() => void) | null = null;
  private readonly call: ApiCall;
  private readonly queue: KeyQueue;

  constructor(call: ApiCall, queue: KeyQueue) {
    this.call = call;
    this.queue = queue;
  }

  /** Tells of every leader, and of everything it proclaims, until the client has enough. */
  async run(name: Buffer): Promise<void> {
    const { queue } = this;
    const { signal } = this.stop;
    const prefix = queuePrefix(name);
    while (!signal.aborted) {
      let { kv, header } = await queue.read(prefix);
      if (kv === null) {
        kv = await this.firstPut(prefix, header.revision + 1);
        if (kv === null) continue;
        header = queue.header(kv.modRevision);
      }
      await this.tell(header, kv);
      const changes = queue.changes(keyFromBytes(kv.key), '', header.revision + 1, signal);
      for await (const event of changes) {
        if (event.type === EventType.DELETE || event.kv === null) break;
        await this.tell(queue.header(event.kv.modRevision), event.kv);
      }
    }
  }

  private async firstPut(prefix: string, startRevision: number): Promise<KeyValue | null> {
    for await (const event of this.queue.changes(prefix, prefixEnd(prefix), startRevision, this.stop.signal)) {
      if (event.type === EventType.PUT) return event.kv;
    }
    return null;
  }

  private async tell(header: ResponseHeader, kv: KeyValue): Promise<void> {
    if (!this.call.isOpen) return;
    this.call.send(LeaderResponse.encode(LeaderResponse.create({ header, kv })));
    while (this.call.isOpen && this.call.queuedBytes > BACKLOG_BYTES) {
      await new Promise<void>((resolve) => {
        this.resume = resolve;
      });
    }
  }

  wake(): void {
    const resume = this.resume;
    this.resume = null;
    resume?.();
  }
}

class ObserveHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly context: MemberContext;
  private readonly queue: KeyQueue;

  constructor(context: MemberContext, queue: KeyQueue) {
    this.context = context;
    this.queue = queue;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const refused = refusal(this.context, call, false);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    let request: LeaderRequest;
    try {
      request = LeaderRequest.decode(Buffer.from(bytes.subarray(start, end)));
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    const observer = new Observer(call, this.queue.for(call));
    call.context = observer;
    observer.run(request.name).catch((error: EtcdError) => {
      if (call.isOpen) call.fail(GrpcCode.Unknown, error.message);
    });
  }

  drained(call: ApiCall): void {
    if (call.context instanceof Observer) call.context.wake();
  }

  closed(call: ApiCall): void {
    if (!(call.context instanceof Observer)) return;
    call.context.stop.abort(ErrCanceled);
    call.context.wake();
  }
}
