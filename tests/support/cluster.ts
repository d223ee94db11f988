import { freePort } from '@etsd/testkit';
import { Client, type Message } from './client.ts';
import { eventually } from './conditions.ts';
import { Links } from './links.ts';
import { type Product, TestServer } from './server.ts';

export interface ClusterOptions {
  /** One member each. */
  products: Product[];
  /** Further flags of every member. */
  flags?: string[];
  /** Puts wires between the members that can be cut. */
  withLinks?: boolean;
  dataRoot?: string;
  token?: string;
  /** For members of etsd: what to start in place of its own program, and the environment it needs. */
  script?: string;
  env?: (name: string) => Record<string, string>;
}

/** What `Maintenance/Status` says, in numbers. */
export interface Status {
  member: string;
  leader: string;
  revision: number;
  term: number;
  index: number;
  applied: number;
}

export type ClusterMember = TestServer;

/** Several programs start at once, perhaps on few processors. */
const READY_MS = 90_000;

/** Several members as child processes, of either product, also mixed. */
export class TestCluster {
  readonly members: ClusterMember[] = [];
  readonly links: Links | null;
  private readonly options: ClusterOptions;
  private readonly token: string;
  private readonly clients = new Map<ClusterMember, Client>();
  private count = 0;

  private constructor(options: ClusterOptions) {
    this.options = options;
    this.token = options.token ?? `cluster-${process.pid}-${Math.floor(Math.random() * 1e9)}`;
    this.links = options.withLinks === true ? new Links((name) => this.member(name)?.pid ?? 0) : null;
  }

  /** The members of a new cluster, none of them started. */
  static async prepare(options: ClusterOptions): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    for (const product of options.products) await cluster.prepareMember(product);
    const initialCluster = cluster.members.map(({ membership }) => `${membership.name}=${membership.advertisePeerUrl}`);
    for (const { membership } of cluster.members) membership.initialCluster = initialCluster.join(',');
    return cluster;
  }

  /** A new cluster whose members all serve. */
  static async start(options: ClusterOptions): Promise<TestCluster> {
    const cluster = await TestCluster.prepare(options);
    try {
      await Promise.all(cluster.members.map((member) => member.start()));
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
    return cluster;
  }

  get names(): string[] {
    return this.members.map(({ membership }) => membership.name);
  }

  get running(): ClusterMember[] {
    return this.members.filter((member) => member.isRunning);
  }

  /** `--endpoints` of all members. */
  get endpoints(): string {
    return this.members.map((member) => member.address).join(',');
  }

  member(name: string): ClusterMember | undefined {
    return this.members.find(({ membership }) => membership.name === name);
  }

  /** A client of one member, kept for as long as the cluster. */
  client(member: ClusterMember): Client {
    let client = this.clients.get(member);
    if (client === undefined) {
      client = new Client(member.address, RECONNECT_SOON);
      this.clients.set(member, client);
    }
    return client;
  }

  /** What one member says of itself; null where it does not answer in time. */
  async status(member: ClusterMember, ms = 1000): Promise<Status | null> {
    const { response } = await this.client(member).call('Maintenance/Status', {}, ms);
    if (response === null) return null;
    const header = response['header'] as Message;
    return {
      member: header['member_id'] as string,
      leader: response['leader'] as string,
      revision: Number(header['revision']),
      term: Number(response['raftTerm']),
      index: Number(response['raftIndex']),
      applied: Number(response['raftAppliedIndex']),
    };
  }

  /** The member that leads, in the eyes of the newest term that somebody knows; null if nobody knows one. */
  async leader(ms = 1000): Promise<ClusterMember | null> {
    const statuses = await Promise.all(this.running.map((member) => this.status(member, ms)));
    let newest: Status | null = null;
    for (const status of statuses) {
      if (status === null || status.leader === '0') continue;
      if (newest === null || status.term > newest.term) newest = status;
    }
    const index = statuses.findIndex((status) => status !== null && status.member === newest?.leader);
    return index < 0 ? null : (this.running[index] ?? null);
  }

  /** Waits until all members that run know the same leader; returns it. */
  async agreed(ms = 20_000): Promise<ClusterMember> {
    return eventually(ms, 'all members know one leader', async () => {
      const running = this.running;
      const statuses = await Promise.all(running.map((member) => this.status(member)));
      const [first] = statuses;
      if (first === undefined || first === null || first.leader === '0') return null;
      if (!statuses.every((status) => status?.leader === first.leader)) return null;
      const index = statuses.findIndex((status) => status?.member === first.leader);
      return running[index] ?? null;
    });
  }

  /** The version of a member, and that of the cluster as the member knows it. */
  async versions(member: ClusterMember): Promise<{ etcdserver: string; etcdcluster: string }> {
    const answer = await fetch(`http://127.0.0.1:${member.peerPort}/version`);
    return (await answer.json()) as { etcdserver: string; etcdcluster: string };
  }

  /**
   * Waits until all members that run, which are of one version, know that the cluster has come to it. Where one was not
   * reached when the leader first asked, etcd's leader asks again five seconds later.
   */
  async versionDecided(): Promise<void> {
    for (const member of this.running) {
      await eventually(20_000, 'the version of the cluster goes up', async () => {
        const { etcdserver, etcdcluster } = await this.versions(member);
        return etcdcluster === etcdserver.replace(/\d+$/, '0') ? true : null;
      });
    }
  }

  /** Makes this member lead. */
  async moveLeader(to: ClusterMember): Promise<void> {
    await eventually(20_000, `${to.membership.name} leads`, async () => {
      const leader = await this.leader();
      if (leader === to) return true;
      const target = await this.status(to);
      if (leader !== null && target !== null) {
        await this.client(leader).call('Maintenance/MoveLeader', { targetID: target.member }, 3000);
      }
      return null;
    });
  }

  /** Adds a member of this product to the running cluster and prepares its process, which joins when it is started. */
  async addMember(product: Product, { isLearner = false } = {}): Promise<ClusterMember> {
    const member = await this.newcomer(product);
    const request = { peerURLs: [member.membership.advertisePeerUrl], isLearner };
    await this.ask('Cluster/MemberAdd', request, /already exists/);
    const own = await this.idOf(member);
    const list = (await this.list()).map((one) => {
      const name = one['ID'] === own ? member.membership.name : (one['name'] as string);
      return (one['peerURLs'] as string[]).map((url) => `${name}=${url}`).join(',');
    });
    member.membership.initialCluster = list.filter((one) => !one.startsWith('=')).join(',');
    return member;
  }

  /** A process that will join this cluster once somebody has added it and told it the initial cluster. */
  async newcomer(product: Product): Promise<ClusterMember> {
    const member = await this.prepareMember(product);
    member.membership.state = 'existing';
    return member;
  }

  /** The id under which the cluster knows a member. */
  async idOf(member: ClusterMember): Promise<string> {
    const list = await this.list();
    const { advertisePeerUrl, name } = member.membership;
    const id = list.find((one) => (one['peerURLs'] as string[]).includes(advertisePeerUrl))?.['ID'];
    if (id === undefined) throw new Error(`${name} is not in the cluster`);
    return id as string;
  }

  /**
   * The members as of now. Who runs alone knows them, and could not ask a majority: a second voter may have been added
   * that is not started yet.
   */
  private async list(): Promise<Message[]> {
    const answer = await this.ask('Cluster/MemberList', { linearizable: this.running.length > 1 });
    return answer['members'] as Message[];
  }

  /** Takes a member out of the cluster, ends its process and forgets its data. */
  async removeMember(member: ClusterMember): Promise<void> {
    await this.ask('Cluster/MemberRemove', { ID: await this.idOf(member) }, /member not found/);
    await this.forget(member);
  }

  /**
   * Asks one running member after the other until one answers, or says by its error that it was done before: for calls that
   * may be asked twice.
   */
  async ask(name: string, request: Message, done: RegExp | null = null): Promise<Message> {
    const last = new Map<string, string>();
    return await eventually(30_000, name, async () => {
      for (const member of this.running) {
        const { response, message } = await this.client(member).call(name, request, 5000);
        if (response !== null) return response;
        last.set(member.membership.name, message);
        if (done?.test(message) === true) return {};
      }
      return null;
    }).catch((error: Error) => {
      throw new Error(`${error.message}; last answers: ${JSON.stringify([...last])}`);
    });
  }

  /** Hashes of all members at one revision, by name; waits until all have it. */
  async hashes(revision: number): Promise<Map<string, { hash: number; compactRevision: number }>> {
    const found = new Map<string, { hash: number; compactRevision: number }>();
    for (const member of this.members) {
      const answer = await eventually(20_000, `${member.membership.name} has revision ${revision}`, async () => {
        const outcome = await this.client(member).call('Maintenance/HashKV', { revision: String(revision) }, 5000);
        return outcome.response;
      });
      found.set(member.membership.name, {
        hash: Number(answer['hash']),
        compactRevision: Number(answer['compact_revision']),
      });
    }
    return found;
  }

  /** Waits until every running member has applied all there is; returns the store's revision. */
  async caughtUp(): Promise<number> {
    let revision = 0;
    for (const member of this.running) {
      await eventually(30_000, `${member.membership.name} has caught up`, async () => {
        const { response } = await this.client(member).call('KV/Range', { key: Buffer.from('a') }, 3000);
        if (response !== null) revision = Number((response['header'] as Message)['revision']);
        return response;
      });
    }
    // Entries that change no key are applied by all in the end as well.
    await eventually(10_000, 'all members are at one index', async () => {
      const statuses = await Promise.all(this.running.map((member) => this.status(member)));
      return new Set(statuses.map((status) => status?.applied)).size === 1 ? true : null;
    });
    return revision;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async dispose(): Promise<void> {
    for (const client of this.clients.values()) client.close();
    await Promise.all(this.members.map((member) => member.dispose()));
    await this.links?.close();
  }

  private async prepareMember(product: Product): Promise<ClusterMember> {
    const name = `m${++this.count}`;
    const { flags, dataRoot, script, env } = this.options;
    const peerPort = await freePort();
    const port = this.links === null ? peerPort : await this.links.add(name, peerPort);
    const server = new TestServer(
      {
        product,
        readyMs: READY_MS,
        ...(flags === undefined ? {} : { flags }),
        ...(dataRoot === undefined ? {} : { dataRoot }),
        ...(script === undefined ? {} : { script }),
        ...(env === undefined ? {} : { env: env(name) }),
        membership: {
          name,
          advertisePeerUrl: `http://127.0.0.1:${port}`,
          initialCluster: '',
          state: 'new',
          token: this.token,
        },
      },
      await freePort(),
      peerPort,
    );
    this.members.push(server);
    return server;
  }

  /** Ends the process of a member that the cluster no longer has, and removes its data. */
  async forget(member: ClusterMember): Promise<void> {
    this.members.splice(this.members.indexOf(member), 1);
    this.clients.get(member)?.close();
    this.clients.delete(member);
    await member.dispose();
  }
}

/** So that a client finds a member again soon after it came back. */
export const RECONNECT_SOON = {
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 300,
};
