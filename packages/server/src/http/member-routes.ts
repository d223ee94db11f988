/** What members ask each other about membership on the peer port, as etcd answers it. */
import type { ServerResponse } from 'node:http';
import { type U64, u64FromDecimal, u64ToHex } from '@etsd/base';
import type { EtcdError } from '@etsd/proto';
import { type MemberRecord, type Members, membersToJson } from '@etsd/state';
import { PROMOTE_PATH, type Promotion, promotionFailure } from '../api/promotion.ts';
import type { PeerHandler } from './peer-edge.ts';

export const MEMBERS_PATH = '/members';

export interface MembersRouteParts {
  readonly clusterId: U64;
  readonly members: Pick<Members, 'list'>;
  /** Waits until this member has applied all that was committed before. */
  readonly readBarrier: (waiter: { done(): void; fail(error: EtcdError): void }) => void;
}

/** `GET /members`: who the members are and which cluster this is; `?linearizable=true` asks the majority first. */
export function membersRoute(parts: MembersRouteParts): PeerHandler {
  return (request, response) => {
    request.resume();
    if (!allows('GET', request.method, response)) return;
    response.setHeader('X-Etcd-Cluster-ID', u64ToHex(parts.clusterId));
    const query = new URLSearchParams((request.url ?? '').split('?')[1] ?? '');
    const answer = (): void => answerMembers(response, parts.members.list());
    if (query.get('linearizable') !== 'true') answer();
    else parts.readBarrier({ done: answer, fail: (error) => fail(response, 500, error.message) });
  };
}

/** `POST /members/promote/ID` (the id in decimal), answered by the leader. */
export function promoteRoute(clusterId: U64, promotion: Pick<Promotion, 'promoteHere'>): PeerHandler {
  return (request, response) => {
    request.resume();
    if (!allows('POST', request.method, response)) return;
    response.setHeader('X-Etcd-Cluster-ID', u64ToHex(clusterId));
    const text = (request.url ?? '').split('?', 1)[0]?.slice(PROMOTE_PATH.length) ?? '';
    const id = /^\d+$/.test(text) ? u64FromDecimal(text) : undefined;
    if (id === undefined) {
      fail(response, 404, `member ${text} not found in cluster`);
      return;
    }
    promotion.promoteHere(id, {
      done: (members) => answerMembers(response, members),
      fail: (error) => {
        const failure = promotionFailure(error);
        fail(response, failure.status, failure.text);
      },
    });
  };
}

function allows(method: string, given: string | undefined, response: ServerResponse): boolean {
  if (given === method) return true;
  response.setHeader('Allow', method);
  fail(response, 405, 'Method Not Allowed');
  return false;
}

function answerMembers(response: ServerResponse, members: readonly MemberRecord[]): void {
  answerJson(response, `${membersToJson(members)}\n`);
}

function answerJson(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

function fail(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' });
  response.end(`${text}\n`);
}
