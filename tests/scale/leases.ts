import { setTimeout as pause } from 'node:timers/promises';
import { LeaseGrantRequest } from '@etsd/proto';
import type { Product } from '../support/server.ts';
import { callMany, connect, SteadyPuts } from './client.ts';
import { type Latencies, latenciesOf } from './large-range.ts';
import { MeasuredServer, type Resident } from './measured-server.ts';
import type { ProbeReading } from './probe.ts';

export interface LeasesResult {
  readonly product: Product;
  readonly grantsPerSecond: number;
  /** Puts while the leases are granted, while they rest, and while some of them expire. */
  readonly whileGranted: Latencies;
  readonly whileResting: Latencies;
  readonly whileExpiring: Latencies;
  readonly resident: Resident;
  /** Of the event loop during each of the three; null for etcd. */
  readonly probes: readonly (ProbeReading | null)[];
}

const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const PUTS_PER_SECOND = 200;
/** Long enough that none of the resting leases ends during a run. */
const RESTING_TTL = 36_000;
const SHORT_TTL = 5;
const CLIENTS = 100;

/** Grants leases with many clients, lets some expire, and looks at puts meanwhile. */
export async function manyLeases(product: Product, leases: number, expiring: number): Promise<LeasesResult> {
  const server = await MeasuredServer.start(product);
  try {
    const channels = [connect(server.address), connect(server.address)];
    const grant = (count: number, TTL: number): Promise<void> =>
      callMany(channels, GRANT, count, CLIENTS, () => LeaseGrantRequest.encode(LeaseGrantRequest.create({ TTL })));
    const beside = async (work: () => Promise<unknown>): Promise<Latencies> => {
      const puts = new SteadyPuts(server.address, PUTS_PER_SECOND);
      await work();
      return latenciesOf(await puts.stop());
    };
    await server.probe();
    const startedMs = performance.now();
    const whileGranted = await beside(() => grant(leases, RESTING_TTL));
    const grantsPerSecond = leases / ((performance.now() - startedMs) / 1000);
    const probes = [await server.probe()];
    const whileResting = await beside(() => pause(3000));
    probes.push(await server.probe());
    await grant(expiring, SHORT_TTL);
    const whileExpiring = await beside(() => pause(SHORT_TTL * 1000 + 3000));
    probes.push(await server.probe());
    for (const channel of channels) channel.close();
    const resident = server.resident();
    return { product, grantsPerSecond, whileGranted, whileResting, whileExpiring, resident, probes };
  } finally {
    await server.dispose();
  }
}
