import { keyToBytes, type Prng } from '@etsd/base';
import { observe } from '@etsd/client/recipes';
import { EtcdError, type KeyValue, LeaderRequest, LeaderResponse } from '@etsd/proto';
import type { ClientCall } from '@etsd/rpc';
import type { SimMachine } from '@etsd/runtime/sim';
import { keyRecord } from './kv-codec.ts';
import { connectClient } from './library.ts';
import type { Shared } from './shared.ts';
import { Worker } from './workers.ts';

const LOOK_MS = [500, 2000, 5000];

/** Looks for a while at who leads and what it proclaims; by the service of a member, or by the recipe. */
export class ElectionObserver extends Worker {
  private readonly machine: SimMachine;

  constructor(shared: Shared, machine: SimMachine, prng: Prng, number: number) {
    super(shared, machine, prng, number);
    this.machine = machine;
  }

  protected pauseMs(): number {
    return 50;
  }

  protected async step(): Promise<boolean> {
    const { prng } = this;
    const name = `poll/${prng.below(this.plan.queues)}`;
    const ms = prng.pick(LOOK_MS);
    if (prng.chance(0.5)) return await this.byService(name, ms);
    await this.byRecipe(name, ms);
    return true;
  }

  private saw(name: string, stream: number, kv: KeyValue, revision: number, start: number): void {
    const end = this.client.nowMs;
    this.shared.records.push({ type: 'leader', name, stream, kv: keyRecord(kv), revision, start, end });
  }

  private byService(name: string, ms: number): Promise<boolean> {
    const start = this.client.nowMs;
    const stream = this.shared.unique();
    return new Promise((resolve) => {
      const receiver = {
        message: (_call: ClientCall, bytes: Buffer, from: number, to: number): void => {
          const { kv, header } = LeaderResponse.decode(bytes, from, to);
          if (kv !== null) this.saw(name, stream, kv, header?.revision ?? 0, start);
        },
        closed: (): void => {
          timer.cancel();
          resolve(false);
        },
      };
      const options = { metadata: this.client.metadata() };
      const call = this.client.channel(this.member).start('/v3electionpb.Election/Observe', receiver, options);
      const timer = this.client.world.timers.after(ms, () => {
        call.cancel();
        resolve(true);
      });
      call.sendLast(LeaderRequest.encode(LeaderRequest.create({ name: keyToBytes(name) })));
    });
  }

  private async byRecipe(name: string, ms: number): Promise<void> {
    const start = this.client.nowMs;
    const stream = this.shared.unique();
    const client = connectClient(this.shared, this.machine);
    const enough = new AbortController();
    const timer = this.client.world.timers.after(ms, () => enough.abort());
    try {
      for await (const kv of observe(client, name, { signal: enough.signal })) this.saw(name, stream, kv, 0, start);
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
    } finally {
      timer.cancel();
      await client.close();
    }
  }
}
