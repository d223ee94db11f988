/** Leases as resources. */
import { type U64, U64_ZERO } from '@etsd/base';
import {
  EtcdError,
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
} from '@etsd/proto';
import { InProcessCall } from '../gateway/in-process-call.ts';
import { type Caller, call } from './local-call.ts';
import { KEEP_ALIVE_PATH, LEASE_GRANT, LEASE_LEASES, LEASE_REVOKE, TIME_TO_LIVE } from './methods.ts';
import { badRequest, Problem } from './problem.ts';
import { allowMembers, jsonBody, type Question } from './question.ts';
import { readLease, showLease, textOf } from './render.ts';
import { wantsBase64 } from './span.ts';

/** `POST /api/leases`: `{"ttl": seconds}`, with an `id` where one is wanted. */
export async function grantLease(question: Question): Promise<void> {
  question.query.allow();
  const body = jsonBody(question);
  allowMembers(body, 'a lease', 'ttl', 'id');
  const { ttl, id = '0' } = body;
  if (typeof ttl !== 'number' || !Number.isInteger(ttl) || ttl < 1)
    throw badRequest('ttl is a whole number of seconds');
  if (typeof id !== 'string') throw badRequest('id is text: numbers of JSON would lose digits of it');
  const request = LeaseGrantRequest.create({ TTL: ttl, ID: readLease(id) });
  const granted = await call(question.caller, LEASE_GRANT, request);
  const shown = showLease(granted.ID);
  question.json(201, { id: shown, ttl: granted.TTL }, ['Location', `/api/leases/${shown}`]);
}

/** `GET /api/leases`. */
export async function listLeases(question: Question): Promise<void> {
  question.query.allow();
  const found = await call(question.caller, LEASE_LEASES, new LeaseLeasesRequest());
  question.json(200, { leases: found.leases.map(({ ID }) => ({ id: showLease(ID) })) });
}

/** `GET /api/leases/ID`: the time it has left, and what hangs on it. */
export async function readLeaseResource(question: Question, text: string): Promise<void> {
  question.query.allow('encoding');
  const base64 = wantsBase64(question);
  const id = readLease(text);
  const found = await call(question.caller, TIME_TO_LIVE, LeaseTimeToLiveRequest.create({ ID: id, keys: true }));
  if (found.TTL < 0) throw notThere();
  const keys = found.keys.filter((key) => !base64 && textOf(key) !== null).map(textOf);
  const others = found.keys.filter((key) => base64 || textOf(key) === null).map((key) => key.toString('base64'));
  question.json(200, {
    id: showLease(id),
    ttl: found.TTL,
    granted_ttl: found.grantedTTL,
    keys,
    ...(others.length > 0 ? { keys_base64: others } : {}),
  });
}

/** `DELETE /api/leases/ID`: with all keys that hang on it. */
export async function revokeLease(question: Question, text: string): Promise<void> {
  question.query.allow();
  const answer = await call(question.caller, LEASE_REVOKE, LeaseRevokeRequest.create({ ID: readLease(text) }));
  question.json(200, { revision: answer.header?.revision ?? 0 });
}

/** `POST /api/leases/ID/keepalive`: its time begins anew. */
export async function keepAlive(question: Question, text: string): Promise<void> {
  question.query.allow();
  const id = readLease(text);
  if (id === U64_ZERO) throw notThere();
  const answer = await keepAliveOnce(question.caller, id);
  if (answer.TTL <= 0) throw notThere();
  question.json(200, { id: showLease(id), ttl: answer.TTL });
}

function notThere(): Problem {
  return new Problem(404, 'lease_not_found', 'the lease is not there');
}

function keepAliveOnce({ handlerOf, credentials, onCancel }: Caller, id: U64): Promise<LeaseKeepAliveResponse> {
  const handler = handlerOf(KEEP_ALIVE_PATH);
  if (handler === undefined) return Promise.reject(new Problem(501, 'unimplemented', 'leases are not served here'));
  return new Promise((resolve, reject) => {
    const made: InProcessCall = new InProcessCall(handler, {
      queuedBytes: 0,
      peerCommonName: credentials.peerCommonName,
      peer: credentials.peer,
      header: (name) => credentials.header(name),
      message(bytes) {
        resolve(LeaseKeepAliveResponse.decode(bytes));
        made.cancel();
      },
      partsBegin() {},
      part() {},
      ended: () => reject(new Problem(503, 'unavailable', 'the call ended without an answer')),
      failed: (code, message) => reject(new EtcdError(code, message)),
    });
    onCancel(() => made.cancel());
    made.open();
    made.request(LeaseKeepAliveRequest.encode(LeaseKeepAliveRequest.create({ ID: id })));
  });
}
