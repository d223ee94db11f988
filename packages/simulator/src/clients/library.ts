import { EtcdClient } from '@etsd/client';
import type { SimMachine } from '@etsd/runtime/sim';
import { CLIENT_PORT } from '../cluster/member.ts';
import type { Shared } from './shared.ts';

/** The client library on a simulated machine, for all members there are, as whoever the clients say they are. */
export function connectClient(shared: Shared, machine: SimMachine): EtcdClient {
  const endpoints = shared.cluster.serving.map(({ name }) => `${name}:${CLIENT_PORT}`);
  const { credentials } = shared;
  const [password] = credentials?.passwords ?? [];
  return new EtcdClient(
    {
      endpoints,
      timeoutMs: 3000,
      dialTimeoutMs: 1000,
      keepaliveMs: 2000,
      keepaliveTimeoutMs: 1000,
      // It would be looked for among the packages, in real time.
      telemetry: false,
      ...(credentials === null || password === undefined ? {} : { user: { name: credentials.name, password } }),
    },
    machine.world,
  );
}
