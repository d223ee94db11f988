import {
  ErrElectionNotLeader,
  EventType,
  type KeyValue,
  type ResponseHeader,
  SortOrder,
  SortTarget,
} from '@etsd/proto';
import type { EtcdClient } from '../client.ts';
import type { Bytes } from '../keys.ts';
import type { HeldLease } from '../lease.ts';
import type { CallOptions } from '../options.ts';
import { key, put } from '../txn.ts';
import { leavePlace, type Place, queueRange, takePlace, waitForTurn } from './queue.ts';

/** Being the leader, until resigned or until the lease is lost. */
export class Leadership implements AsyncDisposable {
  readonly key: Buffer;
  /** Grows with every leader. */
  readonly revision: number;
  readonly signal: AbortSignal;
  private readonly client: EtcdClient;
  private readonly lease: HeldLease;

  constructor(client: EtcdClient, place: Place, lease: HeldLease) {
    this.client = client;
    this.key = place.key;
    this.revision = place.revision;
    this.signal = lease.signal;
    this.lease = lease;
  }

  /** A condition for transactions: this leadership still stands. */
  get held() {
    return key(this.key).createRevision.equals(this.revision);
  }

  /** Tells the observers something new. Throws `ErrElectionNotLeader` once somebody else leads. */
  async proclaim(value: Bytes, options?: CallOptions): Promise<void> {
    const own = put(this.key, value, { lease: this.lease.id });
    const { succeeded } = await this.client.kv.transaction().if(this.held).do(own).commit(options);
    if (!succeeded) throw ErrElectionNotLeader;
  }

  async resign(options?: CallOptions): Promise<void> {
    await leavePlace(this.client, this, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resign();
  }
}

/** Waits to be elected, and then proclaims `value`. Aborting the signal ends the candidacy. */
export async function campaign(
  client: EtcdClient,
  name: Bytes,
  lease: HeldLease,
  value: Bytes,
  options: CallOptions = {},
): Promise<Leadership> {
  const signal = options.signal === undefined ? lease.signal : AbortSignal.any([options.signal, lease.signal]);
  const place = await takePlace(client, name, lease.id, value, { ...options, signal });
  const leadership = new Leadership(client, place, lease);
  try {
    if (!place.isNew) await leadership.proclaim(value, { ...options, signal });
    await waitForTurn(client, name, place, signal);
  } catch (error) {
    await leavePlace(client, place).catch(() => {});
    throw error;
  }
  return leadership;
}

/** The leader's record, or null while there is none. */
export async function leader(client: EtcdClient, name: Bytes, options?: CallOptions): Promise<KeyValue | null> {
  return (await oldest(client, name, options)).kv;
}

async function oldest(
  client: EtcdClient,
  name: Bytes,
  options?: CallOptions,
): Promise<{ kv: KeyValue | null; header: ResponseHeader | null }> {
  const first = { sortOrder: SortOrder.ASCEND, sortTarget: SortTarget.CREATE, limit: 1 };
  const response = await client.kv.range({ ...queueRange(name), ...first }, options);
  return { kv: response.kvs[0] ?? null, header: response.header };
}

/** Every leader and everything a leader proclaims, from now on; what changes twice in between may be seen once. */
export async function* observe(
  client: EtcdClient,
  name: Bytes,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<KeyValue, void, undefined> {
  while (options.signal?.aborted !== true) {
    const { kv, header } = await oldest(client, name, options);
    const startRevision = (header?.revision ?? 0) + 1;
    if (kv === null) {
      for await (const event of client.watch(queueRange(name), { ...options, startRevision }).events()) {
        if (event.type === EventType.PUT) break;
      }
      continue;
    }
    yield kv;
    for await (const event of client.watch(kv.key, { ...options, startRevision }).events()) {
      if (event.type === EventType.DELETE) break;
      if (event.kv !== null) yield event.kv;
    }
  }
}
