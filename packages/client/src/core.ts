import type { Timer } from '@etsd/runtime';
import { Auth } from './auth.ts';
import type { Caller } from './caller.ts';
import { Cluster } from './cluster.ts';
import type { Codec } from './codec.ts';
import type { EndpointState } from './endpoints.ts';
import type { Bytes, KeyRange } from './keys.ts';
import { Kv } from './kv.ts';
import { Leases } from './lease.ts';
import type { ClientWorld } from './link.ts';
import { Maintenance } from './maintenance.ts';
import { Namespace, NamespacedCaller } from './namespace.ts';
import type { CallOptions, ClientOptions } from './options.ts';
import { Typed } from './typed.ts';
import { Watcher, type WatchOptions } from './watch.ts';
import { WatchHub } from './watch-hub.ts';

/** A cluster as its user sees it, whatever the calls travel over. */
export class Client implements AsyncDisposable {
  readonly kv: Kv;
  readonly leases: Leases;
  readonly cluster: Cluster;
  readonly maintenance: Maintenance;
  readonly auth: Auth;
  /** Time and chance as the client knows them, for what is built on it. */
  readonly world: ClientWorld;
  private readonly caller: Caller;
  private readonly hub: WatchHub;
  private readonly namespace: Namespace | null;
  /** Whether the connections are another client's. */
  private readonly isGuest: boolean;
  private syncing: Timer | null = null;

  constructor(caller: Caller, options: Pick<ClientOptions, 'namespace' | 'autoSyncMs'>, host: Client | null = null) {
    this.caller = caller;
    this.world = caller.world;
    this.isGuest = host !== null;
    this.namespace = options.namespace === undefined ? null : new Namespace(options.namespace);
    this.kv = new Kv(this.namespace === null ? caller : new NamespacedCaller(caller, this.namespace));
    this.hub = host?.hub ?? new WatchHub(caller);
    this.leases = host?.leases ?? new Leases(caller);
    this.cluster = host?.cluster ?? new Cluster(caller);
    this.maintenance = host?.maintenance ?? new Maintenance(caller);
    this.auth = host?.auth ?? new Auth(caller);
    const { autoSyncMs = 0 } = options;
    if (autoSyncMs > 0) this.syncing = caller.world.timers.every(autoSyncMs, () => this.syncQuietly(), { ref: false });
  }

  /** Logs in now, where a user is given: a wrong password shows here instead of with the first call. */
  login(options?: CallOptions): Promise<void> {
    return this.caller.login(options);
  }

  /** Watches a key, or a range of keys such as `prefix('a/')`. */
  watch(keys: Bytes | KeyRange, options: WatchOptions = {}): Watcher {
    return new Watcher(this.caller, this.hub, this.namespace, keys, options);
  }

  /** Reads, writes and watches with values of this kind: `client.as(json<User>())`. */
  as<T>(codec: Codec<T>): Typed<T> {
    return new Typed(this.kv, (keys, options) => this.watch(keys, options), codec);
  }

  /** The keys under a prefix, seen without it, over the same connections; closing it closes nothing. */
  within(prefix: Bytes): Client {
    const namespace = this.namespace === null ? prefix : this.namespace.inside(prefix);
    return new Client(this.caller, { namespace }, this);
  }

  get endpoints(): readonly string[] {
    return this.caller.endpoints.list;
  }

  /** How the endpoints look from here. */
  get endpointStates(): readonly EndpointState[] {
    return this.caller.endpoints.states;
  }

  /** Talks to these from now on. */
  useEndpoints(endpoints: readonly string[]): void {
    this.caller.endpoints.use(endpoints);
  }

  /** Learns from the cluster which members there are, and talks to all of them from now on. */
  async syncEndpoints(options?: CallOptions): Promise<readonly string[]> {
    const { members } = await this.cluster.list(options);
    const urls = members.filter((member) => !member.isLearner).flatMap((member) => member.clientURLs);
    if (urls.length > 0) this.useEndpoints(urls);
    return this.endpoints;
  }

  /** Ends all connections; calls that run are rejected with `CanceledError`. */
  async close(): Promise<void> {
    if (this.isGuest) return;
    this.syncing?.cancel();
    this.caller.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private syncQuietly(): void {
    // What is known stays in use; whoever calls meets the same trouble and is told.
    this.syncEndpoints().catch(() => {});
  }
}
