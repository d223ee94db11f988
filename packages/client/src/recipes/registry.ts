import { ErrLeaseNotFound } from '@etsd/proto';
import { sleep } from '../caller.ts';
import type { Client } from '../core.ts';
import { isError } from '../errors.ts';
import { type Bytes, toBytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import { key, put, remove } from '../txn.ts';
import { Backoff, isAborted, isTransient, NEVER, persist, unlessAborted, type WaitOptions } from './persist.ts';
import { under } from './places.ts';

/** What can be known of an instance of a service. */
export interface InstanceInfo {
  /** Unique among the instances of the service. One that registers under the same id takes the place of the other. */
  readonly id: string;
  /** Where it is reached: `host:port`. */
  readonly address: string;
  /** Anything that JSON can hold. */
  readonly metadata?: unknown;
}

export interface RegisterOptions extends InstanceInfo, WaitOptions {
  /** An instance that is gone vanishes after so long. Default 10 s. */
  readonly ttlSeconds?: number;
  /** Whether the instance is well: asked before it is shown, and again and again; hidden while it says no or throws. */
  readonly check?: () => boolean | Promise<boolean>;
  /** Default 5000 ms. */
  readonly checkEveryMs?: number;
}

const TTL_SECONDS = 10;
const CHECK_EVERY_MS = 5_000;
const RETRY_PAUSE_MS = 50;
const RETRY_PAUSE_MAX_MS = 5_000;

/**
 * Shows an instance of a service to all who resolve it, for as long as its process lives: its key is held by a lease. If
 * the lease is lost (a long pause, a long outage) it registers again by itself.
 *
 * Keys: `SERVICE/ID` with `{"Op":0,"Addr":…,"Metadata":…}`, as the `endpoints` package of etcd's Go client has them, so
 * that gRPC clients in Go resolve the service too.
 */
export async function register(client: Client, service: Bytes, options: RegisterOptions): Promise<Registration> {
  const registration = new Registration(client, service, options);
  await registration.begin(options.signal ?? NEVER);
  return registration;
}

/** An instance that is shown while it is well. */
export class Registration implements AsyncDisposable {
  readonly key: Buffer;
  private readonly client: Client;
  private readonly options: RegisterOptions;
  private readonly stop = new AbortController();
  private shown: InstanceInfo;
  private isHealthy = true;
  private lease: HeldLease | null = null;
  /** What is stored now: null for nothing, as far as we know. */
  private stored: string | null = null;
  /** What was last seen to be wrong with storing it. */
  error: unknown = null;
  private running: Promise<void> = Promise.resolve();
  private wake: () => void = () => {};

  constructor(client: Client, service: Bytes, options: RegisterOptions) {
    if (options.id === '') throw new TypeError('an instance has an id');
    this.client = client;
    this.options = options;
    this.shown = options;
    this.key = under(toBytes(service), options.id);
  }

  /** Whether others can see the instance, as far as can be told from here. */
  get isShown(): boolean {
    return this.stored !== null && this.lease?.isAlive === true;
  }

  /** Shows other metadata, or another address. */
  update(changes: { readonly address?: string; readonly metadata?: unknown }): void {
    this.shown = { ...this.shown, ...changes };
    this.wake();
  }

  /** Hides the instance while it is not well. A `check` overrules it when it is next asked. */
  setHealthy(isHealthy: boolean): void {
    this.isHealthy = isHealthy;
    this.wake();
  }

  /** Used by `register`: shows the instance for the first time, and keeps it shown from then on. */
  async begin(signal: AbortSignal): Promise<void> {
    if (this.options.check !== undefined) this.isHealthy = await this.ask();
    try {
      await persist(this.client, signal, () => this.settle());
    } catch (error) {
      await this.close();
      throw error;
    }
    this.running = Promise.all([this.keepShown(), this.keepChecking()]).then(() => {});
  }

  /** Hides the instance for good. */
  async close(): Promise<void> {
    this.stop.abort();
    this.wake();
    await this.running;
    const lease = this.lease;
    this.lease = null;
    this.stored = null;
    // Its end removes the key, unless another took its place.
    await lease?.release().catch((error: unknown) => {
      if (!isTransient(error)) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async keepShown(): Promise<void> {
    const { signal } = this.stop;
    const backoff = () => new Backoff(this.client, RETRY_PAUSE_MS, RETRY_PAUSE_MAX_MS);
    let patience = backoff();
    while (!signal.aborted) {
      try {
        const changed = new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        await this.settle();
        this.error = null;
        patience = backoff();
        const lost = this.lease?.signal ?? NEVER;
        await unlessAborted(changed, AbortSignal.any([signal, lost])).catch(() => {});
      } catch (error) {
        this.error = error;
        // Revoked, and we did not know yet: another is needed.
        if (isError(error, ErrLeaseNotFound)) await this.dropLease();
        await patience.pause(signal).catch(() => {});
      }
    }
  }

  /** Makes what is stored what it should be. May be repeated. */
  private async settle(): Promise<void> {
    const { kv, leases } = this.client;
    if (this.lease === null || !this.lease.isAlive) {
      this.stored = null;
      this.lease = null;
      this.lease = await leases.hold(this.options.ttlSeconds ?? TTL_SECONDS, { signal: this.stop.signal });
    }
    const { address, metadata = null } = this.shown;
    const wanted = this.isHealthy ? JSON.stringify({ Op: 0, Addr: address, Metadata: metadata }) : null;
    if (wanted === this.stored) return;
    const { id } = this.lease;
    if (wanted === null) await kv.transaction().if(key(this.key).lease.equals(id)).do(remove(this.key)).commit();
    else
      await kv
        .transaction()
        .do(put(this.key, wanted, { lease: id }))
        .commit();
    this.stored = wanted;
  }

  private async dropLease(): Promise<void> {
    const lease = this.lease;
    this.lease = null;
    await lease?.abandon();
  }

  private async keepChecking(): Promise<void> {
    const { check, checkEveryMs = CHECK_EVERY_MS } = this.options;
    const { signal } = this.stop;
    if (check === undefined) return;
    for (;;) {
      await sleep(this.client.world, checkEveryMs, signal).catch(() => {});
      if (isAborted(signal)) return;
      const isHealthy = await this.ask();
      if (isHealthy !== this.isHealthy) this.setHealthy(isHealthy);
    }
  }

  private async ask(): Promise<boolean> {
    try {
      return (await this.options.check?.()) ?? true;
    } catch {
      // That it cannot say is as good as no.
      return false;
    }
  }
}
