import type { Prng } from '@etsd/base';
import type { Side } from '../differential/runner.ts';
import type { Client, Message, Outcome, Stream } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

/**
 * A whole cluster in the place of one server of a differential run: each call goes to another member, and the answer has to
 * be that of a single server. After a write all members are asked for a linearizable answer first, so that nobody is
 * compared who could not know yet.
 */
export class ClusterSide implements Side {
  readonly product: Product = 'etsd';
  readonly cluster: TestCluster;
  private readonly prng: Prng;

  constructor(cluster: TestCluster, prng: Prng) {
    this.cluster = cluster;
    this.prng = prng;
  }

  get isRunning(): boolean {
    return this.cluster.running.length > this.cluster.members.length / 2;
  }

  async start(): Promise<void> {
    await Promise.all(this.cluster.members.map((member) => member.start()));
    await this.cluster.agreed();
  }

  stop(): Promise<void> {
    throw new Error('a cluster is not stopped as a whole');
  }

  kill(): Promise<void> {
    throw new Error('a cluster is not killed as a whole');
  }

  async ended(): Promise<void> {}

  tail(lines: number): string {
    return this.cluster.members.map((member) => `${member.membership.name}:\n${member.tail(lines)}`).join('\n');
  }

  dispose(): Promise<void> {
    return this.cluster.dispose();
  }

  /** Everybody who runs has applied what was committed so far. */
  async barrier(): Promise<void> {
    const nowhere = { key: Buffer.from('\0\0nowhere'), keys_only: true };
    await Promise.all(
      this.cluster.running.map((member) =>
        eventually(30_000, `${member.membership.name} answers`, async () => {
          return (await this.cluster.client(member).call('KV/Range', nowhere, 5000)).response;
        }),
      ),
    );
  }

  connect(): Client {
    const client = {
      call: (name: string, request: Message, deadlineMs?: number) => this.call(name, request, deadlineMs),
      expect: async (name: string, request: Message, deadlineMs?: number) => {
        const { response, message } = await this.call(name, request, deadlineMs);
        if (response === null) throw new Error(`${name}: ${message}`);
        return response;
      },
      stream: (name: string): Stream => this.cluster.client(this.anyMember()).stream(name),
      close: () => {},
    };
    return client as unknown as Client;
  }

  private anyMember(): ClusterMember {
    return this.prng.pick(this.cluster.running);
  }

  private async call(name: string, request: Message, deadlineMs?: number): Promise<Outcome> {
    if (name === 'Maintenance/HashKV') return this.hash(request);
    const outcome = await this.cluster.client(this.anyMember()).call(name, request, deadlineMs);
    if (name !== 'KV/Range') await this.barrier();
    return outcome;
  }

  /** The one answer of all members. */
  private async hash(request: Message): Promise<Outcome> {
    const { running } = this.cluster;
    const outcomes = await Promise.all(
      running.map((member) => this.cluster.client(member).call('Maintenance/HashKV', request)),
    );
    const answers = outcomes.map(({ code, message, response }) =>
      [code, message, response?.['hash'], response?.['compact_revision']].join(' '),
    );
    if (new Set(answers).size === 1) return outcomes[0] as Outcome;
    const names = running.map(({ product, membership }, index) => `${membership.name} (${product}) ${answers[index]}`);
    return { code: -1, message: `the members' hashes differ: ${names.join(', ')}`, response: null };
  }
}

/** A cluster of these products, not started. Its log is cut early, so that who was away comes back by snapshot. */
export function prepareMixed(products: Product[]): Promise<TestCluster> {
  return TestCluster.prepare({
    products,
    flags: ['--snapshot-count', '20', '--experimental-snapshot-catchup-entries', '5'],
  });
}
