import { keyFromBytes, keyToBytes, u64ToHex } from '@etsd/base';
import {
  CampaignRequest,
  CampaignResponse,
  LeaderKey,
  LeaderRequest,
  LeaderResponse,
  LockRequest,
  LockResponse,
  ProclaimRequest,
  ProclaimResponse,
  ResignRequest,
  UnlockRequest,
} from '@etsd/proto';
import { StatusCode } from '@etsd/rpc';
import { fenceOf, fenceValue } from '../checkers/tenure-records.ts';
import { outcomeOf, range } from './client.ts';
import { keyRecord } from './kv-codec.ts';
import { idOf, LeaseOwner } from './lease-owner.ts';

/** How long a turn is waited for before the place is given up. */
const WAIT_MS = 3000;
const PATIENCE_MS = 1500;
/** Refusals of the services after which nothing has happened. */
const NOT_LEADER = /election: not leader/;

/** Takes locks and leads elections by the services of the members, writes while it holds, and now and then forgets to stay alive. */
export class ServiceHolder extends LeaseOwner {
  private isKeeping = false;

  protected pauseMs(): number {
    return 100;
  }

  protected async step(): Promise<boolean> {
    const { prng, plan, shared } = this;
    const lease = String(1_000_000 + shared.unique());
    const ttlSeconds = prng.between(1, 3);
    if (!(await this.grantLease(lease, ttlSeconds)).stands) return false;
    this.isKeeping = true;
    const keeping = this.keep(lease, ttlSeconds);
    const number = prng.below(plan.queues);
    const isFine = prng.chance(0.5)
      ? await this.lock(`lock/${number}`, lease)
      : await this.lead(`poll/${number}`, lease);
    // What is left of this lease is not used again: a request that got no answer may still delete its place.
    if (prng.chance(0.5)) await this.revokeLease(lease);
    this.isKeeping = false;
    await keeping;
    return isFine;
  }

  /** Renews, but for a session that is to run out in the midst. */
  private async keep(lease: string, ttlSeconds: number): Promise<void> {
    let renewals = this.prng.chance(0.8) ? Number.POSITIVE_INFINITY : this.prng.below(3);
    while (renewals-- > 0) {
      await this.client.sleep((ttlSeconds * 1000) / 3);
      if (!this.isKeeping || !(await this.renewLease(lease)).stands) return;
    }
  }

  private async lock(name: string, lease: string): Promise<boolean> {
    const { shared } = this;
    const place = `${name}/${u64ToHex(idOf(lease))}`;
    const start = this.client.nowMs;
    shared.records.push({ type: 'stand', key: place, value: '', start });
    const request = LockRequest.create({ name: keyToBytes(name), lease: idOf(lease) });
    const { bytes } = await this.call('/v3lockpb.Lock/Lock', LockRequest.encode(request), WAIT_MS);
    if (bytes === null) return false;
    const { key, header } = LockResponse.decode(bytes);
    const end = this.client.nowMs;
    const revision = header?.revision ?? 0;
    shared.tenures++;
    shared.records.push({ type: 'tenure', name, key: keyFromBytes(key), revision, start, end });
    await this.write(name, place);
    this.giveUp(place);
    const unlock = UnlockRequest.encode(UnlockRequest.create({ key }));
    return (await this.call('/v3lockpb.Lock/Unlock', unlock, PATIENCE_MS)).code === StatusCode.OK;
  }

  private giveUp(key: string): void {
    this.shared.records.push({ type: 'given up', key, start: this.client.nowMs });
  }

  /** On the condition that the place is the one that it has. */
  private async write(name: string, place: string): Promise<void> {
    const { prng, shared } = this;
    const { results } = await this.kv({ success: [range(place, '')] });
    const created = results[0]?.kvs[0]?.create;
    if (created === undefined) return;
    for (let left = prng.between(1, 4); left > 0; left--) {
      const value = fenceValue(place, created, shared.unique());
      const { outcome, succeeded } = await this.kv({
        compares: [{ key: place, target: 'create', result: '=', operand: created }],
        success: [{ do: 'put', key: fenceOf(name), value, lease: '0' }],
      });
      if (outcome === 'ok' && !succeeded) return;
      await this.client.sleep(prng.float() * prng.pick([10, 10, 500, 2500]));
    }
  }

  private async lead(name: string, lease: string): Promise<boolean> {
    const { shared, prng } = this;
    const value = keyToBytes(`v${shared.unique()}`);
    const place = `${name}/${u64ToHex(idOf(lease))}`;
    const start = this.client.nowMs;
    shared.records.push({ type: 'stand', key: place, value: keyFromBytes(value), start });
    const request = CampaignRequest.create({ name: keyToBytes(name), lease: idOf(lease), value });
    const { bytes } = await this.call('/v3electionpb.Election/Campaign', CampaignRequest.encode(request), WAIT_MS);
    if (bytes === null) return await this.ask(name);
    const end = this.client.nowMs;
    const leader = CampaignResponse.decode(bytes).leader ?? new LeaderKey();
    shared.tenures++;
    shared.records.push({ type: 'tenure', name, key: keyFromBytes(leader.key), revision: leader.rev, start, end });
    for (let left = prng.below(4); left > 0; left--) {
      if (!(await this.proclaim(leader))) break;
      if (prng.chance(0.5)) await this.ask(name);
      await this.client.sleep(prng.float() * prng.pick([10, 10, 500, 2500]));
    }
    this.giveUp(place);
    const resign = ResignRequest.encode(ResignRequest.create({ leader }));
    return (await this.call('/v3electionpb.Election/Resign', resign, PATIENCE_MS)).code === StatusCode.OK;
  }

  /** False: it leads no more. */
  private async proclaim(leader: LeaderKey): Promise<boolean> {
    const { shared } = this;
    const value = keyToBytes(`v${shared.unique()}`);
    const start = this.client.nowMs;
    const request = ProclaimRequest.encode(ProclaimRequest.create({ leader, value }));
    const answer = await this.call('/v3electionpb.Election/Proclaim', request, PATIENCE_MS);
    const isRefused = NOT_LEADER.test(answer.message);
    shared.records.push({
      type: 'fenced',
      key: keyFromBytes(leader.key),
      value: keyFromBytes(value),
      start,
      end: this.client.nowMs,
      outcome: isRefused ? 'failed' : outcomeOf(answer),
      revision: answer.bytes === null ? 0 : (ProclaimResponse.decode(answer.bytes).header?.revision ?? 0),
    });
    return !isRefused;
  }

  private async ask(name: string): Promise<boolean> {
    const start = this.client.nowMs;
    const request = LeaderRequest.encode(LeaderRequest.create({ name: keyToBytes(name) }));
    const { bytes, code } = await this.call('/v3electionpb.Election/Leader', request, PATIENCE_MS);
    if (bytes === null) return code === StatusCode.UNKNOWN;
    const { kv, header } = LeaderResponse.decode(bytes);
    this.shared.records.push({
      type: 'leader',
      name,
      stream: 0,
      kv: kv === null ? null : keyRecord(kv),
      revision: header?.revision ?? 0,
      start,
      end: this.client.nowMs,
    });
    return true;
  }
}
