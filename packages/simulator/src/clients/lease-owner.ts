import { type U64, u64FromDecimal } from '@etsd/base';
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseRevokeRequest,
} from '@etsd/proto';
import { type ClientCall, StatusCode } from '@etsd/rpc';
import type { LeaseOperation } from '../checkers/history.ts';
import { type Answer, outcomeOf } from './client.ts';
import { Worker } from './workers.ts';

const RENEWAL_MS = 1500;

/** What became of a request about a lease. */
export interface LeaseAnswer {
  /** Whether the member was of any help. */
  readonly isKnown: boolean;
  /** Whether the lease stands, as the answer says. */
  readonly stands: boolean;
}

/** A client with leases: each thing it does with one goes into the history. */
export abstract class LeaseOwner extends Worker {
  /** Asks for a lease of so many seconds under a number that nobody else uses. */
  protected async grantLease(lease: string, ttlSeconds: number): Promise<LeaseAnswer> {
    const wish = LeaseGrantRequest.create({ ID: idOf(lease), TTL: ttlSeconds });
    const start = this.client.nowMs;
    const answer = await this.call('/etcdserverpb.Lease/LeaseGrant', LeaseGrantRequest.encode(wish));
    const ttl = answer.bytes === null ? wish.TTL : LeaseGrantResponse.decode(answer.bytes).TTL;
    const isKnown = this.noted('grant', lease, start, answer, ttl);
    return { isKnown, stands: isKnown && answer.code === StatusCode.OK };
  }

  protected async renewLease(lease: string): Promise<LeaseAnswer> {
    const start = this.client.nowMs;
    const answer = await this.keepAlive(idOf(lease));
    this.told(outcomeOf(answer));
    const ttl = answer.bytes === null ? 0 : LeaseKeepAliveResponse.decode(answer.bytes).TTL;
    const stands = answer.code !== StatusCode.OK || ttl > 0;
    return { isKnown: this.noted('renew', lease, start, answer, ttl), stands };
  }

  protected async revokeLease(lease: string): Promise<boolean> {
    const request = LeaseRevokeRequest.encode(LeaseRevokeRequest.create({ ID: idOf(lease) }));
    const start = this.client.nowMs;
    return this.noted('revoke', lease, start, await this.call('/etcdserverpb.Lease/LeaseRevoke', request), 0);
  }

  /** One renewal over a stream of its own. */
  private keepAlive(ID: U64): Promise<Answer> {
    const request = LeaseKeepAliveRequest.encode(LeaseKeepAliveRequest.create({ ID }));
    return new Promise((resolve) => {
      const receiver = {
        message: (call: ClientCall, bytes: Buffer, start: number, end: number): void => {
          resolve({ code: StatusCode.OK, message: '', bytes: Buffer.from(bytes.subarray(start, end)) });
          call.cancel();
        },
        closed: (_call: ClientCall, code: number, message: string): void => {
          resolve({ code: code === StatusCode.OK ? StatusCode.UNKNOWN : code, message, bytes: null });
        },
      };
      const options = { timeoutMs: RENEWAL_MS, metadata: this.client.metadata() };
      const call = this.client.channel(this.member).start('/etcdserverpb.Lease/LeaseKeepAlive', receiver, options);
      call.send(request);
    });
  }

  private noted(what: LeaseOperation['do'], lease: string, start: number, answer: Answer, ttl: number): boolean {
    const outcome = outcomeOf(answer);
    const { message: error } = answer;
    const end = this.client.nowMs;
    this.shared.records.push({ type: 'lease', do: what, lease, ttl, start, end, outcome, error });
    this.shared.cluster.trace.detail(this.name, `${what} lease ${lease} → ${outcome} ${ttl} ${error}`);
    return outcome !== 'unknown';
  }
}

export function idOf(lease: string): U64 {
  return u64FromDecimal(lease) as U64;
}
