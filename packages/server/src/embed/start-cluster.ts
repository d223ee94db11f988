/** Several members inside of one program, as one cluster: for tests of what happens when a leader goes. */
import type { Logger } from '@etsd/base';
import { type ClientOptions, EtcdClient } from '@etsd/client';
import { hasCode } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import { type EmbeddedMember, type EmbedOptions, startMember } from './start-member.ts';

/** Short: all members share one event loop, so whatever holds it holds the clocks of all of them. */
const HEARTBEAT_MS = 20;
const ELECTION_MS = 200;
/** Ports are chosen before they are bound, so somebody else may take one meanwhile. */
const ATTEMPTS = 5;

export interface ClusterOptions {
  /** How many members; default 3. */
  readonly size?: number;
  /** Flags of etsd for every member. */
  readonly flags?: EmbedOptions['flags'];
  /** Hears all members. */
  readonly logger?: Logger;
}

/**
 * Starts a cluster of members in memory, which talk to each other and to clients through free ports of this machine.
 * Time is the machine's. Resolves when all of them serve.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<EmbeddedCluster> {
  for (let attempt = 1; ; attempt++) {
    const ports = await freePorts(options.size ?? 3);
    const starts = await Promise.allSettled(
      ports.map((_port, index) => startMember(memberOptions(options, ports, index))),
    );
    const members = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    if (members.length === starts.length) return new EmbeddedCluster(members);
    await Promise.all(members.map((member) => member.close()));
    const { reason } = starts.find((start) => start.status === 'rejected') as PromiseRejectedResult;
    const isTaken = reason instanceof Error && hasCode(reason.cause, 'EADDRINUSE');
    if (!isTaken || attempt === ATTEMPTS) throw reason;
  }
}

export class EmbeddedCluster implements AsyncDisposable {
  /** Those that were closed stay in the list. */
  readonly members: readonly EmbeddedMember[];
  private readonly clients: EtcdClient[] = [];

  constructor(members: readonly EmbeddedMember[]) {
    this.members = members;
  }

  /** Of all members, for any client. */
  get endpoints(): readonly string[] {
    return this.members.map((member) => member.endpoint);
  }

  /** The member that leads now; null while there is none. */
  get leader(): EmbeddedMember | null {
    return this.members.find((member) => member.isLeader) ?? null;
  }

  /** A client of the whole cluster. It is closed with the cluster. */
  client(options: Omit<ClientOptions, 'endpoints'> = {}): EtcdClient {
    const client = new EtcdClient({ ...options, endpoints: this.endpoints });
    this.clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
    await Promise.all(this.members.map((member) => member.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function peerUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

function memberOptions({ flags, logger }: ClusterOptions, ports: readonly number[], index: number): EmbedOptions {
  const own = ports[index] as number;
  return {
    listen: '127.0.0.1:0',
    ...(logger === undefined ? {} : { logger }),
    flags: {
      'heartbeat-interval': HEARTBEAT_MS,
      'election-timeout': ELECTION_MS,
      ...flags,
      name: `m${index + 1}`,
      'listen-peer-urls': peerUrl(own),
      'initial-advertise-peer-urls': peerUrl(own),
      'initial-cluster': ports.map((port, at) => `m${at + 1}=${peerUrl(port)}`).join(','),
      // No other cluster has the same, so that one that was here before is not taken for this one.
      'initial-cluster-token': `embedded-${ports.join('-')}`,
    },
  };
}

async function freePorts(count: number): Promise<number[]> {
  const { network } = nodeWorld();
  const address = { host: '127.0.0.1', port: 0 };
  const listeners = await Promise.all(
    Array.from({ length: count }, () => network.listen(address, {}, (socket) => socket.destroy())),
  );
  const ports = listeners.map((listener) => ('port' in listener.address ? listener.address.port : 0));
  for (const listener of listeners) await listener.close();
  return ports;
}
