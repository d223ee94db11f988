import type { Product } from '../support/server.ts';
import { load, SteadyPuts } from './client.ts';
import { type Latencies, latenciesOf } from './large-range.ts';
import { MeasuredServer } from './measured-server.ts';
import type { ProbeReading } from './probe.ts';
import { readSnapshot, type SnapshotRead } from './snapshot-reader.ts';

export interface SnapshotResult {
  readonly product: Product;
  readonly snapshots: readonly SnapshotRead[];
  /** Puts beside nothing, and beside the snapshots. */
  readonly quiet: Latencies;
  readonly beside: Latencies;
  /** Resident memory in MiB that is the program's own, before and at most meanwhile. */
  readonly ownBefore: number;
  readonly ownPeak: number;
  /** Of the event loop; null for etcd. */
  readonly quietProbe: ProbeReading | null;
  readonly probe: ProbeReading | null;
}

const PUTS_PER_SECOND = 500;
const QUIET_MS = 3000;

/** Takes snapshots of a large store, one after the other, while puts go on. */
export async function largeSnapshot(product: Product, keys: number, valueBytes: number): Promise<SnapshotResult> {
  const server = await MeasuredServer.start(product);
  try {
    await load(server.address, '/scale/', keys, valueBytes);
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    await server.probe();
    const alone = new SteadyPuts(server.address, PUTS_PER_SECOND);
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    const quiet = latenciesOf(await alone.stop());
    const quietProbe = await server.probe();
    const ownBefore = server.resident().own;
    let ownPeak = 0;
    const watch = setInterval(() => {
      ownPeak = Math.max(ownPeak, server.resident().own);
    }, 50);
    const puts = new SteadyPuts(server.address, PUTS_PER_SECOND);
    const snapshots = [await readSnapshot(server.address), await readSnapshot(server.address)];
    clearInterval(watch);
    const beside = latenciesOf(await puts.stop());
    const probe = await server.probe();
    return { product, snapshots, quiet, beside, ownBefore, ownPeak, quietProbe, probe };
  } finally {
    await server.dispose();
  }
}
