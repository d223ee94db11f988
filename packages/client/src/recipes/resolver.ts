import { type Key, keyFromBytes } from '@etsd/base';
import { EtcdError, EventType, GrpcCode, type KeyValue } from '@etsd/proto';
import type { Client } from '../core.ts';
import { CanceledError } from '../errors.ts';
import type { Bytes } from '../keys.ts';
import { follow, type News } from './follow.ts';
import { Latest } from './latest.ts';
import { anySignal, Backoff, isAborted, type WaitOptions } from './persist.ts';
import { queueRange } from './places.ts';
import type { InstanceInfo } from './registry.ts';

/** An instance of a service as it is registered. */
export interface Instance extends InstanceInfo {
  readonly metadata: unknown;
  /** Create revision of its key: another one under the same id is another instance. */
  readonly createRevision: number;
}

/** There is nobody to turn to. */
export class NoInstanceError extends EtcdError {
  constructor(service: string) {
    super(GrpcCode.Unavailable, `no instance of ${JSON.stringify(service)} is registered`);
  }
}

export interface ResolverOptions extends WaitOptions {
  /** How long an instance is passed over after a failure, while there are others. Default 5000 ms. */
  readonly restMs?: number;
}

const REST_MS = 5_000;
const RETRY_PAUSE_MS = 100;
const RETRY_PAUSE_MAX_MS = 5_000;

/** What the balancing knows of an instance. */
interface Load {
  readonly instance: Instance;
  inFlight: number;
  /** Before this it is passed over. */
  restsUntilMs: number;
  /** When it was picked last: the count of picks then. */
  pickedAt: number;
}

/** An instance that was picked for some work; disposed of when that is done. */
export class PickedInstance implements Disposable {
  readonly instance: Instance;
  private readonly resolver: Resolver;
  private readonly load: Load;
  private isDone = false;

  constructor(resolver: Resolver, load: Load) {
    this.instance = load.instance;
    this.resolver = resolver;
    this.load = load;
  }

  get address(): string {
    return this.instance.address;
  }

  /** The instance did not do its work: others are picked for a while. */
  failed(): void {
    this.resolver.rest(this.load);
  }

  [Symbol.dispose](): void {
    if (this.isDone) return;
    this.isDone = true;
    this.load.inFlight--;
  }
}

/**
 * The instances of a service that live, kept up to date, and one of them for each piece of work: the one with the least
 * work in progress, in turns where that is the same for several, none that failed a moment ago.
 * ```ts
 * await using billing = await Resolver.open(client, 'services/billing');
 * using pick = billing.pick();
 * const response = await fetch(`http://${pick.address}/`);
 * ```
 * While the cluster cannot be reached those known last count.
 */
export class Resolver implements AsyncDisposable {
  private readonly client: Client;
  private readonly service: Bytes;
  private readonly restMs: number;
  private readonly loads = new Map<Key, Load>();
  private readonly latest = new Latest<readonly Instance[]>([]);
  private readonly stop = new AbortController();
  /** Aborted by `close`, and with the signal given. */
  private readonly signal: AbortSignal;
  private following: Promise<void> = Promise.resolve();
  private picks = 0;
  /** Why the picture is not kept up to date just now; null while it is. */
  error: unknown = null;

  private constructor(client: Client, service: Bytes, options: ResolverOptions) {
    this.client = client;
    this.service = service;
    this.restMs = options.restMs ?? REST_MS;
    this.signal = anySignal(this.stop.signal, options.signal);
  }

  /** Resolves when the instances are known. */
  static async open(client: Client, service: Bytes, options: ResolverOptions = {}): Promise<Resolver> {
    const resolver = new Resolver(client, service, options);
    const news = resolver.news();
    const first = await news.next();
    if (first.done === true) throw new CanceledError(options.signal?.reason);
    resolver.learn(first.value);
    resolver.following = resolver.run(news);
    return resolver;
  }

  get instances(): readonly Instance[] {
    return this.latest.current;
  }

  /** All instances, after each change from now on. */
  changes(options: WaitOptions = {}): AsyncGenerator<readonly Instance[], void, undefined> {
    return this.latest.changes(options);
  }

  /** Resolves once there is an instance. */
  async ready(options: WaitOptions = {}): Promise<void> {
    if (this.instances.length > 0) return;
    for await (const instances of this.changes(options)) if (instances.length > 0) return;
    throw new CanceledError(options.signal?.reason);
  }

  /** An instance to turn to. Throws `NoInstanceError` if there is none. */
  pick(): PickedInstance {
    const nowMs = this.client.world.clock.nowMs();
    let best: Load | null = null;
    for (const load of this.loads.values()) if (best === null || isBetter(load, best, nowMs)) best = load;
    if (best === null) throw new NoInstanceError(this.service.toString());
    best.inFlight++;
    best.pickedAt = ++this.picks;
    return new PickedInstance(this, best);
  }

  /** Used by `PickedInstance`. */
  rest(load: Load): void {
    load.restsUntilMs = this.client.world.clock.nowMs() + this.restMs;
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private news(): AsyncGenerator<News, void, undefined> {
    return follow(this.client, queueRange(this.service), { signal: this.signal });
  }

  private async run(news: AsyncGenerator<News, void, undefined>): Promise<void> {
    const { signal } = this;
    const backoff = new Backoff(this.client, RETRY_PAUSE_MS, RETRY_PAUSE_MAX_MS);
    let current = news;
    while (!isAborted(signal)) {
      try {
        for await (const each of current) {
          this.error = null;
          this.learn(each);
        }
      } catch (error) {
        this.error = error;
        await backoff.pause(signal).catch(() => {});
      }
      current = this.news();
    }
    this.latest.end();
  }

  private learn(news: News): void {
    if (news.kind === 'all') {
      const there = new Set(news.records.map((record) => keyFromBytes(record.key)));
      for (const at of this.loads.keys()) if (!there.has(at)) this.loads.delete(at);
      for (const record of news.records) this.see(record);
    } else {
      for (const { kv, type } of news.events) {
        if (kv === null) continue;
        if (type === EventType.DELETE) this.loads.delete(keyFromBytes(kv.key));
        else this.see(kv);
      }
    }
    this.latest.set([...this.loads.values()].map((load) => load.instance));
  }

  private see(record: KeyValue): void {
    const at = keyFromBytes(record.key);
    const instance = this.parse(record);
    if (instance === null) {
      // Whoever wrote that is no instance that anybody could turn to.
      this.loads.delete(at);
      return;
    }
    const before = this.loads.get(at);
    const isSame = before?.instance.createRevision === instance.createRevision;
    if (isSame) Object.assign(before, { instance });
    else this.loads.set(at, { instance, inFlight: 0, restsUntilMs: 0, pickedAt: 0 });
  }

  private parse({ createRevision, key, value }: KeyValue): Instance | null {
    try {
      const { Addr, Metadata } = JSON.parse(value.toString()) as { Addr?: unknown; Metadata?: unknown };
      if (typeof Addr !== 'string' || Addr === '') return null;
      const id = key.subarray(queueRange(this.service).key.length).toString();
      return { id, address: Addr, metadata: Metadata ?? null, createRevision };
    } catch {
      return null;
    }
  }
}

function isBetter(left: Load, right: Load, nowMs: number): boolean {
  const leftRests = left.restsUntilMs > nowMs;
  const rightRests = right.restsUntilMs > nowMs;
  if (leftRests !== rightRests) return rightRests;
  if (left.inFlight !== right.inFlight) return left.inFlight < right.inFlight;
  return left.pickedAt < right.pickedAt;
}
