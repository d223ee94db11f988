/** A client that wants nothing but its answers, and how long it waits for them. */
import { EtcdClient } from '@etsd/client';
import type { Target } from './weapons.ts';

export interface Waits {
  readonly puts: Float64Array;
  readonly reads: Float64Array;
  readonly failures: readonly string[];
}

/** Puts and linearizable reads in turn, evenly over the time, on a connection that was there before. */
export class Bystander {
  private readonly client: EtcdClient;
  private readonly perSecond: number;
  private count = 0;

  constructor({ host, port, tls }: Target, perSecond: number) {
    this.client = new EtcdClient({
      endpoints: `${tls ? 'https' : 'http'}://${host}:${port}`,
      ...(tls ? { tls: { insecureSkipVerify: true, alpn: ['h2'] } } : {}),
      timeoutMs: 30_000,
    });
    this.perSecond = perSecond;
  }

  async watch(ms: number): Promise<Waits> {
    const puts: number[] = [];
    const reads: number[] = [];
    const failures: string[] = [];
    const end = performance.now() + ms;
    const under: Promise<void>[] = [];
    const one = async (): Promise<void> => {
      const count = this.count++;
      const startedMs = performance.now();
      try {
        if (count % 2 === 0) await this.client.kv.put(`bystander/${count % 1000}`, 'x'.repeat(100));
        else await this.client.kv.get(`bystander/${(count - 1) % 1000}`);
        (count % 2 === 0 ? puts : reads).push(performance.now() - startedMs);
      } catch (error) {
        failures.push(String(error));
      }
    };
    while (performance.now() < end) {
      under.push(one());
      await new Promise((resolve) => setTimeout(resolve, 1000 / this.perSecond));
    }
    await Promise.all(under);
    return { puts: Float64Array.from(puts).sort(), reads: Float64Array.from(reads).sort(), failures };
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

/** The wait that this part of all did not exceed; NaN where there were none. */
export function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
