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

/** Grants leases, hangs keys on them, keeps some alive for a while, revokes some and lets the others run out. */
export class LeaseWorker extends Worker {
  private lease = '';
  private renewals = 0;

  protected pauseMs(): number {
    return 200;
  }

  protected async step(): Promise<boolean> {
    const { prng } = this;
    if (this.lease === '') return await this.grant();
    if (this.renewals > 0) {
      this.renewals--;
      if (prng.chance(0.3)) await this.kv({ success: [this.put(`lease${prng.below(8)}`, this.lease)] });
      return await this.renew();
    }
    const { lease } = this;
    this.lease = '';
    if (prng.chance(0.6)) return true;
    const request = LeaseRevokeRequest.encode(LeaseRevokeRequest.create({ ID: idOf(lease) }));
    const start = this.client.nowMs;
    return this.noted('revoke', lease, start, await this.call('/etcdserverpb.Lease/LeaseRevoke', request), 0);
  }

  private async grant(): Promise<boolean> {
    const { prng } = this;
    const lease = String(1_000_000 + this.shared.unique());
    const wish = LeaseGrantRequest.create({ ID: idOf(lease), TTL: prng.between(1, 4) });
    const start = this.client.nowMs;
    const answer = await this.call('/etcdserverpb.Lease/LeaseGrant', LeaseGrantRequest.encode(wish));
    const ttl = answer.bytes === null ? wish.TTL : LeaseGrantResponse.decode(answer.bytes).TTL;
    if (!this.noted('grant', lease, start, answer, ttl) || answer.code !== StatusCode.OK) return false;
    this.lease = lease;
    this.renewals = prng.below(8);
    await this.kv({
      success: [this.put(`lease${prng.below(8)}`, lease), this.put(`lease${8 + prng.below(8)}`, lease)],
    });
    return true;
  }

  private async renew(): Promise<boolean> {
    const { lease } = this;
    const start = this.client.nowMs;
    const answer = await this.keepAlive(idOf(lease));
    const ttl = answer.bytes === null ? 0 : LeaseKeepAliveResponse.decode(answer.bytes).TTL;
    if (answer.code === StatusCode.OK && ttl === 0) this.lease = '';
    return this.noted('renew', lease, start, answer, ttl);
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

function idOf(lease: string): U64 {
  return u64FromDecimal(lease) as U64;
}
