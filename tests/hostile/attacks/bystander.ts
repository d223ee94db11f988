/** A client that wants nothing but its answers, and how long it waits for them. */
import { EtcdClient } from '@etsd/client';
import type { Target } from './weapons.ts';

export interface Waits {
  readonly puts: Float64Array;
  readonly reads: Float64Array;
  readonly failures: readonly string[];
}

/** A process that comes to its timers this much too late was held up itself, by whoever stops processes or takes all processors. */
const HELD_MS = 500;
/** Nobody gives up because this process was held up; who is waited for too long shows in the waits. */
const TIMEOUT_MS = 250_000;

/** Puts and linearizable reads in turn, evenly over the time, on a connection that was there before. */
export class Bystander {
  private readonly client: EtcdClient;
  private readonly perSecond: number;
  private count = 0;
  /** For how long this process has been held up: it is no wait for the server. */
  private heldMs = 0;

  constructor({ host, port, tls }: Target, perSecond: number) {
    this.client = new EtcdClient({
      endpoints: `${tls ? 'https' : 'http'}://${host}:${port}`,
      ...(tls ? { tls: { insecureSkipVerify: true, alpn: ['h2'] } } : {}),
      timeoutMs: TIMEOUT_MS,
    });
    this.perSecond = perSecond;
  }

  async watch(ms: number): Promise<Waits> {
    const puts: number[] = [];
    const reads: number[] = [];
    const failures: string[] = [];
    const endMs = this.nowMs() + ms;
    const under: Promise<void>[] = [];
    const one = async (): Promise<void> => {
      const count = this.count++;
      const startedMs = this.nowMs();
      try {
        if (count % 2 === 0) await this.client.kv.put(`bystander/${count % 1000}`, 'x'.repeat(100));
        else await this.client.kv.get(`bystander/${(count - 1) % 1000}`);
        (count % 2 === 0 ? puts : reads).push(this.nowMs() - startedMs);
      } catch (error) {
        failures.push(String(error));
      }
    };
    while (this.nowMs() < endMs) {
      under.push(one());
      await this.pause(1000 / this.perSecond);
    }
    let areAllAnswered = false;
    const all = Promise.all(under).then(() => {
      areAllAnswered = true;
    });
    while (!areAllAnswered) await this.pause(1000 / this.perSecond);
    await all;
    return { puts: Float64Array.from(puts).sort(), reads: Float64Array.from(reads).sort(), failures };
  }

  /** A clock that stands still while this process does. */
  private nowMs(): number {
    return performance.now() - this.heldMs;
  }

  private async pause(ms: number): Promise<void> {
    const startedMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const lateMs = performance.now() - startedMs - ms;
    if (lateMs > HELD_MS) this.heldMs += lateMs;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

/** The wait that this part of all did not exceed; NaN where there were none. */
export function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
