import type { Histogram } from '@etsd/bench';
import type { Product } from '../support/server.ts';
import { load, SteadyPuts } from './client.ts';
import { MeasuredServer } from './measured-server.ts';
import type { ProbeReading } from './probe.ts';
import { readRange } from './range-reader.ts';

export interface LargeRangeResult {
  readonly product: Product;
  readonly megabytes: number;
  /** Of each of the reads. */
  readonly seconds: readonly number[];
  /** Puts beside nothing, and beside the reads. */
  readonly quiet: Latencies;
  readonly beside: Latencies;
  readonly peakMegabytes: number;
  /** Of the event loop during the reads; null for etcd. */
  readonly probe: ProbeReading | null;
}

export interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function latenciesOf(histogram: Histogram): Latencies {
  return { p50: histogram.percentileMs(50), p99: histogram.percentileMs(99), max: histogram.maxMs };
}

const PUTS_PER_SECOND = 500;
const READS = 3;

/** Reads all of a large prefix as one answer, again and again, while puts go on. */
export async function largeRange(product: Product, keys: number): Promise<LargeRangeResult> {
  const server = await MeasuredServer.start(product);
  try {
    await load(server.address, '/large/', keys, 1000);
    const alone = new SteadyPuts(server.address, PUTS_PER_SECOND);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const quiet = latenciesOf(await alone.stop());
    await server.probe();
    const puts = new SteadyPuts(server.address, PUTS_PER_SECOND);
    let peakMegabytes = 0;
    const watch = setInterval(() => {
      peakMegabytes = Math.max(peakMegabytes, server.resident().total);
    }, 50);
    const seconds: number[] = [];
    let bytes = 0;
    for (let read = 0; read < READS; read++) {
      const answer = await readRange(server.address, '/large/');
      bytes = answer.bytes;
      seconds.push(answer.seconds);
    }
    clearInterval(watch);
    const beside = latenciesOf(await puts.stop());
    return { product, megabytes: bytes / 1e6, seconds, quiet, beside, peakMegabytes, probe: await server.probe() };
  } finally {
    await server.dispose();
  }
}
