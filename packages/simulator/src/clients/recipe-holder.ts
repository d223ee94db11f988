import { keyFromBytes, type Prng, u64ToHex, u64ToSignedDecimal } from '@etsd/base';
import { type EtcdClient, type HeldLease, put } from '@etsd/client';
import { acquire, campaign, LostError, leader, type Tenure } from '@etsd/client/recipes';
import { ErrElectionNotLeader, EtcdError } from '@etsd/proto';
import type { SimMachine } from '@etsd/runtime/sim';
import type { Outcome } from '../checkers/history.ts';
import { fenceOf, fenceValue, type HeldRecord } from '../checkers/tenure-records.ts';
import { keyRecord } from './kv-codec.ts';
import { connectClient } from './library.ts';
import type { Shared } from './shared.ts';
import { Worker } from './workers.ts';

/** How long a turn is waited for before the place is given up. */
const WAIT_MS = 3000;

/**
 * Takes locks and leads elections with the recipes of the client library, as a whole program does that uses nothing else:
 * its process is stopped now and then for longer than its lease lasts, and goes on as if it still held what it held.
 */
export class RecipeHolder extends Worker {
  private readonly machine: SimMachine;

  constructor(shared: Shared, machine: SimMachine, prng: Prng, number: number) {
    super(shared, machine, prng, number);
    this.machine = machine;
  }

  protected pauseMs(): number {
    return 100;
  }

  protected async step(): Promise<boolean> {
    const { prng, plan } = this;
    const client = connectClient(this.shared, this.machine);
    const number = prng.below(plan.queues);
    try {
      const lease = await client.leases.hold(prng.between(1, 3));
      this.told('ok');
      const held = this.holds(lease);
      await (prng.chance(0.5)
        ? this.lock(client, `lock/${number}`, lease, held)
        : this.lead(client, `poll/${number}`, lease, held));
      if (prng.chance(0.5)) {
        await lease.release();
        this.told('ok');
      } else {
        held.lostAt = Math.min(held.lostAt, this.client.nowMs);
        await lease.abandon();
      }
      return true;
    } catch (error) {
      // What the product has no name for is ours.
      if (!(error instanceof EtcdError)) throw error;
      this.detail(`ended: ${error.message}`);
      return false;
    } finally {
      await client.close();
    }
  }

  private detail(what: string): void {
    this.shared.cluster.trace.detail(this.name, what);
  }

  private holds(lease: HeldLease): HeldRecord {
    const held: HeldRecord = {
      type: 'held',
      lease: u64ToSignedDecimal(lease.id),
      ttlMs: lease.ttlSeconds * 1000,
      lostAt: Number.POSITIVE_INFINITY,
    };
    this.shared.records.push(held);
    lease.signal.addEventListener('abort', () => {
      held.lostAt = Math.min(held.lostAt, this.client.nowMs);
    });
    return held;
  }

  /** What takes a turn, with an end to its patience. */
  private async turn<T extends Tenure>(
    name: string,
    value: string,
    lease: HeldLease,
    wait: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { shared } = this;
    const start = this.client.nowMs;
    shared.records.push({ type: 'stand', key: `${name}/${u64ToHex(lease.id)}`, value, start });
    const patience = new AbortController();
    const timer = this.client.world.timers.after(WAIT_MS, () => patience.abort());
    try {
      const tenure = await wait(patience.signal);
      const { revision } = tenure;
      const end = this.client.nowMs;
      this.told('ok');
      shared.tenures++;
      shared.records.push({ type: 'tenure', name, key: keyFromBytes(tenure.key), revision, start, end });
      this.detail(`has ${name} as of ${revision}`);
      return tenure;
    } finally {
      timer.cancel();
    }
  }

  private async giveUp(tenure: Tenure): Promise<void> {
    this.shared.records.push({ type: 'given up', key: keyFromBytes(tenure.key), start: this.client.nowMs });
    await tenure.release();
    this.told('ok');
  }

  private async lock(client: EtcdClient, name: string, lease: HeldLease, held: HeldRecord): Promise<void> {
    const { prng, shared } = this;
    const lock = await this.turn(name, '', lease, (signal) => acquire(client, name, lease, { signal }));
    for (let left = prng.between(1, 4); left > 0; left--) {
      const key = fenceOf(name);
      const value = fenceValue(keyFromBytes(lock.key), lock.revision, shared.unique());
      const isHeld = await this.fenced(
        key,
        value,
        async () => (await lock.write(put(key, value))).header?.revision ?? 0,
      );
      if (!isHeld) return;
      await this.dawdle(held);
    }
    await this.giveUp(lock);
  }

  private async lead(client: EtcdClient, name: string, lease: HeldLease, held: HeldRecord): Promise<void> {
    const { prng, shared } = this;
    const first = `v${shared.unique()}`;
    const leadership = await this.turn(name, first, lease, (signal) =>
      campaign(client, name, lease, first, { signal }),
    );
    for (let left = prng.below(4); left > 0; left--) {
      const value = `v${shared.unique()}`;
      const key = keyFromBytes(leadership.key);
      const isHeld = await this.fenced(key, value, async () => {
        await leadership.proclaim(value);
        return 0;
      });
      if (!isHeld) return;
      if (prng.chance(0.5)) await this.ask(client, name);
      await this.dawdle(held);
    }
    await this.giveUp(leadership);
  }

  /** False: nothing is held any more. */
  private async fenced(key: string, value: string, write: () => Promise<number>): Promise<boolean> {
    const { shared } = this;
    const start = this.client.nowMs;
    let outcome: Outcome = 'ok';
    let revision = 0;
    try {
      revision = await write();
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      outcome = error instanceof LostError || error === ErrElectionNotLeader ? 'failed' : 'unknown';
    }
    this.told(outcome);
    shared.records.push({ type: 'fenced', key, value, start, end: this.client.nowMs, outcome, revision });
    this.detail(`${key}=${value} → ${outcome}`);
    return outcome === 'ok';
  }

  private async ask(client: EtcdClient, name: string): Promise<void> {
    const start = this.client.nowMs;
    const kv = await leader(client, name);
    this.told('ok');
    const end = this.client.nowMs;
    const said = kv === null ? null : keyRecord(kv);
    this.shared.records.push({ type: 'leader', name, stream: 0, kv: said, revision: 0, start, end });
  }

  /** Lets time pass, in which sometimes the whole process stands still. */
  private async dawdle(held: HeldRecord): Promise<void> {
    const { prng } = this;
    if (prng.chance(0.15)) {
      // It cannot say anything meanwhile; what its lease says then is judged by the writes behind it.
      held.lostAt = Math.min(held.lostAt, this.client.nowMs);
      this.machine.pause(prng.pick([500, 2000, 4000]));
    }
    await this.client.sleep(prng.float() * prng.pick([10, 10, 500, 2500]));
  }
}
