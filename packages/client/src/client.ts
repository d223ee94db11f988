import type { RpcWorld } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { Auth } from './auth.ts';
import { Caller } from './caller.ts';
import { Cluster } from './cluster.ts';
import type { Bytes, KeyRange } from './keys.ts';
import { Kv } from './kv.ts';
import { Leases } from './lease.ts';
import { Maintenance } from './maintenance.ts';
import { Namespace, NamespacedCaller } from './namespace.ts';
import type { CallOptions, ClientOptions } from './options.ts';
import { Watcher, type WatchOptions } from './watch.ts';

/** A cluster as its user sees it. Connections are made when needed and made again when lost; `close` ends them. */
export class EtcdClient implements AsyncDisposable {
  readonly kv: Kv;
  readonly leases: Leases;
  readonly cluster: Cluster;
  readonly maintenance: Maintenance;
  readonly auth: Auth;
  /** Time and chance as the client knows them, for what is built on it. */
  readonly world: RpcWorld;
  private readonly caller: Caller;
  private readonly namespace: Namespace | null;

  /** Throws `TypeError` for an endpoint that is none. `world` is what the simulator replaces. */
  constructor(options: ClientOptions, world: RpcWorld = nodeWorld()) {
    this.world = world;
    this.caller = new Caller(world, options);
    this.namespace = options.namespace === undefined ? null : new Namespace(options.namespace);
    this.kv = new Kv(this.namespace === null ? this.caller : new NamespacedCaller(this.caller, this.namespace));
    this.leases = new Leases(this.caller);
    this.cluster = new Cluster(this.caller);
    this.maintenance = new Maintenance(this.caller);
    this.auth = new Auth(this.caller);
  }

  /** Logs in now, where a user is given: a wrong password shows here instead of with the first call. */
  login(options?: CallOptions): Promise<void> {
    return this.caller.login(options);
  }

  /** Watches a key, or a range of keys such as `prefix('a/')`. */
  watch(keys: Bytes | KeyRange, options: WatchOptions = {}): Watcher {
    return new Watcher(this.caller, this.namespace, keys, options);
  }

  get endpoints(): readonly string[] {
    return this.caller.endpoints.list;
  }

  /** Talks to these from now on. */
  useEndpoints(endpoints: readonly string[]): void {
    this.caller.endpoints.use(endpoints);
  }

  /** Learns from the cluster which members there are, and talks to all of them from now on. */
  async syncEndpoints(): Promise<readonly string[]> {
    const { members } = await this.cluster.list();
    const urls = members.filter((member) => !member.isLearner).flatMap((member) => member.clientURLs);
    if (urls.length > 0) this.useEndpoints(urls);
    return this.endpoints;
  }

  /** Ends all connections; calls that run are rejected with `CanceledError`. */
  async close(): Promise<void> {
    this.caller.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
